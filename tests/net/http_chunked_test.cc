#include "net/http/chunked.h"

#include <random>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr uint64_t kMax = 64 << 10;

// Bytes of the body; -1: it goes on; -2: too long; -400: malformed. The same wherever the stream is cut.
int64_t end_of(const std::string& stream, uint64_t bytes_max = kMax) {
  const auto by_pieces = [&](size_t piece) -> int64_t {
    ChunkedBody body(bytes_max);
    size_t at = 0;
    while (at < stream.size() && !body.done() && !body.too_long()) {
      const HttpResult<size_t> taken = body.skip(std::string_view(stream).substr(at, piece));
      if (!taken) return -static_cast<int64_t>(taken.error());
      at += *taken;
    }
    if (body.too_long()) return -2;
    return body.done() ? static_cast<int64_t>(at) : -1;
  };
  const int64_t end = by_pieces(stream.size());
  for (const size_t piece : {1U, 2U, 3U, 7U}) CHECK(by_pieces(piece) == end);
  return end;
}

TEST_CASE("http chunks: a body ends where its last chunk and trailers end", "[net][http]") {
  for (const std::string& body : {
           std::string("0\r\n\r\n"),
           std::string("5\r\nhello\r\n0\r\n\r\n"),
           std::string("a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n"),
           std::string("1\r\n\n\r\n0\r\n\r\n"),  // any bytes are data
           std::string("5;name=value\r\nhello\r\n0;last\r\n\r\n"),
           std::string("5 ; name=\"a b;c\"\r\nhello\r\n0\r\n\r\n"),
           std::string("0\r\nTrailer: x\r\nEmpty:\r\n\r\n"),
       }) {
    INFO(body);
    CHECK(end_of(body) == static_cast<int64_t>(body.size()));
    CHECK(end_of(body + "GET / HTTP/1.1\r\n") == static_cast<int64_t>(body.size()));
    CHECK(end_of(body.substr(0, body.size() - 1)) == -1);
  }
}

TEST_CASE("http chunks: what two servers could read in two ways is refused", "[net][http]") {
  for (const std::string& body : {
           std::string("\r\n"),
           std::string(";x\r\n"),
           std::string(" 5\r\nhello\r\n"),
           std::string("5 \r\nhello\r\n"),
           std::string("5 5\r\nhello\r\n"),
           std::string("0x5\r\nhello\r\n"),
           std::string("+5\r\nhello\r\n"),
           std::string("-5\r\nhello\r\n"),
           std::string("5_0\r\nhello\r\n"),
           std::string("g\r\n"),
           std::string("5\nhello\r\n"),
           std::string("5\rhello\r\n"),
           std::string("5\r\rhello\r\n"),
           std::string("5;a\nhello\r\n"),
           std::string("5;a\rb\r\nhello\r\n"),
           std::string("5;\0\r\nhello\r\n", 12),
           std::string("5\r\nhello0\r\n\r\n"),
           std::string("5\r\nhello\n0\r\n\r\n"),
           std::string("5\r\nhello\r0\r\n\r\n"),
           std::string("5\r\nhell\r\n0\r\n\r\n"),
           std::string("0\r\n\n"),
           std::string("0\r\n\rX"),
           std::string("0\r\n: x\r\n\r\n"),
           std::string("0\r\n folded\r\n\r\n"),
           std::string("0\r\nName\r\n\r\n"),
           std::string("0\r\nName : x\r\n\r\n"),
           std::string("0\r\nName: x\n\r\n"),
           std::string("0\r\nName: \x01\r\n\r\n"),
       }) {
    INFO(body);
    CHECK(end_of(body) == -400);
  }
}

TEST_CASE("http chunks: a body has its limit, whatever fills it", "[net][http]") {
  const auto chunk = [](const char* size, size_t bytes) {
    return size + std::string("\r\n") + std::string(bytes, 'x');
  };
  CHECK(end_of(chunk("32", 50) + "\r\n0\r\n\r\n", 61) == 61);
  CHECK(end_of(chunk("32", 50) + "\r\n0\r\n\r\n", 60) == -2);
  CHECK(end_of("10001\r\n") == -2);  // not waited for
  CHECK(end_of("ffffffffffffffff\r\n") == -2);
  CHECK(end_of("fffffffffffffffff\r\n") == -2);
  CHECK(end_of("10000000000000005\r\nhello\r\n") == -2);
  CHECK(end_of(std::string(kMax + 1, '0')) == -2);
  CHECK(end_of("1;" + std::string(kMax, 'a')) == -2);
  CHECK(end_of("0\r\nName:" + std::string(kMax, 'a')) == -2);
  std::string many;
  while (many.size() <= kMax) many += "1\r\nx\r\n";
  CHECK(end_of(many) == -2);
}

TEST_CASE("http chunks: damaged bodies are refused or end, the same wherever they are cut", "[net][http][fuzz]") {
  std::mt19937_64 random(test_seed());
  const std::string original = "5;a=b\r\nhello\r\n1A\r\n01234567890123456789012345\r\n0\r\nName: x\r\n\r\n";
  static constexpr std::string_view kBytes("\r\n\0 \t;:0aG\x80\x7f", 12);
  for (int i = 0; i < 20'000; ++i) {
    std::string body = original;
    for (uint64_t n = random() % 4 + 1; n > 0; --n) {
      const size_t at = random() % body.size();
      switch (random() % 3) {
        case 0: body[at] = kBytes[random() % kBytes.size()]; break;
        case 1: body.insert(at, 1, kBytes[random() % kBytes.size()]); break;
        default: body.erase(at, 1);
      }
    }
    end_of(body, 200);
  }
}

}  // namespace
}  // namespace sluice
