// Index finds blocks by (file, generation, block number). It is split into shards by the 1 MiB of the file that a block
// lies in, so that a request of up to 1 MiB takes one lock or two. A block holds a frame number per page: pages
// come and go one by one, and adjacent frames still leave the disk or the socket as one run.
//
// Memory: one Block (104 bytes) and 4 bytes of hash table per block, in lazily touched arrays of a size fixed at start.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/block.h"
#include "cache/block_cache.h"
#include "cache/flight.h"
#include "cache/lazy_array.h"
#include "cache/mutex.h"

namespace sluice {

inline constexpr uint32_t kBlocksPerGroup = 16;  // a group (1 MiB of a file) lives in one shard
inline constexpr uint32_t kPagesPerGroup = kBlocksPerGroup * kPagesPerBlock;

struct Block;

// The cache's side of a file: the list of its blocks, so that they can be dropped without knowing their numbers.
class FileBlocks final : public CachedFile {
 public:
  // `drop_all` runs in the destructor: the file leaves no block behind.
  FileBlocks(uint64_t number, Callback<void(FileBlocks&)> drop_all) : number_(number), drop_all_(std::move(drop_all)) {}
  ~FileBlocks() override { drop_all_(*this); }

  uint64_t number() const override { return number_; }
  uint64_t blocks() const override { return count_.load(std::memory_order_relaxed); }

  // Its blocks do not pass by the policy however large it is.
  bool wanted() const { return wanted_.load(std::memory_order_relaxed); }
  void want() { wanted_.store(true, std::memory_order_relaxed); }

  // Frames that a pin promised it; 0: not pinned. Under the cache's replacement mutex.
  uint64_t pinned_frames = 0;

  // In bytes, as a reader or a writer of it said last.
  uint64_t size() const { return size_.load(std::memory_order_relaxed); }
  void note_size(uint64_t bytes) {
    if (size() != bytes) size_.store(bytes, std::memory_order_relaxed);
  }

  void link(LazyArray<Block>& blocks, BlockId id);
  void unlink(LazyArray<Block>& blocks, BlockId id);
  std::vector<BlockId> ids(const LazyArray<Block>& blocks) const;

 private:
  const uint64_t number_;
  Callback<void(FileBlocks&)> drop_all_;
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> size_{0};
  std::atomic<bool> wanted_{false};
  mutable Mutex mutex_;  // leaf
  BlockId head_ GUARDED_BY(mutex_) = kNoBlock;
};

struct Block {  // guarded by its shard's mutex, `shard` excepted (fixed while the id is in use)
  FileBlocks* file;
  uint64_t number;
  uint32_t generation;
  BlockId next_in_bucket;
  BlockId previous_in_file;  // both guarded by the file's mutex
  BlockId next_in_file;
  uint16_t readahead;  // bit per page: read ahead, not asked for yet
  uint8_t shard;
  bool linked;
  bool pinned;  // the policy does not know it
  FrameNumber frames[kPagesPerBlock];

  uint32_t pages() const;
};
static_assert(sizeof(Block) <= 104);

struct Shard {
  Mutex mutex;
  std::vector<std::shared_ptr<Flight>> flights GUARDED_BY(mutex);
};

class Index {
 public:
  explicit Index(uint32_t blocks_max);

  static constexpr uint32_t kShards = 64;
  // Bytes this index may come to use for that many blocks.
  static uint64_t memory_bytes(uint32_t blocks_max);

  Shard& shard_of(const FileBlocks& file, uint32_t generation, uint64_t block);
  Shard& shard(uint32_t number) { return shards_[number]; }
  LazyArray<Block>& blocks() { return blocks_; }
  Block& block(BlockId id) { return blocks_[id]; }
  // Identifies a linked block across evictions, for the policies' ghosts. Its key does not change while it is linked.
  uint64_t hash(BlockId id) const;

  // All three under the shard's mutex.
  BlockId find(const FileBlocks& file, uint32_t generation, uint64_t block) const;
  void link(BlockId id, FileBlocks& file, uint32_t generation, uint64_t block);
  void unlink(BlockId id);

 private:
  uint64_t hash(const FileBlocks& file, uint32_t generation, uint64_t block) const;
  BlockId& bucket(uint64_t hash, uint32_t shard);
  uint32_t shard_number(const FileBlocks& file, uint32_t generation, uint64_t block) const;

  const uint32_t buckets_per_shard_;
  LazyArray<Block> blocks_;
  LazyArray<BlockId> buckets_;  // 0 is empty: ids are stored plus one
  std::vector<Shard> shards_{kShards};
};

}  // namespace sluice
