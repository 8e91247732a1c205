#include "tools/sim/replay.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "cache/assert.h"

namespace sluice {
namespace {

// The time of the request at hand, for policies that look at it: the trace's own, or a millisecond per request.
class ReplayClock final : public Clock {
 public:
  std::chrono::nanoseconds monotonic() const override { return std::chrono::milliseconds(now_ms_); }
  std::chrono::nanoseconds realtime() const override { return monotonic(); }
  void set(uint64_t now_ms) { now_ms_ = now_ms; }

 private:
  uint64_t now_ms_ = 0;
};

// A cache without bytes. Blocks keep the numbers that the trace gave them.
class ReplayedCache {
 public:
  ReplayedCache(const ReplayOptions& options, uint32_t blocks_max, const Clock& clock)
      : capacity_(options.capacity),
        charges_(blocks_max),
        policy_(options.policy->make({.capacity = capacity_, .blocks_max = blocks_max, .clock = &clock})) {}

  // True: a hit.
  bool request(BlockId block, uint32_t charge) {
    if (charges_[block] != 0) {
      policy_->touch(block);
      return true;
    }
    if (charge > capacity_) return false;
    while (held_ + charge > capacity_) {
      const BlockId victim = policy_->evict();
      held_ -= charges_[victim];
      charges_[victim] = 0;
    }
    policy_->insert(block, charge);
    charges_[block] = charge;
    held_ += charge;
    return false;
  }

 private:
  const uint64_t capacity_;
  uint64_t held_ = 0;
  std::vector<uint32_t> charges_;  // 0: not in the cache
  const std::unique_ptr<Policy> policy_;
};

// A policy takes charges up to kChargeMax. Where an object is larger, all charges are in units of 2, 4, ... bytes.
uint32_t in_units(uint32_t size, uint32_t shift) {
  const uint64_t round_up = (uint64_t{1} << shift) - 1;
  return static_cast<uint32_t>((size + round_up) >> shift);
}
uint32_t shift_of(const Trace& trace) {
  const uint32_t size_max = *std::max_element(trace.sizes.begin(), trace.sizes.end());
  uint32_t shift = 0;
  while (in_units(size_max, shift) > kChargeMax) shift++;
  return shift;
}

void replay_blocks(const Trace& trace, ReplayedCache& cache, ReplayClock& clock, ReplayCounts& counts) {
  for (size_t i = 0; i < trace.blocks.size(); i++) {
    clock.set(trace.times_ms.empty() ? i : trace.times_ms[i]);
    counts.hits += cache.request(trace.blocks[i], 1);
  }
  counts.requests = trace.blocks.size();
}

void replay_bytes(const Trace& trace, uint32_t shift, ReplayedCache& cache, ReplayClock& clock, ReplayCounts& counts) {
  for (size_t i = 0; i < trace.blocks.size(); i++) {
    const uint32_t size = trace.sizes[i];
    if (size == 0) continue;
    clock.set(trace.times_ms.empty() ? i : trace.times_ms[i]);
    const bool hit = cache.request(trace.blocks[i], in_units(size, shift));
    counts.requests++;
    counts.hits += hit;
    counts.requested_bytes += size;
    counts.missed_bytes += hit ? 0 : size;
  }
}

}  // namespace

ReplayCounts replay(const Trace& trace, const ReplayOptions& options) {
  ASSERT(options.capacity > 0);
  const auto start = system_clock().monotonic();
  ReplayClock clock;
  ReplayCounts counts;
  if (options.unit == CacheUnit::blocks) {
    ReplayedCache cache(options, trace.blocks_max, clock);
    replay_blocks(trace, cache, clock, counts);
  } else {
    ASSERT(trace.sizes.size() == trace.blocks.size());
    const uint32_t shift = shift_of(trace);
    ReplayOptions shifted = options;
    shifted.capacity >>= shift;
    ReplayedCache cache(shifted, trace.blocks_max, clock);
    replay_bytes(trace, shift, cache, clock, counts);
  }
  counts.seconds = std::chrono::duration<double>(system_clock().monotonic() - start).count();
  return counts;
}

}  // namespace sluice
