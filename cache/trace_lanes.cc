#include "cache/trace_lanes.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

// Threads have their lanes in turn, in the order in which they record for the first time.
uint32_t lane_of_this_thread() {
  static std::atomic<uint32_t> threads{0};
  thread_local const uint32_t lane = threads.fetch_add(1, std::memory_order_relaxed) % TraceLanes::kLanes;
  return lane;
}

}  // namespace

TraceLanes::TraceLanes(const TraceLanesOptions& options)
    : start_(options.clock->monotonic()),
      options_(options),
      permits_at_once_(std::clamp<uint32_t>(options.records_per_second_max / (16 * kLanes), 1, 256)) {
  for (Lane& lane : lanes_) {
    MutexLock lock(&lane.mutex);
    lane.records.reserve(options.lane_records_max);
  }
  spare_.reserve(options.lane_records_max);
}

bool TraceLanes::record(TraceRecord record) {
  record.time_ns = static_cast<uint64_t>((options_.clock->monotonic() - start_).count());
  Lane& lane = lanes_[lane_of_this_thread()];
  MutexLock lock(&lane.mutex);
  if (!take_permit(lane, record.time_ns)) {
    lane.dropped.rate++;
    return false;
  }
  if (lane.records.size() == options_.lane_records_max) {
    lane.dropped.memory++;
    return false;
  }
  lane.records.push_back(record);
  return lane.records.size() == options_.lane_records_max / 2;
}

bool TraceLanes::take_permit(Lane& lane, uint64_t time_ns) {
  const uint64_t rate = options_.records_per_second_max;
  if (rate == 0) return true;
  uint64_t second = time_ns / kNanosecondsPerSecond;
  if (lane.permits > 0 && lane.permit_second >= second) {
    lane.permits--;
    return true;
  }
  uint64_t word = permits_given_.load(std::memory_order_relaxed);
  for (;;) {
    second = std::max(second, word >> 32);  // of a thread that was held up since it looked at the clock
    const uint64_t given = word >> 32 == second ? word & UINT32_MAX : 0;
    if (given >= rate) return false;
    const uint64_t taken = std::min<uint64_t>(permits_at_once_, rate - given);
    if (!permits_given_.compare_exchange_weak(word, second << 32 | (given + taken), std::memory_order_relaxed))
      continue;
    lane.permit_second = second;
    lane.permits = static_cast<uint32_t>(taken - 1);
    return true;
  }
}

void TraceLanes::collect(std::vector<TraceRecord>& into) {
  const auto first = static_cast<std::ptrdiff_t>(into.size());
  for (Lane& lane : lanes_) {
    {
      MutexLock lock(&lane.mutex);
      lane.records.swap(spare_);
    }
    into.insert(into.end(), spare_.begin(), spare_.end());
    spare_.clear();
  }
  std::stable_sort(into.begin() + first, into.end(),
                   [](const TraceRecord& a, const TraceRecord& b) { return a.time_ns < b.time_ns; });
}

TraceDrops TraceLanes::dropped() const {
  TraceDrops sum;
  for (Lane& lane : lanes_) {
    MutexLock lock(&lane.mutex);
    sum.rate += lane.dropped.rate;
    sum.memory += lane.dropped.memory;
  }
  return sum;
}

}  // namespace sluice
