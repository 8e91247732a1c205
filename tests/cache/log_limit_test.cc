#include "cache/log_limit.h"

#include "tests/support/catch.h"

namespace sluice {
namespace {

using std::chrono::seconds;

TEST_CASE("log limit: the first lines of a period pass, the rest are told later", "[cache][log]") {
  LogLimit limit({.lines_max = 3, .period = seconds(10)});
  for (int line = 0; line < 3; line++) CHECK(limit.judge(seconds(100 + line)).passes);
  for (int line = 0; line < 5; line++) CHECK_FALSE(limit.judge(seconds(103)).passes);
  CHECK_FALSE(limit.judge(seconds(109)).passes);
  const LogLimit::Verdict later = limit.judge(seconds(110));
  CHECK(later.passes);
  CHECK(later.left_out == 6);
  CHECK(limit.judge(seconds(111)).left_out == 0);
}

TEST_CASE("log limit: a line now and then always passes", "[cache][log]") {
  LogLimit limit({.lines_max = 1, .period = seconds(10)});
  for (int line = 0; line < 100; line++) CHECK(limit.judge(seconds(line * 10)).passes);
}

}  // namespace
}  // namespace sluice
