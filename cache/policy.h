// A replacement policy decides which block goes when memory is needed. The same classes serve files and the simulator:
// they know ids and hashes, no memory and no files. One algorithm per file, its essay at the head of the .cc.
//
// Blocks charge what they take, so that many small blocks and few large ones share the budget fairly. The unit is the
// caller's: pages (1 to 16 a block) where files are served, blocks or bytes in the simulator. A policy only adds
// charges up and compares them. A caller serialises all calls but `is_recent`.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "cache/block.h"
#include "cache/clock.h"

namespace sluice {

inline constexpr uint32_t kChargeMax = (1u << 28) - 1;  // of one block; sums have 64 bits

// What a policy that remembers what it evicted (ghosts) asks about a block that it holds or is given.
class BlockOwner {
 public:
  virtual ~BlockOwner() = default;
  // Identifies the block across evictions. Asked in insert and evict.
  virtual uint64_t hash_of(BlockId block) const = 0;
  // False for what was read ahead and not asked for yet: that it had to go says nothing about its worth, and it leaves
  // no ghost. Asked in evict.
  virtual bool was_used(BlockId block) const = 0;
  // Of a file that streams go through. Asked in insert, by policy_large_files.
  virtual bool is_large(BlockId) const { return false; }
};
// For callers that never give an id to another block: an id is its own hash. Lives as long as the process.
const BlockOwner& plain_owner();

struct PolicyOptions {
  uint64_t capacity = 0;    // what the cache can hold, in the unit of charges; a hint for the size of tables
  uint32_t blocks_max = 0;  // ids are below this, whatever `resize` says later
  const BlockOwner* owner = &plain_owner();
  const Clock* clock = &system_clock();
};

class Policy {
 public:
  virtual ~Policy() = default;
  // A block that was missing enters, charging 1 to kChargeMax.
  virtual void insert(BlockId block, uint32_t charge) = 0;
  // A hit. Ignores ids that are not in the policy: a hit is reported after the fact, the block may be gone.
  virtual void touch(BlockId block) = 0;
  // The block's charge changed (pages were added or dropped). Ignores unknown ids.
  virtual void charge(BlockId block, uint32_t charge) = 0;
  // The block was dropped (truncate, delete), not evicted: it leaves no ghost. Ignores unknown ids.
  virtual void remove(BlockId block) = 0;
  // Chooses a victim and forgets it; kNoBlock when empty.
  virtual BlockId evict() = 0;
  // The block is to stay like those of other files, although it is of a large one. Ignores unknown ids.
  virtual void keep(BlockId) {}
  // The block has another id from now on, one that is in no use. Ignores unknown ids.
  virtual void move(BlockId from, BlockId to) = 0;
  // The cache holds `capacity` from now on, and no block has an id of `blocks_max` or more. Ghosts may be forgotten.
  virtual void resize(uint64_t capacity, uint32_t blocks_max) = 0;
  // Some of what it was given may not stay, however much memory there is: evict until this is false.
  virtual bool overfull() const { return false; }
  // True when touching this block now would change nothing worth a lock. Any thread, no lock; may be out of date.
  virtual bool is_recent(BlockId block) const = 0;
  virtual std::string_view name() const = 0;
};

struct PolicyKind {
  std::string_view name;     // what `--cache-policy` takes
  uint32_t bytes_per_block;  // memory it may come to need for each of the cache's blocks
  uint32_t ghost_bytes;      // ... and for the ghosts that it remembers beside each of them
  uint32_t bytes;            // ... and in all
  std::unique_ptr<Policy> (*make)(const PolicyOptions& options);
};
extern const PolicyKind kLruPolicy;
extern const PolicyKind kMidpointPolicy;
extern const PolicyKind kS3FifoPolicy;
extern const PolicyKind kArcPolicy;

std::span<const PolicyKind* const> policy_kinds();
const PolicyKind* find_policy(std::string_view name);                                      // nullptr: no such policy
std::unique_ptr<Policy> make_policy(std::string_view name, const PolicyOptions& options);  // the same

}  // namespace sluice
