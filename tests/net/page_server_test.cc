#include "net/http/page_server.h"

#include <atomic>

#include "tests/net/http_client.h"
#include "tests/support/catch.h"

namespace sluice {
namespace {

TEST_CASE("page server: makes its page for each request, and nothing else", "[net][http]") {
  std::atomic<int> made{0};
  auto server = std::move(*PageServer::start(
      {.address = "127.0.0.1:0", .path = "metrics", .content_type = "text/plain; version=0.0.4", .page = [&] {
         return "page " + std::to_string(++made) + "\n";
       }}));
  Client client(server->port());
  Response response = client.get("/metrics");
  CHECK(response.status == 200);
  CHECK(response.body == "page 1\n");
  CHECK(response.fields["Content-Type"] == "text/plain; version=0.0.4");
  CHECK(client.get("/metrics?x=1").body == "page 2\n");
  CHECK(client.get("/").status == 404);
  client.write("POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
  CHECK(client.read().status == 405);
  client.write("HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(client.read(false).fields["Content-Length"] == "7");
  client.write("\r\n\r\nGET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");  // after empty lines
  CHECK(client.read().body == "page 4\n");
  client.write("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n");  // pipelined
  CHECK(client.read().body == "page 5\n");
  CHECK(client.read().body == "page 6\n");
  CHECK(client.ended());
  Client broken(server->port());
  broken.write("GET /metrics HTTP/1.1\nHost: h\n\n");
  CHECK(broken.read().status == 400);
  CHECK(broken.ended());
}

TEST_CASE("page server: its connections are few, the oldest gives way", "[net][http]") {
  auto server = std::move(*PageServer::start(
      {.address = "127.0.0.1:0", .path = "metrics", .content_type = "text/plain", .page = [] { return "page"; }}));
  std::vector<Client> clients;
  for (int i = 0; i < 70; ++i) clients.emplace_back(server->port());
  CHECK(clients.back().get("/metrics").status == 200);
  CHECK(clients.front().ended());
  PageServerOptions taken;
  taken.address = ":" + std::to_string(server->port());
  const auto second = PageServer::start(taken);
  REQUIRE_FALSE(second);
  CHECK(second.error().number == EADDRINUSE);
}

}  // namespace
}  // namespace sluice
