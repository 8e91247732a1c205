#include "net/http/range.h"

#include <random>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

struct Row {
  const char* field;
  uint64_t size;
  RangeKind kind;
  uint64_t offset;
  uint64_t length;
};

TEST_CASE("http range: every form of one range", "[net][http]") {
  const Row rows[] = {
      {"bytes=0-0", 100, RangeKind::part, 0, 1},
      {"bytes=0-99", 100, RangeKind::part, 0, 100},
      {"bytes=10-19", 100, RangeKind::part, 10, 10},
      {"bytes=10-", 100, RangeKind::part, 10, 90},
      {"bytes=0-", 100, RangeKind::part, 0, 100},
      {"bytes=-10", 100, RangeKind::part, 90, 10},
      {"bytes=-100", 100, RangeKind::part, 0, 100},
      {"bytes=-1000", 100, RangeKind::part, 0, 100},
      {"bytes=50-1000", 100, RangeKind::part, 50, 50},
      {"bytes=99-", 100, RangeKind::part, 99, 1},
      {"BYTES=0-0", 100, RangeKind::part, 0, 1},
      {"bytes= 0-0 ", 100, RangeKind::part, 0, 1},
      {"bytes=,0-0,", 100, RangeKind::part, 0, 1},
      {"bytes=0-18446744073709551615", 100, RangeKind::part, 0, 100},
      {"bytes=0-99999999999999999999999", 100, RangeKind::part, 0, 100},
      {"bytes=-99999999999999999999999", 100, RangeKind::part, 0, 100},
      {"bytes=9223372036854775807-", UINT64_MAX, RangeKind::part, 9223372036854775807ULL, 9223372036854775808ULL},
      // Nothing of the file
      {"bytes=100-", 100, RangeKind::unsatisfiable, 0, 0},
      {"bytes=100-200", 100, RangeKind::unsatisfiable, 0, 0},
      {"bytes=18446744073709551615-", 100, RangeKind::unsatisfiable, 0, 0},
      {"bytes=99999999999999999999999-", 100, RangeKind::unsatisfiable, 0, 0},
      {"bytes=-0", 100, RangeKind::unsatisfiable, 0, 0},
      // Nothing of nothing: ignored
      {"bytes=0-0", 0, RangeKind::whole, 0, 0},
      {"bytes=0-", 0, RangeKind::whole, 0, 0},
      {"bytes=100-", 0, RangeKind::whole, 0, 0},
      {"bytes=-0", 0, RangeKind::whole, 0, 0},
      {"bytes=-5", 0, RangeKind::whole, 0, 0},
      {"bytes=0-0,2-3", 0, RangeKind::whole, 0, 0},
      // Malformed or not known: ignored
      {"", 100, RangeKind::whole, 0, 100},
      {"bytes", 100, RangeKind::whole, 0, 100},
      {"bytes=", 100, RangeKind::whole, 0, 100},
      {"bytes=-", 100, RangeKind::whole, 0, 100},
      {"bytes=a-b", 100, RangeKind::whole, 0, 100},
      {"bytes=1", 100, RangeKind::whole, 0, 100},
      {"bytes=5-4", 100, RangeKind::whole, 0, 100},
      {"bytes=1-2-3", 100, RangeKind::whole, 0, 100},
      {"bytes=--1", 100, RangeKind::whole, 0, 100},
      {"bytes=+1-2", 100, RangeKind::whole, 0, 100},
      {"bytes=0x1-2", 100, RangeKind::whole, 0, 100},
      {"bytes=1 - 2", 100, RangeKind::whole, 0, 100},
      {"bytes 0-1", 100, RangeKind::whole, 0, 100},
      {"lines=0-1", 100, RangeKind::whole, 0, 100},
      // Several that are one
      {"bytes=0-1,2-3", 100, RangeKind::part, 0, 4},
      {"bytes=2-3,0-1", 100, RangeKind::part, 0, 4},
      {"bytes=0-9,5-14", 100, RangeKind::part, 0, 15},
      {"bytes=0-,0-", 100, RangeKind::part, 0, 100},
      {"bytes=0-10001, 0-0", 1000, RangeKind::part, 0, 1000},
      {"bytes=10-11 12-", 100, RangeKind::whole, 0, 100},
      {"bytes=10-alpha", 100, RangeKind::whole, 0, 100},
      {"bytes=0-4,100-,-0,200-300", 100, RangeKind::part, 0, 5},
      {"bytes=100-,200-", 100, RangeKind::unsatisfiable, 0, 0},
      {"bytes=0-1,x", 100, RangeKind::whole, 0, 100},
      {"bytes=0-1,5-4", 100, RangeKind::whole, 0, 100},
      // More than anybody needs
      {"bytes=0-,0-,0-", 100, RangeKind::unsatisfiable, 0, 0},
      {"bytes=0-18446744073709551615,0-18446744073709551615,0-18446744073709551615", UINT64_MAX,
       RangeKind::unsatisfiable, 0, 0},
  };
  for (const Row& row : rows) {
    INFO(row.field << " of " << row.size);
    const RangeAnswer answer = resolve_range(row.field, row.size);
    CHECK(answer.kind == row.kind);
    CHECK(answer.offset == row.offset);
    CHECK(answer.length == row.length);
  }
}

