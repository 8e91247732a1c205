#include "cache/index.h"

#include <xxhash.h>

#include <algorithm>

#include "cache/assert.h"

namespace sluice {

FileBlocks::FileBlocks(uint64_t number, Callback<void(FileBlocks&)> drop_all)
    : number_(number), hash_(XXH3_64bits(&number, sizeof number)), drop_all_(std::move(drop_all)) {}

void FileBlocks::link(LazyArray<Block>& blocks, BlockId id) {
  MutexLock lock(&mutex_);
  blocks[id].previous_in_file = kNoBlock;
  blocks[id].next_in_file = head_;
  if (head_ != kNoBlock) blocks[head_].previous_in_file = id;
  head_ = id;
  count_.fetch_add(1, std::memory_order_relaxed);
}

void FileBlocks::unlink(LazyArray<Block>& blocks, BlockId id) {
  MutexLock lock(&mutex_);
  const BlockId previous = blocks[id].previous_in_file;
  const BlockId next = blocks[id].next_in_file;
  if (previous != kNoBlock) blocks[previous].next_in_file = next;
  if (previous == kNoBlock) head_ = next;
  if (next != kNoBlock) blocks[next].previous_in_file = previous;
  count_.fetch_sub(1, std::memory_order_relaxed);
}

std::vector<BlockId> FileBlocks::ids(const LazyArray<Block>& blocks) const {
  std::vector<BlockId> ids;
  MutexLock lock(&mutex_);
  for (BlockId id = head_; id != kNoBlock; id = blocks[id].next_in_file) ids.push_back(id);
  return ids;
}

uint32_t Block::pages() const {
  return static_cast<uint32_t>(
      std::count_if(std::begin(frames), std::end(frames), [](FrameNumber f) { return f != kNoFrame; }));
}

namespace {

uint32_t buckets_for(uint32_t blocks_max) {
  return blocks_max / Index::kShards + 1;
}

}  // namespace

Index::Index(uint32_t blocks_max)
    : buckets_per_shard_(buckets_for(blocks_max)),
      blocks_(blocks_max),
      buckets_(size_t{kShards} * buckets_per_shard_) {}

uint64_t Index::memory_bytes(uint32_t blocks_max) {
  return uint64_t{blocks_max} * sizeof(Block) + uint64_t{kShards} * buckets_for(blocks_max) * sizeof(BlockId);
}

uint64_t Index::hash(BlockId id) const {
  const Block& entry = blocks_[id];
  ASSERT(entry.linked);
  return place(*entry.file, entry.generation, entry.number).hash;
}

void Index::link(BlockId id, FileBlocks& file, uint32_t generation, uint64_t block) {
  Block& entry = blocks_[id];
  ASSERT(!entry.linked);
  const Place own = place(file, generation, block);
  Watched<BlockId>& head = buckets_[bucket(own)];
  entry.file = &file;
  entry.number = block;
  entry.generation = generation;
  entry.next_in_bucket = head - 1;
  entry.readahead = 0;
  entry.pinned = false;
  entry.shard = static_cast<uint8_t>(own.shard);
  entry.linked = true;
  std::fill(std::begin(entry.frames), std::end(entry.frames), kNoFrame);
  head = id + 1;
  file.link(blocks_, id);
}

void Index::unlink(BlockId id) {
  Block& entry = blocks_[id];
  ASSERT(entry.linked);
  FileBlocks& file = *entry.file;
  file.unlink(blocks_, id);
  Watched<BlockId>& head = buckets_[bucket(place(file, entry.generation, entry.number))];
  if (head == id + 1) {
    head = entry.next_in_bucket + 1;
  } else {
    BlockId before = head - 1;
    while (blocks_[before].next_in_bucket != id) before = blocks_[before].next_in_bucket;
    blocks_[before].next_in_bucket = BlockId{entry.next_in_bucket};
  }
  entry.linked = false;
}

}  // namespace sluice
