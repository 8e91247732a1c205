// Index finds blocks by (file, generation, block number). It is split into shards by the 1 MiB of the file that a block
// lies in, so that a request of up to 1 MiB takes one lock or two. A block holds a frame number per page: pages
// come and go one by one, and adjacent frames still leave the disk or the socket as one run.
//
// Memory: one Block (96 bytes) and 4 bytes of hash table per block, in lazily touched arrays as long as the largest
// cache needs. The hash table is as large as the cache is now: `resize` makes it anew, shard by shard.
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
  FileBlocks(uint64_t number, Callback<void(FileBlocks&)> drop_all);
  ~FileBlocks() override { drop_all_(*this); }

  uint64_t number() const override { return number_; }
  uint64_t hash() const { return hash_; }
  uint64_t blocks() const override { return count_.load(std::memory_order_relaxed); }

  // By how many. While there are any its blocks do not pass by the policy, however large it is.
  std::atomic<uint32_t> wanted{0};

  // Frames that a pin promised it, the first of the file; 0: not pinned. Under the cache's replacement mutex.
  uint64_t pinned_frames = 0;

  // In bytes, as a reader or a writer of it said last.
  uint64_t size() const { return size_.load(std::memory_order_relaxed); }
  void note_size(uint64_t bytes) {
    if (size() != bytes) size_.store(bytes, std::memory_order_relaxed);
  }

  void link(LazyArray<Block>& blocks, BlockId id);
  void unlink(LazyArray<Block>& blocks, BlockId id);
  void move(LazyArray<Block>& blocks, BlockId from, BlockId to);
  std::vector<BlockId> ids(const LazyArray<Block>& blocks) const;

 private:
  const uint64_t number_;
  const uint64_t hash_;  // of the number
  Callback<void(FileBlocks&)> drop_all_;
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> size_{0};
  mutable Mutex mutex_;  // leaf
  BlockId head_ GUARDED_BY(mutex_) = kNoBlock;
};

// A value that readers without the lock may look at while it changes; what they saw counts only when the shard's
// version tells that nothing did. Who reads a new value also sees the version that it came with.
template <typename T>
class Watched {
 public:
  operator T() const { return value_.load(std::memory_order_acquire); }  // NOLINT(google-explicit-constructor)
  void operator=(T value) { value_.store(value, std::memory_order_release); }
  void operator=(const Watched& other) { *this = T(other); }

 private:
  std::atomic<T> value_;
};

struct Block {  // changes in its shard's mutex only, by whom the cache's replacement mutex lets link and unlink
  Watched<FileBlocks*> file;  // none: it is not linked
  Watched<uint64_t> word;     // its number in the file (47 bits: a file has less than 2^63 bytes), pinned, readahead
  Watched<uint32_t> generation;
  Watched<BlockId> next_in_bucket;
  BlockId previous_in_file;  // both guarded by the file's mutex
  BlockId next_in_file;      // ... and of a block that is not linked the cache's
  Watched<FrameNumber> frames[kPagesPerBlock];

  bool linked() const { return file != nullptr; }
  uint64_t number() const { return word >> kNumberShift; }
  // The policy does not know it.
  bool pinned() const { return (word & kPinned) != 0; }
  // Bit per page: read ahead, not asked for yet.
  uint32_t readahead() const { return word & kReadahead; }

  void set_number(uint64_t number) { word = number << kNumberShift; }  // and neither of the others
  void set_pinned(bool pinned) { word = (word & ~kPinned) | (pinned ? kPinned : 0); }
  void set_readahead(uint32_t pages) { word = (word & ~kReadahead) | pages; }

  uint32_t pages() const;

 private:
  static constexpr uint32_t kNumberShift = 17;
  static constexpr uint64_t kPinned = 1 << kPagesPerBlock;
  static constexpr uint64_t kReadahead = kPinned - 1;
};
static_assert(sizeof(Block) == 96);

struct alignas(64) Shard {
  Mutex mutex;
  std::atomic<uint64_t> version{0};  // odd while its blocks change; see borrows.h
  Watched<uint32_t> buckets;         // how many of the table are its own
  std::vector<std::shared_ptr<Flight>> flights GUARDED_BY(mutex);
};

