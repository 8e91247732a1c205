#include "net/http/server.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "tests/net/fake_store.h"
#include "tests/net/http_client.h"
#include "tests/net/http_sample.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

namespace sluice {
namespace {

TEST_CASE("http server: serves files of every size, by every method, on both backends", "[net][http]") {
  for (const LoopBackend backend : {LoopBackend::ring, LoopBackend::epoll}) {
    for (const SendMethod method :
         {SendMethod::automatic, SendMethod::copy, SendMethod::vmsplice, SendMethod::zerocopy}) {
      CAPTURE(static_cast<int>(backend), static_cast<int>(method));
      FakeStore store;
      sample_store(store);
      auto server = start(&store, {.send_method = method, .backend = backend});
      Client client(server->port());
      for (int round = 0; round < 2; ++round) {  // one connection for all
        for (const char* name : {"a.txt", "empty", "big.bin"}) {
          const Response response = client.get("/" + std::string(name));
          CHECK(response.status == 200);
          CHECK(response.whole);
          CHECK(response.body == store.content(name));
        }
      }
      CHECK(server->stats().requests == 6);
      CHECK(server->stats().connections_accepted == 1);
    }
  }
}

TEST_CASE("http server: the header says what the file is", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  Client client(server->port());
  Response response = client.get("/a.txt");
  CHECK(response.fields["Content-Type"] == "text/plain");
  CHECK(response.fields["Content-Length"] == "1000");
  CHECK(response.fields["Last-Modified"] == "Sun, 13 Sep 2020 12:26:40 GMT");
  CHECK(response.fields["Accept-Ranges"] == "bytes");
  CHECK(response.fields["ETag"].starts_with('"'));
  CHECK(response.fields["Date"].ends_with(" GMT"));
  CHECK_FALSE(response.fields.contains("Connection"));
  CHECK(client.get("/fresh").fields["ETag"].starts_with("W/"));

  store.add("future", {.size = 10, .mtime_ns = 4'000'000'000'000'000'000});
  response = client.get("/future");
  CHECK(response.fields["Last-Modified"] == response.fields["Date"]);
  CHECK(client.get("/future", "If-Modified-Since: " + response.fields["Date"] + "\r\n").status == 200);

  client.write("HEAD /big.bin HTTP/1.1\r\nHost: h\r\n\r\n");
  response = client.read(false);
  CHECK(response.status == 200);
  CHECK(response.fields["Content-Length"] == std::to_string((5 << 20) + 17));
  CHECK(client.get("/empty").status == 200);  // no body was in between
}

TEST_CASE("http server: conditions and ranges", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  Client client(server->port());
  const std::string etag = client.get("/a.txt").fields["ETag"];
  const std::string date = "Sun, 13 Sep 2020 12:26:40 GMT";

  client.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nIf-None-Match: " + etag + "\r\n\r\n");
  Response response = client.read(false);
  CHECK(response.status == 304);
  CHECK(response.fields["ETag"] == etag);
  client.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nIf-Modified-Since: " + date + "\r\n\r\n");
  CHECK(client.read(false).status == 304);
  CHECK(client.get("/a.txt", "If-Match: \"x\"\r\n").status == 412);

  response = client.get("/a.txt", "Range: bytes=10-19\r\n");
  CHECK(response.status == 206);
  CHECK(response.fields["Content-Range"] == "bytes 10-19/1000");
  CHECK(response.body == store.content("a.txt", 10, 10));
  response = client.get("/big.bin", "Range: bytes=1048570-\r\n");
  CHECK(response.status == 206);
  CHECK(response.body == store.content("big.bin", 1048570));
  response = client.get("/a.txt", "Range: bytes=-1\r\n");
  CHECK(response.fields["Content-Range"] == "bytes 999-999/1000");
  response = client.get("/a.txt", "Range: bytes=1000-\r\n");
  CHECK(response.status == 416);
  CHECK(response.fields["Content-Range"] == "bytes */1000");
  CHECK(client.get("/a.txt", "Range: bytes=0-1\r\nRange: bytes=3-4\r\n").status == 200);

  CHECK(client.get("/a.txt", "Range: bytes=0-1\r\nIf-Range: " + etag + "\r\n").status == 206);
  CHECK(client.get("/a.txt", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n").status == 200);
  CHECK(client.get("/a.txt", "Range: bytes=0-1\r\nIf-Range: " + date + "\r\n").status == 206);
  const std::string weak = client.get("/fresh").fields["ETag"];
  CHECK(client.get("/fresh", "Range: bytes=0-1\r\nIf-Range: " + weak + "\r\n").status == 200);

  client.write("HEAD /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n");
  response = client.read(false);
  CHECK(response.status == 200);
  CHECK(response.fields["Content-Length"] == "1000");
}

// The parts of a multipart/byteranges body, as "CONTENT-RANGE TYPE" and bytes.
std::vector<std::pair<std::string, std::string>> parts_of(Response& response) {
  const std::string& type = response.fields["Content-Type"];
  static constexpr std::string_view kType = "multipart/byteranges; boundary=";
  REQUIRE(type.starts_with(kType));
  const std::string mark = "\r\n--" + type.substr(kType.size());
  std::vector<std::pair<std::string, std::string>> parts;
  std::string_view rest = response.body;
  while (true) {
    REQUIRE(rest.starts_with(mark));
    rest.remove_prefix(mark.size());
    if (rest == "--\r\n") return parts;
    const std::string_view type_field = "\r\nContent-Type: ";
    REQUIRE(rest.starts_with(type_field));
    const size_t range_field = rest.find("\r\nContent-Range: bytes ");
    const size_t head = rest.find("\r\n\r\n");
    REQUIRE(head != std::string_view::npos);
    REQUIRE(range_field < head);
    const size_t end = rest.find(mark, head);
    REQUIRE(end != std::string_view::npos);
    parts.emplace_back(std::string(rest.substr(range_field + 23, head - range_field - 23)) + " " +
                           std::string(rest.substr(type_field.size(), range_field - type_field.size())),
                       rest.substr(head + 4, end - head - 4));
    rest.remove_prefix(end);
  }
}

TEST_CASE("http server: several ranges are parts of one answer, by every method", "[net][http]") {
  for (const SendMethod method :
       {SendMethod::automatic, SendMethod::copy, SendMethod::vmsplice, SendMethod::zerocopy}) {
    CAPTURE(static_cast<int>(method));
    FakeStore store;
    sample_store(store);
    auto server = start(&store, {.send_method = method});
    Client client(server->port());
    Response response = client.get("/big.bin", "Range: bytes=3000000-4999999,7-7,-17\r\n");
    CHECK(response.status == 206);
    CHECK(response.whole);
    CHECK_FALSE(response.fields.contains("Content-Range"));
    const auto parts = parts_of(response);
    REQUIRE(parts.size() == 3);
    CHECK(parts[0].first == "3000000-4999999/5242897 application/octet-stream");
    CHECK(parts[0].second == store.content("big.bin", 3000000, 2000000));
    CHECK(parts[1].second == store.content("big.bin", 7, 1));
    CHECK(parts[2].first == "5242880-5242896/5242897 application/octet-stream");
    CHECK(parts[2].second == store.content("big.bin", 5242880));
    CHECK(client.get("/a.txt", "Range: bytes=0-1,2-3\r\n").fields["Content-Range"] == "bytes 0-3/1000");
    response = client.get("/a.txt", "Range: bytes=0-,0-,0-\r\n");
    CHECK(response.status == 416);
    CHECK(response.fields["Content-Range"] == "bytes */1000");
    CHECK(client.get("/a.txt").body == store.content("a.txt"));
    CHECK(server->stats().requests == 4);
  }
}

TEST_CASE("http server: parts of one answer are of one version of the file", "[net][http]") {
  FakeStore store;
  FakeFile& file = store.add("cold", {.size = 3 << 20});
  file.park_reads = true;
  auto server = start(&store);
  Client client(server->port());
  client.write("GET /cold HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9,100-109\r\n\r\n");
  SECTION("a change between them breaks it off") {
    while (store.run_parked() == 0) std::this_thread::yield();
    while (store.parked() == 0) std::this_thread::yield();
    file.generation = 2;
    store.run_parked();
    const Response response = client.read();
    CHECK(response.status == 206);
    CHECK_FALSE(response.whole);
    CHECK(server->stats().broken_off == 1);
  }
  SECTION("a change before the first begins anew") {
    while (store.parked() == 0) std::this_thread::yield();
    file.generation = 2;
    store.run_parked();
    for (int part = 0; part < 2; ++part) {
      while (store.run_parked() == 0) std::this_thread::yield();
    }
    Response response = client.read();
    CHECK(response.whole);
    CHECK(parts_of(response).size() == 2);
    CHECK(server->stats().broken_off == 0);
  }
}

TEST_CASE("http server: a condition on what is not there is 404, and a list of tags may be of any spacing",
          "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  Client client(server->port());
  const std::string etag = client.get("/a.txt").fields["ETag"];
  CHECK(client.get("/none", "If-Match: \"foo\"\r\n").status == 404);
  CHECK(client.get("/none", "If-None-Match: *\r\n").status == 404);
  CHECK(client.get("/a.txt", "If-Match: \"foo\", \"bar\", \t" + etag + " , \"baz\"\r\n").status == 200);
  CHECK(client.get("/a.txt", "If-Match: \"foo\"\r\nIf-Match: " + etag + "\r\n").status == 200);
  CHECK(client.get("/a.txt", "If-Match: W/" + etag + "\r\n").status == 412);
  CHECK(client.get("/a.txt", "Range: bytes=0-1\r\nIf-Match: " + etag + "\r\nIf-Range: \"x\"\r\n").status == 200);
  CHECK(client.get("/a.txt", "Range: bytes=5000-\r\nIf-Match: \"x\"\r\n").status == 412);  // before the range
  CHECK(client.get("/a.txt", "Range: bytes=5000-\r\nIf-Range: \"x\"\r\n").status == 200);
}

TEST_CASE("http server: Cache-Control is for files, whole, in part or known already", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store, {.cache_control = "public, max-age=60"});
  Client client(server->port());
  CHECK(client.get("/a.txt").fields["Cache-Control"] == "public, max-age=60");
  CHECK(client.get("/a.txt", "Range: bytes=0-1\r\n").fields["Cache-Control"] == "public, max-age=60");
  CHECK(client.get("/a.txt", "Range: bytes=0-1,5-6\r\n").fields["Cache-Control"] == "public, max-age=60");
  CHECK_FALSE(client.get("/none").fields.contains("Cache-Control"));
  CHECK(client.get("/dir/").fields["Cache-Control"] == "no-cache");
  client.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n");
  CHECK(client.read(false).fields["Cache-Control"] == "public, max-age=60");
}

TEST_CASE("http server: refuses what it cannot serve, and says why", "[net][http]") {
  FakeStore store;
  sample_store(store);
  const std::pair<int, int> errors[] = {{EACCES, 403}, {EPERM, 403},   {ELOOP, 403},        {EXDEV, 403},
                                        {ENOENT, 404}, {ENOTDIR, 404}, {ENAMETOOLONG, 404}, {EMFILE, 503},
                                        {ENFILE, 503}, {EIO, 500}};
  for (const auto& [error, status] : errors) store.fail_open("e" + std::to_string(error), error);
  auto server = start(&store);
  Client client(server->port());
  for (const auto& [error, status] : errors) {
    INFO(error);
    CHECK(client.get("/e" + std::to_string(error)).status == status);
  }
  CHECK(client.get("/e" + std::to_string(EMFILE)).fields["Retry-After"] == "1");
  CHECK(client.get("/a.txt/").status == 404);
  CHECK(client.get("/none").body == "404 Not Found\n");
  client.write("POST /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
  Response response = client.read();
  CHECK(response.status == 405);
  CHECK(response.fields["Allow"] == "GET, HEAD, OPTIONS");
  client.write("HEAD /none HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(client.read(false).status == 404);
  CHECK(client.get("/a.txt", "Expect: something\r\n").status == 417);
  CHECK(client.ended());
  CHECK(server->stats().responses_4xx > 10);
}

TEST_CASE("http server: OPTIONS says what may be done, with every file and with the whole", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  Client client(server->port());
  for (const std::string target : {"*", "/a.txt", "/none", "/"}) {
    INFO(target);
    client.write("OPTIONS " + target + " HTTP/1.1\r\nHost: h\r\n\r\n");
    Response response = client.read(false);
    CHECK(response.status == 204);
    CHECK(response.fields["Allow"] == "GET, HEAD, OPTIONS");
    CHECK_FALSE(response.fields.contains("Content-Length"));
  }
  CHECK(client.get("/a.txt").status == 200);  // by the same connection
  client.write("OPTIONS /../x HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(client.read().status == 400);
}

TEST_CASE("http server: methods that change something, or are none of ours, are refused with Allow", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  for (const std::string method : {"POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "MKCOL", "LOCK"}) {
    INFO(method);
    Client client(server->port());
    client.write(method + " /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    Response response = client.read();
    CHECK(response.status == 405);
    CHECK(response.fields["Allow"] == "GET, HEAD, OPTIONS");
    CHECK(client.get("/a.txt").status == 200);
  }
}

TEST_CASE("http server: HEAD says what GET says", "[net][http]") {
  FakeStore store;
  sample_store(store);
  ManualClock clock;  // one date for all
  auto server = start(&store, {.clock = &clock});
  Client client(server->port());
  for (const std::string target : {"/a.txt", "/empty", "/big.bin", "/fresh", "/none"}) {
    INFO(target);
    for (const std::string fields : {"", "If-None-Match: *\r\n", "If-Match: \"x\"\r\n"}) {
      INFO(fields);
      const std::string rest = " " + target + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
      client.write("GET" + rest);
      const bool body_follows = target == "/none" || fields.find("None") == std::string::npos;
      const Response got = client.read(body_follows);
      client.write("HEAD" + rest);
      const Response head = client.read(false);
      CHECK(head.status == got.status);
      CHECK(head.fields == got.fields);
    }
  }
  client.write("HEAD /a.txt HTTP/1.0\r\n\r\n");
  CHECK(client.read(false).status == 200);
  CHECK(client.ended());
}

TEST_CASE("http server: expectations are met, ignored or refused", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  const auto status = [&](const std::string& version, const std::string& expect) {
    Client client(server->port());
    client.write("GET /a.txt HTTP/" + version + "\r\nHost: h\r\nExpect: " + expect + "\r\n\r\n");
    const int result = client.read().status;
    CHECK(client.ended());
    return result;
  };
  CHECK(status("1.1", "100-continue") == 200);
  CHECK(status("1.1", "100-Continue") == 200);
  CHECK(status("1.1", "other") == 417);
  CHECK(status("1.0", "other") == 200);
}

TEST_CASE("http server: after a request of doubtful framing the connection ends", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  const std::pair<std::string, int> requests[] = {
      {"GET /../x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"GET /a.txt HTTP/1.1\nHost: h\n\n", 400},
      {"BREW /a.txt HTTP/1.1\r\nHost: h\r\n\r\n", 501},
      {"GET /a.txt HTTP/3.0\r\nHost: h\r\n\r\n", 505},
      {"GET /" + std::string(20'000, 'a'), 414},
      {"GET / HTTP/1.1\r\nX: " + std::string(20'000, 'a'), 431},
  };
  for (const auto& [request, status] : requests) {
    INFO(request.substr(0, 60));
    Client client(server->port());
    client.write(request + "GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n");
    Response response = client.read();
    CHECK(response.status == status);
    CHECK(response.whole);
    CHECK(response.fields["Connection"] == "close");
    CHECK(client.ended());
  }
}

TEST_CASE("http server: a request's body is skipped when small, else it ends the connection", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  Client client(server->port());
  client.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nGET /");
  CHECK(client.read().status == 200);
  client.write("12345");
  CHECK(client.get("/empty").status == 200);

  client.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n");
  Response response = client.read();
  CHECK(response.status == 200);
  CHECK(response.fields["Connection"] == "close");
  CHECK(client.ended());

  Client expecting(server->port());
  expecting.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  CHECK(expecting.read().status == 200);
  CHECK(expecting.ended());
}

TEST_CASE("http server: a body in chunks is skipped before the answer, and a bad or long one ends the connection",
          "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  const std::string head = "GET /a.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string body = "5;x=y\r\nhello\r\n0\r\nName: value\r\n\r\n";
  Client client(server->port());
  for (const size_t piece : {size_t{1}, size_t{4}, size_t{1000}}) {
    const std::string both = head + body + "GET /empty HTTP/1.1\r\nHost: h\r\n\r\n";
    for (size_t at = 0; at < both.size(); at += piece) client.write(both.substr(at, piece));
    CHECK(client.read().body == store.content("a.txt"));
    CHECK(client.read().fields["Content-Length"] == "0");
  }
  client.write("POST /a.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body);
  CHECK(client.read().status == 405);
  CHECK(client.get("/a.txt").status == 200);

  client.write(head + "5\r\nhelloGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
  Response response = client.read();
  CHECK(response.status == 400);
  CHECK(response.fields["Connection"] == "close");
  CHECK(client.ended());

  Client longer(server->port());
  longer.write(head + "10001\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
  response = longer.read();
  CHECK(response.status == 200);
  CHECK(response.whole);
  CHECK(response.fields["Connection"] == "close");
  CHECK(longer.ended());

  Client expecting(server->port());
  expecting.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  CHECK(expecting.read().status == 200);
  CHECK(expecting.ended());
  CHECK(server->stats().requests == 11);
}

TEST_CASE("http server: pipelined requests are answered in order, wherever the stream is cut", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  std::string requests;
  const std::string names[] = {"a.txt", "none", "big.bin", "empty", "a.txt"};
  for (int i = 0; i < 20; ++i) {
    for (const std::string& name : names) requests += "GET /" + name + " HTTP/1.1\r\nHost: h\r\n\r\n";
  }
  for (const size_t piece : {size_t{1 << 20}, size_t{7}}) {
    Client client(server->port());
    std::thread writer([&] {
      for (size_t at = 0; at < requests.size(); at += piece) client.write(std::string_view(requests).substr(at, piece));
    });
    for (int i = 0; i < 20; ++i) {
      for (const std::string& name : names) {
        const Response response = client.read();
        REQUIRE(response.status == (name == "none" ? 404 : 200));
        REQUIRE(response.whole);
        if (name != "none") REQUIRE(response.body == store.content(name));
      }
    }
    writer.join();
  }
}

TEST_CASE("http server: keeps or closes the connection as the request asks", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store);
  Client closing(server->port());
  CHECK(closing.get("/a.txt", "Connection: close\r\n").fields["Connection"] == "close");
  CHECK(closing.ended());
  Client old(server->port());
  old.write("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(old.read().fields["Connection"] == "keep-alive");
  old.write("\r\n\r\nGET /a.txt HTTP/1.0\r\n\r\n");  // empty lines before a request are tolerated
  CHECK(old.read().fields["Connection"] == "close");
  CHECK(old.ended());
  Client both(server->port());
  both.write("GET /a.txt HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n");
  CHECK(both.read().fields["Connection"] == "close");
  CHECK(both.ended());
  Client half(server->port());
  half.write("GET /big.bin HTTP/1.1\r\nHost: h\r\n\r\n");
  half.end_writing();
  CHECK(half.read().whole);
  CHECK(half.ended());
}

TEST_CASE("http server: what a client sends after its last request costs it nothing of the answer", "[net][http]") {
  FakeStore store;
  sample_store(store);
  store.add("some", {.size = 200'000});
  auto server = start(&store, {.threads = 1});
  Client slow(server->port(), 4096);
  slow.write("GET /some HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  while (server->stats().requests == 0) std::this_thread::yield();
  CHECK(Client(server->port()).get("/a.txt").status == 200);  // by then the answer is in the socket
  slow.write("\r\n");
  const Response response = slow.read();
  CHECK(response.whole);
  CHECK((response.body == store.content("some")));
  CHECK(slow.ended());
}

TEST_CASE("http server: opens that may block happen elsewhere, and a full queue says so", "[net][http]") {
  FakeStore store;
  sample_store(store);
  store.blocking_opens = true;
  auto server = start(&store);
  Client client(server->port());
  const Response response = client.get("/a.txt", "Range: bytes=1-2\r\n");
  CHECK(response.status == 206);
  CHECK(response.body == store.content("a.txt", 1, 2));
  CHECK(client.get("/none").status == 404);
  auto refusing = start(&store, {.open_queue_max = 0});
  Client refused(refusing->port());
  CHECK(refused.get("/a.txt").status == 503);
}

TEST_CASE("http server: a file that changes while it is sent ends in a short body", "[net][http]") {
  FakeStore store;
  FakeFile& file = store.add("cold", {.size = 3 << 20});
  file.park_reads = true;
  auto server = start(&store);
  Client client(server->port());
  client.write("GET /cold HTTP/1.1\r\nHost: h\r\n\r\n");
  while (store.run_parked() == 0) std::this_thread::yield();
  while (store.parked() == 0) std::this_thread::yield();
  file.generation = 2;
  store.run_parked();
  const Response response = client.read();
  CHECK(response.status == 200);
  CHECK(response.body.size() == 1 << 20);
  CHECK_FALSE(response.whole);
}

TEST_CASE("http server: a file that changes before any of it was sent is answered anew", "[net][http]") {
  FakeStore store;
  FakeFile& file = store.add("cold", {.size = 100'000});
  file.park_reads = true;
  auto server = start(&store);
  Client client(server->port());
  client.write("GET /cold HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto change_under_read = [&](uint32_t generation) {
    while (store.parked() == 0) std::this_thread::yield();
    CHECK(server->stats().requests == 0);  // what is counted stays so
    file.generation = generation;
    store.run_parked();
  };
  SECTION("and gets there") {
    for (uint32_t generation : {2, 3, 3}) change_under_read(generation);
    const Response response = client.read();
    CHECK(response.status == 200);
    CHECK(response.whole);
    CHECK(response.body == store.content("cold"));
    CHECK(server->stats().responses_2xx == 1);
  }
  SECTION("or is refused when it never rests") {
    for (uint32_t generation = 2; generation <= 6; generation++) change_under_read(generation);
    CHECK(client.read().status == 503);
    CHECK(server->stats().responses_2xx == 0);
    CHECK(server->stats().responses_5xx == 1);
  }
  CHECK(server->stats().requests == 1);
  CHECK(server->stats().broken_off == 0);
}

TEST_CASE("http server: a disk that fails before any of a file was sent is told by the status", "[net][http]") {
  FakeStore store;
  store.add("bad", {.size = 100'000}).read_error = EIO;
  auto server = start(&store);
  Client client(server->port());
  CHECK(client.get("/bad").status == 500);
  CHECK(client.get("/bad").status == 500);  // by the same connection
}

// A server whose backing has 20 seconds, and a clock for both.
struct HangingBacking {
  HangingBacking() {
    store.add("a.txt", {.size = 1000});
    store.add("cold", {.size = 3 << 20}).park_reads = true;
    store.before_blocking_open = [this] {
      ++opens_waiting;
      gate_opens.wait();
      --opens_waiting;
    };
  }
  ~HangingBacking() { server->stop(std::chrono::seconds(0)); }
  void turn() {  // the loop sees the new time when something happens
    const bool blocking = store.blocking_opens.exchange(false);
    Client other(server->port());
    CHECK(other.get("/a.txt", "Connection: close\r\n").status == 200);
    store.blocking_opens = blocking;
  }
  void pass(std::chrono::seconds time) {
    clock.advance(time);
    turn();
    turn();  // the first one may have come before the loop looked at its timers
  }

  FakeStore store{24};
  std::atomic<int> opens_waiting{0};
  std::promise<void> gate;
  std::shared_future<void> gate_opens = gate.get_future().share();
  ManualClock clock;
  BackingHealth health{{.io_timeout = std::chrono::seconds(20), .clock = &clock}};
  std::unique_ptr<HttpServer> server = start(&store, {.threads = 1, .clock = &clock, .health = &health});
};

TEST_CASE("http server: a read that hangs is 504 before the head, and what it brings later is thrown away",
          "[net][http]") {
  HangingBacking backing;
  Client client(backing.server->port());
  client.write("GET /cold HTTP/1.1\r\nHost: h\r\n\r\n");
  while (backing.store.parked() == 0) std::this_thread::yield();
  backing.pass(std::chrono::seconds(15));
  CHECK(backing.health.stats().timed_out == 0);
  backing.pass(std::chrono::seconds(6));
  const Response response = client.read();
  CHECK(response.status == 504);
  CHECK(response.fields.at("Connection") == "close");
  CHECK(client.ended());
  CHECK(backing.health.stats().timed_out == 1);
  CHECK(backing.store.run_parked() == 1);
  backing.turn();
  CHECK(backing.server->stats().responses_5xx == 1);
}

TEST_CASE("http server: a read that hangs after the head ends the connection", "[net][http]") {
  HangingBacking backing;
  Client client(backing.server->port());
  client.write("GET /cold HTTP/1.1\r\nHost: h\r\n\r\n");
  while (backing.store.run_parked() == 0) std::this_thread::yield();
  while (backing.store.parked() == 0) std::this_thread::yield();
  backing.pass(std::chrono::seconds(21));
  const Response response = client.read();
  CHECK(response.status == 200);
  CHECK(response.body == backing.store.content("cold", 0, 1 << 20));
  CHECK_FALSE(response.whole);
  CHECK(backing.store.run_parked() == 1);
}

TEST_CASE("http server: an open that hangs is 504, and the file it opens later is closed", "[net][http]") {
  HangingBacking backing;
  backing.store.blocking_opens = true;
  Client client(backing.server->port());
  client.write("GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n");
  while (backing.server->stats().connections_open == 0) std::this_thread::yield();
  while (backing.opens_waiting == 0) std::this_thread::yield();
  backing.pass(std::chrono::seconds(21));
  CHECK(client.read().status == 504);
  CHECK(client.ended());
  backing.gate.set_value();
  while (backing.opens_waiting != 0) std::this_thread::yield();
  backing.turn();
  while (backing.store.open_files != 0) std::this_thread::yield();
}

TEST_CASE("http server: what is refused because the backing hangs is 504", "[net][http]") {
  FakeStore store;
  store.add("bad", {.size = 100'000}).read_error = ETIMEDOUT;
  auto server = start(&store);
  Client client(server->port());
  CHECK(client.get("/bad").status == 504);
}

}  // namespace
}  // namespace sluice
