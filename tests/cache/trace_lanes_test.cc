#include "cache/trace_lanes.h"

#include <thread>

#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

uint64_t collected(TraceLanes& lanes) {
  std::vector<TraceRecord> records;
  lanes.collect(records);
  return records.size();
}
void record(TraceLanes& lanes, int times) {
  for (int i = 0; i < times; i++) lanes.record({.file = 1});
}

TEST_CASE("trace lanes: records have the time at which they came, and come out in its order", "[cache][trace]") {
  ManualClock clock;
  TraceLanes lanes({.clock = &clock});
  clock.advance(5us);
  lanes.record({.file = 1});
  clock.advance(1us);
  std::thread([&] { lanes.record({.file = 2}); }).join();
  clock.advance(1us);
  lanes.record({.file = 3});
  std::vector<TraceRecord> records;
  lanes.collect(records);
  REQUIRE(records.size() == 3);
  for (size_t i = 0; i < 3; i++) {
    CHECK(records[i].file == i + 1);
    CHECK(records[i].time_ns == (5 + i) * 1000);
  }
  CHECK(collected(lanes) == 0);
}

TEST_CASE("trace lanes: each second of the clock has its number of records, the rest is counted", "[cache][trace]") {
  for (const uint32_t rate : {1u, 100u, 5000u}) {
    ManualClock clock;
    TraceLanes lanes({.records_per_second_max = rate, .clock = &clock});
    const int tried = static_cast<int>(rate) + 10;
    record(lanes, tried);
    CHECK(collected(lanes) == rate);
    CHECK(lanes.dropped() == TraceDrops{.rate = 10});
    clock.advance(999ms);
    record(lanes, 1);
    CHECK(collected(lanes) == 0);
    clock.advance(1ms);
    record(lanes, tried);
    CHECK(collected(lanes) == rate);
    CHECK(lanes.dropped() == TraceDrops{.rate = 21});
  }
}

TEST_CASE("trace lanes: threads share the rate, and lose little of it to each other", "[cache][trace]") {
  constexpr uint32_t kRate = 10'000;
  ManualClock clock;
  TraceLanes lanes({.records_per_second_max = kRate, .lane_records_max = kRate, .clock = &clock});
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++) threads.emplace_back([&] { record(lanes, kRate); });
  for (std::thread& thread : threads) thread.join();
  const uint64_t kept = collected(lanes);
  CHECK(kept <= kRate);
  CHECK(kept >= kRate - kRate / 16);
  CHECK(lanes.dropped().rate == 8 * kRate - kept);
}

TEST_CASE("trace lanes: what finds its lane full is dropped and counted", "[cache][trace]") {
  TraceLanes lanes({.lane_records_max = 64});
  int wake_ups = 0;
  for (int i = 0; i < 100; i++) wake_ups += lanes.record({.file = 1});
  CHECK(wake_ups == 1);
  CHECK(lanes.dropped() == TraceDrops{.memory = 36});
  CHECK(collected(lanes) == 64);
  record(lanes, 64);
  CHECK(lanes.dropped() == TraceDrops{.memory = 36});
  CHECK(collected(lanes) == 64);
}

}  // namespace
}  // namespace sluice
