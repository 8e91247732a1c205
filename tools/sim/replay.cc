#include "tools/sim/replay.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <span>
#include <vector>

#include "cache/assert.h"
#include "cache/block_cache.h"

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
  bool request(BlockId block, uint64_t size) {
    if (charges_[block] != 0) {
      policy_->touch(block);
      return true;
    }
    if (size > capacity_) return false;
    const auto charge = static_cast<uint32_t>(size);
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

// The same for a trace with pages: a block has those that were asked for, and charges one each, or one for all when
// the cache is measured in blocks. Decides as BlockCache does.
class PagedCache final : private BlockOwner {
 public:
  PagedCache(const ReplayOptions& options, uint32_t blocks_max, const Clock& clock)
      : in_blocks_(options.unit == CacheUnit::blocks),
        capacity_(in_blocks_ ? options.capacity : options.capacity / kPageSize),
        evicted_at_once_(in_blocks_ ? 1 : evicted_at_once(capacity_)),
        blocks_(blocks_max),
        policy_(
            options.policy->make({.capacity = capacity_, .blocks_max = blocks_max, .owner = this, .clock = &clock})) {}

  // How many of the pages of one request were there. Memory is made for all that are missing before the first of them
  // enters: else a policy that gives new blocks little would have those read ahead push out each other.
  uint32_t request(std::span<const BlockId> ids, std::span<const PagesAsked> asked) {
    uint32_t hits = 0;
    uint64_t needed = 0;
    for (size_t i = 0; i < ids.size(); i++) {
      hits += find(ids[i], asked[i]);
      needed += missing_of(ids[i], asked[i]);
    }
    make_room(std::min(needed, capacity_));
    for (size_t i = 0; i < ids.size(); i++) add(ids[i], asked[i]);
    return hits;
  }

 private:
  struct Block {
    uint16_t pages = 0;  // none: not in the cache
    uint16_t ahead = 0;  // of these, read ahead and not asked for yet
  };

  uint64_t hash_of(BlockId id) const override { return id; }
  bool was_used(BlockId id) const override { return blocks_[id].ahead != blocks_[id].pages; }

  uint32_t charge_of(const Block& block) const {
    return in_blocks_ ? block.pages != 0 : static_cast<uint32_t>(std::popcount(block.pages));
  }

  uint32_t find(BlockId id, PagesAsked asked) {
    Block& block = blocks_[id];
    const uint32_t found = asked.mask & block.pages;
    const bool is_hit = asked.op == TraceOp::read && found != 0 && (found & block.ahead) == 0;
    if (is_hit && !policy_->is_recent(id)) policy_->touch(id);
    if (asked.op != TraceOp::readahead) block.ahead = static_cast<uint16_t>(block.ahead & ~asked.mask);
    return static_cast<uint32_t>(std::popcount(found));
  }

  uint64_t missing_of(BlockId id, PagesAsked asked) const {
    const uint32_t missing = asked.mask & ~blocks_[id].pages;
    if (in_blocks_) return blocks_[id].pages == 0;
    return static_cast<uint64_t>(std::popcount(missing));
  }

  void add(BlockId id, PagesAsked asked) {
    Block& block = blocks_[id];
    const uint32_t missing = asked.mask & ~block.pages;
    const uint64_t needed = missing_of(id, asked);
    if (missing == 0 || needed > capacity_) return;
    make_room(needed);  // the block itself may go
    const uint32_t before = charge_of(block);
    block.pages = static_cast<uint16_t>(block.pages | missing);
    if (asked.op == TraceOp::readahead) block.ahead = static_cast<uint16_t>(block.ahead | missing);
    const uint32_t charge = charge_of(block);
    held_ += charge - before;
    if (before == 0) {
      policy_->insert(id, charge);
    } else {
      policy_->charge(id, charge);
    }
  }

  void make_room(uint64_t needed) {
    const uint64_t room = capacity_ - held_;
    if (room >= needed) return;
    const uint64_t enough = held_ - std::min(held_, std::max(needed - room, evicted_at_once_));
    while (held_ > enough) {
      Block& victim = blocks_[policy_->evict()];
      held_ -= charge_of(victim);
      victim = {};
    }
  }

  const bool in_blocks_;
  const uint64_t capacity_;
  const uint64_t evicted_at_once_;
  uint64_t held_ = 0;
  std::vector<Block> blocks_;
  const std::unique_ptr<Policy> policy_;
};

// A policy takes charges up to kChargeMax. Where a larger object may enter the cache, all charges are in units of 2, 4,
// ... bytes.
uint64_t in_units(uint64_t size, uint32_t shift) {
  const uint64_t round_up = (uint64_t{1} << shift) - 1;
  return (size + round_up) >> shift;
}
uint32_t shift_of(const Trace& trace, uint64_t capacity) {
  uint32_t largest = 0;
  for (const uint32_t size : trace.sizes) {
    if (size <= capacity) largest = std::max(largest, size);
  }
  uint32_t shift = 0;
  while (in_units(largest, shift) > kChargeMax) shift++;
  return shift;
}

void replay_blocks(const Trace& trace, ReplayedCache& cache, ReplayClock& clock, ReplayCounts& counts) {
  for (size_t i = 0; i < trace.blocks.size(); i++) {
    clock.set(trace.times_ms.empty() ? i : trace.times_ms[i]);
    counts.hits += cache.request(trace.blocks[i], 1);
  }
  counts.requests = trace.blocks.size();
}

void replay_bytes(const Trace& trace, const ReplayOptions& options, ReplayClock& clock, ReplayCounts& counts) {
  const uint32_t shift = shift_of(trace, options.capacity);
  ReplayOptions in_larger_units = options;
  in_larger_units.capacity = in_units(options.capacity, shift);
  ReplayedCache cache(in_larger_units, trace.blocks_max, clock);
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

void replay_pages(const Trace& trace, PagedCache& cache, ReplayClock& clock, ReplayCounts& counts) {
  for (size_t first = 0, end = 0; first < trace.blocks.size(); first = end) {
    uint64_t pages = 0;
    do {
      pages += static_cast<uint64_t>(std::popcount(trace.pages[end].mask));
    } while (trace.pages[end++].goes_on);
    clock.set(trace.times_ms[first]);
    const uint32_t hits = cache.request(std::span(trace.blocks).subspan(first, end - first),
                                        std::span(trace.pages).subspan(first, end - first));
    if (trace.pages[first].op != TraceOp::read) continue;
    counts.requests += pages;
    counts.hits += hits;
  }
  counts.requested_bytes = counts.requests * kPageSize;
  counts.missed_bytes = (counts.requests - counts.hits) * kPageSize;
}

}  // namespace

ReplayCounts replay(const Trace& trace, const ReplayOptions& options) {
  ASSERT(options.capacity > 0);
  const auto start = system_clock().monotonic();
  ReplayClock clock;
  ReplayCounts counts;
  if (!trace.pages.empty()) {
    PagedCache cache(options, trace.blocks_max, clock);
    replay_pages(trace, cache, clock, counts);
  } else if (options.unit == CacheUnit::blocks) {
    ReplayedCache cache(options, trace.blocks_max, clock);
    replay_blocks(trace, cache, clock, counts);
  } else {
    ASSERT(trace.sizes.size() == trace.blocks.size());
    replay_bytes(trace, options, clock, counts);
  }
  counts.seconds = std::chrono::duration<double>(system_clock().monotonic() - start).count();
  return counts;
}

}  // namespace sluice