// The lock of a shard to change its blocks. To look at them, for the flights, and for a block's pinned and readahead,
// which no reader without the lock takes for more than a hint, its mutex is enough.
class SCOPED_CAPABILITY ShardChange {
 public:
  explicit ShardChange(Shard* shard) ACQUIRE(shard->mutex) : shard_(*shard) {
    shard_.mutex.lock();
    shard_.version.fetch_add(1);
  }
  ~ShardChange() RELEASE() {
    shard_.version.fetch_add(1);
    shard_.mutex.unlock();
  }
  ShardChange(const ShardChange&) = delete;
  ShardChange& operator=(const ShardChange&) = delete;

 private:
  Shard& shard_;
};

class Index {
 public:
  // For up to `blocks_max` blocks ever, with a hash table for `blocks`.
  Index(uint32_t blocks_max, uint32_t blocks);

  static constexpr uint32_t kShards = 64;
  // Bytes this index may come to use for that many blocks.
  static uint64_t memory_bytes(uint32_t blocks);
  // There will be no more than `blocks` blocks, with ids below that, and there are none with others now. Locks one
  // shard after the other, each for some microseconds per thousand blocks.
  void resize(uint32_t blocks);

  struct Place {
    uint64_t hash;  // by which policies' ghosts know the block as well
    uint32_t shard;
  };
  static Place place(const FileBlocks& file, uint32_t generation, uint64_t block);

  Shard& shard_of(const FileBlocks& file, uint32_t generation, uint64_t block) {
    return shards_[place(file, generation, block).shard];
  }
  Shard& shard_of(const Block& block) { return shard_of(*block.file, block.generation, block.number()); }  // linked
  Shard& shard(uint32_t number) { return shards_[number]; }
  LazyArray<Block>& blocks() { return blocks_; }
  Block& block(BlockId id) { return blocks_[id]; }
  // Identifies a linked block across evictions, for the policies' ghosts. Its key does not change while it is linked.
  uint64_t hash(BlockId id) const;

  // In the shard's mutex, or without: then it is true only if the shard's version was even before and is the same
  // after.
  BlockId find(Place place, const FileBlocks& file, uint32_t generation, uint64_t block) const;
  BlockId find(const FileBlocks& file, uint32_t generation, uint64_t block) const {
    return find(place(file, generation, block), file, generation, block);
  }
  // Both in a ShardChange.
  void link(BlockId id, FileBlocks& file, uint32_t generation, uint64_t block);
  void unlink(BlockId id);
  // The block has the id `to`, which is in no use, from now on.
  void move(BlockId from, BlockId to);

 private:
  // The shards' buckets take turns, so that a small table lies together.
  size_t bucket(Place place) const {
    const uint64_t number = (place.hash & UINT32_MAX) * shards_[place.shard].buckets >> 32;
    return number * kShards + place.shard;
  }
  void resize_shard(uint32_t number, uint32_t buckets);
  void push(BlockId id, Place place);
  void set_successor(BlockId id, BlockId next);

  LazyArray<Block> blocks_;
  LazyArray<Watched<BlockId>> buckets_;  // 0 is empty: ids are stored plus one
  std::vector<Shard> shards_{kShards};
};

// One hash for all 16 blocks of a group: its top bits are the shard, in which the group lies as a whole. An odd
// multiple of the block's place in the group spreads them over the buckets, which take the low half. The file's number
// is hashed once and for all; what is left is one multiplication to 128 bits, folded, as xxHash does it for its short
// inputs.
inline Index::Place Index::place(const FileBlocks& file, uint32_t generation, uint64_t block) {
  constexpr uint64_t odd = 0x9e3779b97f4a7c15;
  const uint64_t group = block / kBlocksPerGroup ^ 0xd6e8feb86659fd93;
  const auto product = static_cast<unsigned __int128>(file.hash() + generation * odd) * group;
  const auto hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  return {hash + block % kBlocksPerGroup * odd, static_cast<uint32_t>(hash >> 58)};
}
static_assert(Index::kShards == 1 << 6);

// Without the lock the chain may change underfoot and lead to other buckets, but it ends: no chain is ever a ring.
inline BlockId Index::find(Place place, const FileBlocks& file, uint32_t generation, uint64_t block) const {
  BlockId id = buckets_[bucket(place)] - 1;
  while (id != kNoBlock) {
    const Block& candidate = blocks_[id];
    if (candidate.number() == block && candidate.file == &file && candidate.generation == generation) return id;
    id = candidate.next_in_bucket;
  }
  return kNoBlock;
}

}  // namespace sluice
