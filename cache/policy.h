// A replacement policy decides which block goes when memory is needed. The same classes serve files and the simulator:
// they know ids and hashes, no memory and no files. One algorithm per file, its essay at the head of the .cc.
//
// Blocks charge pages (1 to 16), so that many small blocks and few large ones share the budget fairly. A caller serialises all
// calls but `is_recent`.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "cache/block.h"
#include "cache/clock.h"

namespace sluice {

struct PolicyOptions {
  uint64_t pages_max = 0;    // what the cache can hold
  uint32_t blocks_max = 0;   // ids are below this
  const Clock* clock = &system_clock();
};

class Policy {
 public:
  virtual ~Policy() = default;
  // A block that was missing enters. `hash` identifies it across evictions (ghost lists).
  virtual void insert(BlockId block, uint64_t hash, uint32_t pages) = 0;
  // A hit. Ignores ids that are not in the policy: a hit is reported after the fact, the block may be gone.
  virtual void touch(BlockId block) = 0;
  // The block's charge changed (pages were added or dropped). Ignores unknown ids.
  virtual void charge(BlockId block, uint32_t pages) = 0;
  // The block was dropped (truncate, delete), not evicted. Ignores unknown ids.
  virtual void remove(BlockId block) = 0;
  // Chooses a victim and forgets it; kNoBlock when empty.
  virtual BlockId evict() = 0;
  // True when touching this block now would change nothing worth a lock. Any thread, no lock; may be out of date.
  virtual bool is_recent(BlockId block) const = 0;
  virtual std::string_view name() const = 0;
};

std::unique_ptr<Policy> make_lru_policy(const PolicyOptions& options);
std::unique_ptr<Policy> make_midpoint_policy(const PolicyOptions& options);
// By the name that `--cache-policy` takes: "lru" or "midpoint". nullptr: no such policy.
std::unique_ptr<Policy> make_policy(std::string_view name, const PolicyOptions& options);

}  // namespace sluice
