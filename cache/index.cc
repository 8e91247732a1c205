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

void FileBlocks::move(LazyArray<Block>& blocks, BlockId from, BlockId to) {
  MutexLock lock(&mutex_);
  const BlockId previous = blocks[to].previous_in_file = blocks[from].previous_in_file;
  const BlockId next = blocks[to].next_in_file = blocks[from].next_in_file;
  (previous == kNoBlock ? head_ : blocks[previous].next_in_file) = to;
  if (next != kNoBlock) blocks[next].previous_in_file = to;
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

// Of each shard.
uint32_t buckets_for(uint32_t blocks) {
  return blocks / Index::kShards + 1;
}

}  // namespace

Index::Index(uint32_t blocks_max, uint32_t blocks)
    : blocks_(blocks_max), buckets_(size_t{kShards} * buckets_for(blocks_max)) {
  for (Shard& shard : shards_) shard.buckets = buckets_for(blocks);
}

uint64_t Index::memory_bytes(uint32_t blocks) {
  return uint64_t{blocks} * sizeof(Block) + uint64_t{kShards} * buckets_for(blocks) * sizeof(BlockId);
}

void Index::resize(uint32_t blocks) {
  for (uint32_t number = 0; number < kShards; number++) resize_shard(number, buckets_for(blocks));
  buckets_.forget_from(size_t{kShards} * buckets_for(blocks));
  blocks_.forget_from(blocks);
}

void Index::resize_shard(uint32_t number, uint32_t buckets) {
  Shard& shard = shards_[number];
  ShardChange change(&shard);
  std::vector<BlockId> linked;
  for (uint32_t i = 0; i < shard.buckets; i++) {
    Watched<BlockId>& head = buckets_[size_t{i} * kShards + number];
    for (BlockId id = head - 1; id != kNoBlock; id = blocks_[id].next_in_bucket) linked.push_back(id);
    head = 0;
  }
  shard.buckets = buckets;
  for (const BlockId id : linked) push(id, place(*blocks_[id].file, blocks_[id].generation, blocks_[id].number()));
}

uint64_t Index::hash(BlockId id) const {
  const Block& entry = blocks_[id];
  ASSERT(entry.linked());
  return place(*entry.file, entry.generation, entry.number()).hash;
}

void Index::link(BlockId id, FileBlocks& file, uint32_t generation, uint64_t block) {
  Block& entry = blocks_[id];
  ASSERT(!entry.linked());
  const Place own = place(file, generation, block);
  entry.file = &file;
  entry.set_number(block);
  entry.generation = generation;
  std::fill(std::begin(entry.frames), std::end(entry.frames), kNoFrame);
  push(id, own);
  file.link(blocks_, id);
}

void Index::push(BlockId id, Place place) {
  Watched<BlockId>& head = buckets_[bucket(place)];
  blocks_[id].next_in_bucket = head - 1;
  head = id + 1;
}

void Index::unlink(BlockId id) {
  Block& entry = blocks_[id];
  ASSERT(entry.linked());
  FileBlocks& file = *entry.file;
  file.unlink(blocks_, id);
  set_successor(id, entry.next_in_bucket);
  entry.file = nullptr;
}

void Index::move(BlockId from, BlockId to) {
  Block& source = blocks_[from];
  Block& target = blocks_[to];
  ASSERT(source.linked() && !target.linked());
  target.file = source.file;
  target.word = source.word;
  target.generation = source.generation;
  target.next_in_bucket = source.next_in_bucket;
  for (uint32_t page = 0; page < kPagesPerBlock; page++) target.frames[page] = source.frames[page];
  FileBlocks& file = *source.file;
  file.move(blocks_, from, to);
  set_successor(from, to);
  source.file = nullptr;
}

// What leads to `id` in its bucket leads to `next` from now on.
void Index::set_successor(BlockId id, BlockId next) {
  const Block& entry = blocks_[id];
  Watched<BlockId>& head = buckets_[bucket(place(*entry.file, entry.generation, entry.number()))];
  if (head == id + 1) {
    head = next + 1;
    return;
  }
  BlockId before = head - 1;
  while (blocks_[before].next_in_bucket != id) before = blocks_[before].next_in_bucket;
  blocks_[before].next_in_bucket = next;
}

}  // namespace sluice
