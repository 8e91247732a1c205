#include "net/http/access_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "net/http/server.h"
#include "tests/net/fake_store.h"
#include "tests/net/http_client.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace sluice {
namespace {

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

AccessRecord record(std::string_view line) {
  return {
      .peer = {}, .time = {}, .request_line = line, .status = 200, .body_bytes = 1, .referer = {}, .user_agent = {}};
}

TEST_CASE("access log: the combined format, with what clients choose escaped", "[net][http]") {
  AccessRecord one = record("GET /a HTTP/1.1");
  one.peer.bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
  one.time = std::chrono::seconds(784111777);
  one.status = 206;
  one.body_bytes = 17;
  one.referer = "http://r/";
  one.user_agent = "curl/7.88";
  CHECK(format_access(one) ==
        "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a HTTP/1.1\" 206 17 \"http://r/\" \"curl/7.88\"\n");
  one.request_line = "GET /\"\\\x1b[0m\xff\n HTTP/1.1";
  one.referer = "";
  one.user_agent = "\x7f";
  CHECK(format_access(one) ==
        "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /\\x22\\x5C\\x1B[0m\\xFF\\x0A HTTP/1.1\" 206 17 \"-\" "
        "\"\\x7F\"\n");
}

TEST_CASE("access log: goes on in a new file after the old one was renamed", "[net][http]") {
  TemporaryDirectory directory;
  const std::string path = directory / "log";
  {
    auto log = std::move(*AccessLog::open(path));
    log->write(record("one"));
    while (log->stats().lines < 1) ::usleep(1000);
    REQUIRE(::rename(path.c_str(), (directory / "old").c_str()) == 0);
    log->write(record("two"));
    while (log->stats().lines < 2) ::usleep(1000);
    log->reopen();
    while (::access(path.c_str(), F_OK) != 0) ::usleep(1000);
    log->write(record("three"));
  }
  CHECK(content_of(directory / "old").find("\"two\"") != std::string::npos);
  CHECK(content_of(path).find("\"three\"") != std::string::npos);
  CHECK(content_of(path).find("\"two\"") == std::string::npos);
  CHECK_FALSE(AccessLog::open(directory / "none/log"));
}

TEST_CASE("access log: a reader that takes nothing costs lines, and no time", "[net][http]") {
  TemporaryDirectory directory;
  const std::string path = directory / "fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK(AccessLog::open(path).error().number == ENXIO);
  const UniqueFd reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const std::string line(1000, 'x');
  auto log = std::move(*AccessLog::open(path));
  for (int i = 0; i < 10'000; ++i) log->write(record(line));
  CHECK(log->stats().dropped > 5000);
  log.reset();  // ends nevertheless
}

TEST_CASE("access log: each answer is a line, with the bytes of its body", "[net][http]") {
  TemporaryDirectory directory;
  auto log = std::move(*AccessLog::open(directory / "log"));
  FakeStore store;
  store.add("a", {.size = 100'000});
  store.add_directory("d");
  ManualClock clock;
  HttpOptions options{.address = "127.0.0.1:0"};
  options.access_log = log.get();
  options.clock = &clock;
  auto server = std::move(*HttpServer::start(&store, options));
  Client client(server->port());
  client.get("/a", "User-Agent: test \"1\"\r\nReferer: here\r\n");
  client.get("/a", "Range: bytes=0-1,5-6\r\n");
  client.get("/none");
  client.write("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
  client.read(false);
  const size_t page_bytes = client.get("/d/").body.size();
  client.write("GET / a HTTP/1.1\r\nHost: h\r\n\r\n");
  client.read();
  server.reset();
  log.reset();
  const std::string text = content_of(directory / "log");
  INFO(text);
  const auto has = [&](const std::string& part) { return text.find(part) != std::string::npos; };
  CHECK(has("127.0.0.1 - - ["));
  CHECK(has("\"GET /a HTTP/1.1\" 200 100000 \"here\" \"test \\x221\\x22\"\n"));
  CHECK(has("\"GET /a HTTP/1.1\" 206 "));
  CHECK(has("\"GET /none HTTP/1.1\" 404 14 \"-\" \"-\"\n"));
  CHECK(has("\"HEAD /a HTTP/1.1\" 200 0 "));
  CHECK(has("\"GET /d/ HTTP/1.1\" 200 "));
  CHECK(page_bytes > 100);
  CHECK(has("\"GET / a HTTP/1.1\" 400 16 "));
  CHECK(std::count(text.begin(), text.end(), '\n') == 6);
}

TEST_CASE("access log: who leaves before the answer is a line of its own", "[net][http]") {
  TemporaryDirectory directory;
  auto log = std::move(*AccessLog::open(directory / "log"));
  FakeStore store(24);
  store.add("huge", {.size = 30 << 20});
  HttpOptions options{.address = "127.0.0.1:0"};
  options.access_log = log.get();
  auto server = std::move(*HttpServer::start(&store, options));
  {
    Client early(server->port());
    early.write("GET /huge HTTP/1.1\r\nHost: h\r\n\r\n");
    early.read_head();
  }
  while (server->stats().connections_open > 0) ::usleep(1000);
  server.reset();
  log.reset();
  const std::string text = content_of(directory / "log");
  INFO(text);
  const size_t at = text.find("\"GET /huge HTTP/1.1\" 200 ");
  REQUIRE(at != std::string::npos);
  const uint64_t bytes = std::strtoull(text.c_str() + at + 25, nullptr, 10);
  CHECK(bytes > 0);
  CHECK(bytes < (30 << 20));
}

}  // namespace
}  // namespace sluice
