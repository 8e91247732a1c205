#include "net/http/request.h"

#include <random>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

// 0: accepted. Scans and parses as the session does.
int verdict(const std::string& head) {
  const HttpResult<HeadScan> scan = scan_head(head, 0);
  if (!scan) return static_cast<int>(scan.error());
  if (scan->length == 0) return -1;  // incomplete
  const HttpResult<HttpRequest> request = parse_request(std::string_view(head).substr(0, scan->length));
  return request ? 0 : static_cast<int>(request.error());
}

std::string get(const std::string& fields) {
  return "GET /a HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
}

TEST_CASE("http request: what is well-formed is accepted", "[net][http]") {
  for (const std::string& head : {
           get(""),
           get("Accept: */*\r\nUser-Agent: curl/7.88\r\n"),
           get("Content-Length: 0\r\n"),
           get("Transfer-Encoding: chunked\r\n"),
           get("Transfer-Encoding: Chunked\r\n"),
           get("X-Empty:\r\n"),
           get("X: a:b\tc\r\n"),
           get("Connection: Upgrade\r\nUpgrade: h2c\r\n"),
           std::string("GET / HTTP/1.0\r\n\r\n"),
           std::string("HEAD /%41?q=1%2 HTTP/1.1\r\nHOST: h:80\r\n\r\n"),
           std::string("GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET / HTTP/1.1\r\nHost:\r\n\r\n"),
           std::string("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
           std::string("DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
       }) {
    INFO(head);
    CHECK(verdict(head) == 0);
  }
}

TEST_CASE("http request: what two servers could read in two ways is refused", "[net][http]") {
  for (const std::string& head : {
           get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
           get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
           get("Content-Length: 5\r\nContent-Length: 5\r\n"),
           get("Content-Length: 5\r\nContent-Length: 6\r\n"),
           get("Content-Length: 5, 5\r\n"),
           get("Content-Length: +5\r\n"),
           get("Content-Length: -5\r\n"),
           get("Content-Length: 0x5\r\n"),
           get("Content-Length: 5 5\r\n"),
           get("Content-Length:\r\n"),
           get("Content-Length: 99999999999999999999\r\n"),
           get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
           get("Transfer-Encoding : chunked\r\n"),
           get("Transfer-Encoding\t: chunked\r\n"),
           get("Content-Length : 5\r\n"),
           get(" Folded: 1\r\n"),
           get("X: 1\r\n folded\r\n"),
           get("X: 1\r\n\tTransfer-Encoding: chunked\r\n"),
           get("X: a\rTransfer-Encoding: chunked\r\n"),
           get("X: a\nTransfer-Encoding: chunked\r\n"),
           get("X: a\n\r\n"),
           get(std::string("X: a\0b\r\n", 8)),
           get("NoColon\r\n"),
           get(": value\r\n"),
           get("Bad Name: 1\r\n"),
           get("Bad(Name): 1\r\n"),
           get("X\x80: 1\r\n"),
           get("Host: other\r\n"),
           std::string("GET / HTTP/1.1\r\n\r\n"),
           std::string("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
           std::string("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
           std::string("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
           std::string("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
           std::string("GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET /  HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET /\r\nHost: h\r\n\r\n"),
           std::string("GET / http/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
           std::string("GET / HTTP/11\r\nHost: h\r\n\r\n"),
           std::string("G(T / HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET / HTTP/1.1\nHost: h\n\n"),
           std::string("\r\n\r\n"),
           std::string("GET a HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n"),
       }) {
    INFO(head);
    CHECK(verdict(head) == 400);
  }
}

TEST_CASE("http request: a host is a name, an address or a literal, with a port or none", "[net][http]") {
  const auto in_field = [](const std::string& host) { return verdict("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"); };
  const auto in_target = [](const std::string& host) {
    return verdict("GET http://" + host + "/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
  };
  for (const char* host : {
           "www.abcd-ef.g02.xyz",
           "abcd-ef.g02.xyz:8080",
           "www.abcd-ef.g02.xyz.",
           "abcd-ef.g02.xyz.:88",
           "AbC-d93.0.34ZhGt-s.nk.Ru:88",
           "under_score",
           "h:",
           "h:65535",
           "%41b",
           "123.40.56.78",
           "123.49.0.78:987",
           "[abcd::ef98:0:7654:321]",
           "[abcd::ef98:0:7654:321]:80",
           "[::]:",
           "[::ffff:12.30.67.89]",
           "[::123.45.67.89]:4321",
           "[v0123456789aBcDeF.!$&'()*+,;=-._~AbCdEfGhIjKlMnOpQrStUvWxYz0123456789:]",
       }) {
    INFO(host);
    CHECK(in_field(host) == 0);
    CHECK(in_target(host) == 0);
  }
  for (const char* host : {
           "a,b",
           "user@host",
           "user:word@host",
           "..examp-LE.com",
           "com.exa-m.45..:",
           "example.com\\:552",
           "[abcd::e\\f98:0:7654:321]",
           "[abcd::ef98:0:7654:321]..:98",
           "[ab..cd::ef98:0:7654:321]",
           "[abcd::ef98:0:7654:321",
           "abcd::ef98:0:7654:321",
           "[]",
           "[1]",
           "[v.x]",
           "[v1.]",
           "[::1]x",
           "[::1]80",
           "123.40.56.78:9000:80",
           "h:65536",
           "h:-1",
           "h:8o",
           "%4",
           "%zz",
           "h\xc3\xa4",
           "a|b",
           "a\"b",
       }) {
    INFO(host);
    CHECK(in_field(host) == 400);
    CHECK(in_target(host) == 400);
  }
  CHECK(in_field("") == 0);  // of a target that has none
  CHECK(in_target("") == 400);
  CHECK(in_target(":80") == 400);
  CHECK(in_field("example.com/\\:552") == 400);
  CHECK(in_field("localhost\x02") == 400);
  CHECK(in_field("localhost\r\nHost: localhost") == 400);
  CHECK(in_field("localhost\nHost: again") == 400);
  // An absolute target is what counts; the field must still be there, once, and a host.
  CHECK(verdict("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n") == 0);
  CHECK(verdict("GET http://a/ HTTP/1.1\r\n\r\n") == 400);
  CHECK(verdict("GET http://a/ HTTP/1.1\r\nHost: b,c\r\n\r\n") == 400);
  CHECK(verdict("GET http://a/ HTTP/1.0\r\n\r\n") == 0);
}

TEST_CASE("http request: what is valid and not ours has its own status", "[net][http]") {
  CHECK(verdict("BREW / HTTP/1.1\r\nHost: h\r\n\r\n") == 501);
  CHECK(verdict(get("Transfer-Encoding: gzip, chunked\r\n")) == 501);
  CHECK(verdict("GET / HTTP/2.0\r\nHost: h\r\n\r\n") == 505);
  CHECK(verdict("GET / HTTP/0.9\r\nHost: h\r\n\r\n") == 505);
  CHECK(verdict("GET / HTTP/1.7\r\nHost: h\r\n\r\n") == 505);
}

TEST_CASE("http request: a head that is too long is refused before it ends", "[net][http]") {
  CHECK(verdict("GET /" + std::string(kHeadMax, 'a')) == 414);
  CHECK(verdict(get("X: " + std::string(kHeadMax, 'a'))) == 431);
  const std::string start = get("").substr(0, get("").size() - 2);
  const auto padded = [&](size_t size) {
    return start + "X: " + std::string(size - start.size() - 7, 'a') + "\r\n\r\n";
  };
  CHECK(verdict(padded(kHeadMax)) == 0);
  CHECK(verdict(padded(kHeadMax + 1)) == 431);
  CHECK(verdict("GET / HTTP/1.1\r\nHost: h\r\n") == -1);
}

TEST_CASE("http request: fields are understood whatever their case and spacing", "[net][http]") {
  const std::string head =
      get("rAnGe:bytes=0-1\r\nIF-RANGE:  \"x\" \t\r\nIf-None-Match: \"a\"\r\nif-none-match: W/\"b\"\r\nIf-Match: *\r\n"
          "If-Modified-Since: d1\r\nIf-Unmodified-Since: d2\r\nExpect: 100-continue\r\nContent-Length: 12\r\n");
  const HttpRequest request = *parse_request(head);
  CHECK(request.method == HttpMethod::get);
  CHECK(request.path == "a");
  CHECK(request.range == "bytes=0-1");
  CHECK(request.if_range == "\"x\"");
  CHECK(request.if_none_match == "\"a\", W/\"b\"");
  CHECK(request.if_match == "*");
  CHECK(request.if_modified_since == "d1");
  CHECK(request.if_unmodified_since == "d2");
  CHECK(request.expect == "100-continue");
  CHECK(request.body_bytes == 12);
  CHECK(request.keep_alive);
  CHECK_FALSE(request.version_1_0);
}

TEST_CASE("http request: the connection is kept as version and field say", "[net][http]") {
  const auto kept = [](const std::string& head) { return parse_request(head)->keep_alive; };
  CHECK(kept(get("")));
  CHECK(kept(get("Connection: keep-alive\r\n")));
  CHECK_FALSE(kept(get("Connection: close\r\n")));
  CHECK_FALSE(kept(get("Connection: foo, Close\r\n")));
  CHECK_FALSE(kept("GET / HTTP/1.0\r\n\r\n"));
  CHECK(kept("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

TEST_CASE("http request: a head that arrives byte by byte is the same head", "[net][http]") {
  const std::string whole = get("A: 1\r\nB: 2\r\n") + "GET /next";
  size_t scanned = 0;
  for (size_t have = 0; have <= whole.size(); ++have) {
    const HttpResult<HeadScan> scan = scan_head(whole.substr(0, have), scanned);
    REQUIRE(scan);
    if (scan->length > 0) {
      CHECK(have == get("A: 1\r\nB: 2\r\n").size());
      CHECK(scan->length == have);
      return;
    }
    scanned = scan->scanned;
  }
  FAIL("never complete");
}

TEST_CASE("http target: names the file it says, and none outside", "[net][http]") {
  const std::pair<const char*, const char*> good[] = {
      {"/", ""},
      {"/a", "a"},
      {"/a/b.txt", "a/b.txt"},
      {"/a/", "a/"},
      {"//a//b", "a/b"},
      {"/./a/./b/.", "a/b/"},
      {"/a/../b", "b"},
      {"/a/b/..", "a/"},
      {"/a/..", ""},
      {"/a/%2e%2e/b", "b"},
      {"/a%2Fb", "a/b"},
      {"/a%2f..%2fb", "b"},
      {"/%41%20+", "A +"},
      {"/a?b=/../..", "a"},
      {"/?x", ""},
      {"/..a/b..", "..a/b.."},
      {"/.hidden", ".hidden"},
      {"/...", "..."},
      {"/a\\..\\b", "a\\..\\b"},
      {"/%C3%A4", "\xc3\xa4"},
      {"/\xc3\xa4", "\xc3\xa4"},
      {"/%ff", "\xff"},
      {"/%0a", "\n"},
      {"/%252e%252e/a", "%2e%2e/a"},
      {"http://host/a", "a"},
      {"HTTP://host:80/a/../b?q", "b"},
      {"http://host", ""},
      {"http://host?q", ""},
  };
  for (const auto& [target, path] : good) {
    INFO(target);
    const HttpResult<std::string> result = path_of_target(target);
    REQUIRE(result);
    CHECK(*result == path);
  }
  for (const char* bad :
       {"",        "a",          "*",     "host:80", "/..",      "/../etc/passwd", "/a/../..", "/%2e%2e/etc",
        "/.%2e/x", "/a/..%2f..", "/%",    "/%4",     "/%4g",     "/%g4",           "/%00",     "/a%00b",
        "/a#b",    "/a b",       "/\x01", "/\x7f",   "ftp://h/a"}) {
    INFO(bad);
    const HttpResult<std::string> result = path_of_target(bad);
    REQUIRE_FALSE(result);
    CHECK(result.error() == HttpStatus::bad_request);
  }
}

TEST_CASE("http target: no target whatever escapes the root", "[net][http][fuzz]") {
  std::mt19937_64 random(test_seed());
  static constexpr std::string_view kPieces[] = {"/",   ".",    "..",  "%2e", "%2F",     "%2E%2e", "a",
                                                 "b.c", "//",   "?",   "%00", "%25",     "%5c",    "\\",
                                                 "%",   "\xff", "../", "./",  "http://", "#"};
  for (int i = 0; i < 1'000'000; ++i) {
    std::string target = random() % 8 == 0 ? "" : "/";
    for (uint64_t n = random() % 12; n > 0; --n) target += kPieces[random() % std::size(kPieces)];
    const HttpResult<std::string> path = path_of_target(target);
    if (!path) continue;
    const std::string framed = "/" + *path + (path->ends_with('/') || path->empty() ? "" : "/");
    const bool clean = framed.find("//") == std::string::npos && framed.find("/./") == std::string::npos &&
                       framed.find("/../") == std::string::npos && framed.find('\0') == std::string::npos;
    if (!clean) FAIL("not clean: " << target << " -> " << *path);
  }
}

TEST_CASE("http request: damaged heads are refused or understood, in pieces as at once", "[net][http][fuzz]") {
  std::mt19937_64 random(test_seed());
  const std::string original = get("Range: bytes=1-2\r\nContent-Length: 3\r\nIf-None-Match: \"a\", W/\"b\"\r\n");
  static constexpr std::string_view kBytes(
      "\r\n\0 \t:/%\x80"
      "Aa1,\"",
      14);
  for (int i = 0; i < 50'000; ++i) {
    std::string head = original;
    for (uint64_t n = random() % 4 + 1; n > 0; --n) {
      const size_t at = random() % head.size();
      switch (random() % 3) {
        case 0: head[at] = kBytes[random() % kBytes.size()]; break;
        case 1: head.insert(at, 1, kBytes[random() % kBytes.size()]); break;
        default: head.erase(at, 1);
      }
    }
    const int at_once = verdict(head);
    const size_t cut = random() % (head.size() + 1);
    const HttpResult<HeadScan> first = scan_head(head.substr(0, cut), 0);
    const HttpResult<HeadScan> whole = scan_head(head, 0);
    if (first && first->length == 0) {
      const HttpResult<HeadScan> second = scan_head(head, first->scanned);
      REQUIRE(second.has_value() == whole.has_value());
      if (whole) REQUIRE(second->length == whole->length);
    }
    REQUIRE((at_once <= 0 || at_once >= 400));
  }
}

}  // namespace
}  // namespace sluice