std::string text_of(const RangeAnswer& answer) {
  std::string text;
  for (const BytePart& part : answer.parts)
    text += std::to_string(part.offset) + "+" + std::to_string(part.length) + " ";
  return text;
}

TEST_CASE("http range: several are given in the order of the request, overlapping ones as one", "[net][http]") {
  const std::pair<const char*, const char*> rows[] = {
      {"bytes=0-1,5-6", "0+2 5+2 "},
      {"bytes=5-6,0-1", "5+2 0+2 "},
      {"bytes=0-1,-1", "0+2 99+1 "},
      {"bytes=50-,0-0", "50+50 0+1 "},
      {"bytes=8-9,0-0,9-11", "8+4 0+1 "},
      {"bytes=9-11,0-0,8-9", "8+4 0+1 "},
      {"bytes=0-0,,2-2 ,\t4-4", "0+1 2+1 4+1 "},
      {"bytes=0-0,500-,2-2", "0+1 2+1 "},
  };
  CHECK(text_of(resolve_range("bytes=0-9, -10, 10-19", 1000)) == "0+20 990+10 ");
  CHECK(text_of(resolve_range("bytes=0-9, -10, 10000-", 1000)) == "0+10 990+10 ");
  for (const auto& [field, parts] : rows) {
    INFO(field);
    const RangeAnswer answer = resolve_range(field, 100);
    CHECK(answer.kind == RangeKind::parts);
    CHECK(text_of(answer) == parts);
  }
  CHECK(resolve_range("bytes=0-1,5-6", 100).length == 4);
}

TEST_CASE("http range: too many are as none", "[net][http]") {
  std::string field = "bytes=0-0";
  for (size_t i = 1; i < kRangesMax; ++i) field += "," + std::to_string(2 * i) + "-" + std::to_string(2 * i);
  CHECK(resolve_range(field, 1000).parts.size() == kRangesMax);
  CHECK(resolve_range(field + ",500-500", 1000).kind == RangeKind::whole);
  CHECK(resolve_range(field + ",5000-", 1000).kind == RangeKind::whole);
}

TEST_CASE("http range: parts never overlap, nor hold a byte that nobody asked for", "[net][http][fuzz]") {
  std::mt19937_64 random(test_seed());
  constexpr uint64_t kSize = 50;
  for (int i = 0; i < 20'000; ++i) {
    std::string field = "bytes=";
    std::vector<bool> asked(kSize);
    for (uint64_t n = random() % 6 + 1; n > 0; --n) {
      const uint64_t first = random() % (kSize + 10);
      const uint64_t last = first + random() % 20;
      field += std::to_string(first) + "-" + std::to_string(last) + (n > 1 ? "," : "");
      for (uint64_t at = first; at <= last && at < kSize; ++at) asked[at] = true;
    }
    const RangeAnswer answer = resolve_range(field, kSize);
    if (answer.kind == RangeKind::unsatisfiable) continue;
    INFO(field);
    std::vector<BytePart> parts = answer.parts;
    if (answer.kind == RangeKind::part) parts.push_back({answer.offset, answer.length});
    std::vector<bool> given(kSize);
    for (const BytePart& part : parts) {
      for (uint64_t at = part.offset; at < part.offset + part.length; ++at) {
        REQUIRE_FALSE(given.at(at));
        given[at] = true;
      }
    }
    REQUIRE(given == asked);
  }
}

}  // namespace
}  // namespace sluice
