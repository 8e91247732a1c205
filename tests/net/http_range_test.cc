#include "net/http/range.h"

#include "tests/support/catch.h"

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
      {"bytes=0-0", 0, RangeKind::unsatisfiable, 0, 0},
      {"bytes=0-", 0, RangeKind::unsatisfiable, 0, 0},
      {"bytes=-5", 0, RangeKind::whole, 0, 0},
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
      // Several: allowed to be answered with everything
      {"bytes=0-1,5-6", 100, RangeKind::whole, 0, 100},
      {"bytes=0-1,-1", 100, RangeKind::whole, 0, 100},
      {"bytes=0-,0-,0-,0-", 100, RangeKind::whole, 0, 100},
  };
  for (const Row& row : rows) {
    INFO(row.field << " of " << row.size);
    const RangeAnswer answer = resolve_range(row.field, row.size);
    CHECK(answer.kind == row.kind);
    CHECK(answer.offset == row.offset);
    CHECK(answer.length == row.length);
  }
}

}  // namespace
}  // namespace sluice
