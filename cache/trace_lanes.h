// TraceLanes collects records from many threads without making them wait for each other. Each thread has a lane: a
// buffer of fixed size under a mutex of its own, which only the collector and, beyond kLanes threads, a few others
// share. What finds its lane full is dropped and counted, and so is what exceeds the rate.
//
// The rate is held in each second of the clock, for all lanes together. Lanes take permits a few at a time, so the word
// they share is written once for hundreds of records; what a lane took and did not need is lost with the second, at
// most a sixteenth of the rate.
#pragma once

#include <array>
#include <atomic>
#include <vector>

#include "cache/clock.h"
#include "cache/mutex.h"
#include "cache/trace_format.h"

namespace sluice {

struct TraceLanesOptions {
  uint32_t records_per_second_max = 0;  // 0: no limit
  uint32_t lane_records_max = 8192;     // 32 bytes each
  const Clock* clock = &system_clock();
};

// Thread-safe.
class TraceLanes {
 public:
  static constexpr uint32_t kLanes = 16;

  explicit TraceLanes(const TraceLanesOptions& options);

  // Keeps the record with the time of this call; its own time is not looked at. True when the lane has become half full
  // by that: time to collect.
  bool record(TraceRecord record);
  // Moves all that is there to the end of `into`, by time. One thread at a time.
  void collect(std::vector<TraceRecord>& into);
  TraceDrops dropped() const;

 private:
  struct alignas(64) Lane {
    Mutex mutex;  // leaf
    std::vector<TraceRecord> records GUARDED_BY(mutex);
    uint64_t permit_second GUARDED_BY(mutex) = 0;  // of which the permits are
    uint32_t permits GUARDED_BY(mutex) = 0;
    TraceDrops dropped GUARDED_BY(mutex);
  };

  bool take_permit(Lane& lane, uint64_t time_ns) REQUIRES(lane.mutex);

  // Written once for hundreds of records, so what is read with it stays in the caches.
  alignas(64) std::atomic<uint64_t> permits_given_{0};  // second << 32 | how many in it
  const std::chrono::nanoseconds start_;
  const TraceLanesOptions options_;
  std::vector<TraceRecord> spare_;  // the collector's: takes the place of a lane's
  const uint32_t permits_at_once_;
  mutable std::array<Lane, kLanes> lanes_;
};

}  // namespace sluice
