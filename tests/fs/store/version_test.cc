#include "fs/store/version.h"

#include "tests/support/catch.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr StampClock kMultigrain{};
constexpr StampClock kTimer{.tick = 10ms};
constexpr StampClock kForeign{.tick = 20ms, .is_foreign = true};
constexpr int64_t kSomeTime_ns = 1'700'000'000'000'000'000;

int64_t nanoseconds(std::chrono::nanoseconds time) {
  return time.count();
}

TEST_CASE("version: a time shows in which units its clock counts", "[store][version]") {
  CHECK(grain_of(kMultigrain, kSomeTime_ns + 123'456'789) == 0ns);
  CHECK(grain_of(kTimer, kSomeTime_ns + 123'456'789) == 10ms);
  CHECK(grain_of(kForeign, kSomeTime_ns + 123'456'700) == 20ms);
  CHECK(grain_of(kForeign, kSomeTime_ns + 100'000'000) == 100ms);
  SECTION("whole seconds may be units of two, as FAT has them, on any file system: ext3's times are no finer") {
    CHECK(grain_of(kMultigrain, kSomeTime_ns) == 2s);
    CHECK(grain_of(kForeign, kSomeTime_ns) == 2s);
    CHECK(grain_of(kTimer, 0) == 2s);
  }
  SECTION("before 1970") {
    CHECK(grain_of(kTimer, -nanoseconds(1ms)) == 10ms);
    CHECK(grain_of(kTimer, -nanoseconds(1s)) == 2s);
  }
}

TEST_CASE("version: times that no nanoseconds can count are as the nearest", "[store][version]") {
  struct ::statx attributes {};
  attributes.stx_mtime.tv_sec = 15'032'385'535;  // 2446, the last of ext4
  attributes.stx_ctime.tv_sec = -15'032'385'535;
  const Stamp stamp = stamp_of(attributes);
  CHECK(stamp.mtime_ns == INT64_MAX);
  CHECK(stamp.ctime_ns == INT64_MIN);
}

TEST_CASE("version: a stamp is trusted when no later change can bear it", "[store][version]") {
  const int64_t fine = kSomeTime_ns + 123'456'789;
  const Stamp stamp{.mtime_ns = fine, .ctime_ns = fine};
  const auto trusted = [&](const StampClock& clock, std::chrono::nanoseconds age,
                           std::chrono::nanoseconds since_first = 0ns) {
    return is_trustworthy(stamp, {.since_first = since_first, .realtime = age + 1ns * fine}, clock);
  };
  CHECK(trusted(kMultigrain, 0ns));
  CHECK_FALSE(trusted(kTimer, 10ms));
  CHECK(trusted(kTimer, 11ms));
  SECTION("a server's clock may be 2 s behind ours, or ahead by any time") {
    CHECK_FALSE(trusted(kForeign, 2s));
    CHECK(trusted(kForeign, 2s + 1ms));
    CHECK_FALSE(trusted(kForeign, -1h, 20ms));
    CHECK(trusted(kForeign, -1h, 21ms));
    CHECK(trusted(kForeign, 0ns, 21ms));
  }
  SECTION("an mtime that somebody set to the future is no change") {
    const Stamp set{.mtime_ns = fine + nanoseconds(1h), .ctime_ns = fine};
    CHECK(is_trustworthy(set, {.since_first = 0ns, .realtime = 1ns * fine + 11ms}, kTimer));
    CHECK_FALSE(is_trustworthy(set, {.since_first = 0ns, .realtime = 1ns * fine + 3s}, kForeign));
  }
  SECTION("in whole seconds a stamp is not trusted for two of them") {
    const Stamp whole{.mtime_ns = kSomeTime_ns, .ctime_ns = kSomeTime_ns};
    CHECK_FALSE(is_trustworthy(whole, {.since_first = 2s, .realtime = 1ns * kSomeTime_ns + 2s}, kForeign));
    CHECK(is_trustworthy(whole, {.since_first = 2s + 1ns, .realtime = 1ns * kSomeTime_ns}, kForeign));
    CHECK_FALSE(is_trustworthy(whole, {.since_first = 0ns, .realtime = 1ns * kSomeTime_ns + 2s}, kMultigrain));
    CHECK(is_trustworthy(whole, {.since_first = 0ns, .realtime = 1ns * kSomeTime_ns + 3s}, kMultigrain));
  }
}

}  // namespace
}  // namespace sluice
