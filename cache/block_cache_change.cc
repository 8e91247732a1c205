// What enters the index and leaves it, other than by eviction.
#include <bit>
#include <span>

#include "cache/block_cache_impl.h"

namespace sluice {

// Puts the pages of one part (inside one group) into the index, of memory whose first is `first_page`: those of a
// landed flight where nothing is yet, those of a writer (no flight) in place of what was there. True when the policy
// will not keep all that it has now.
bool BlockCacheImpl::put_part(FileBlocks& file, uint32_t generation, PageRange part, const PageRefs& pages,
                              uint64_t first_page, const Flight* flight) {
  MutexLock replacement(&replacement_mutex_);
  reserve_ids(part.count / kPagesPerBlock + 2);
  Shard& shard = index_.shard_of(file, generation, part.first / kPagesPerBlock);
  ShardChange change(&shard);
  if (flight != nullptr && !flight->registered) return false;
  if (flight == nullptr) detach_flights_of(shard, file, part);
  if (file.pinned_frames > 0) grow_promise(file, part.end());
  for (uint64_t page = part.first; page < part.end();) {
    const uint64_t number = page / kPagesPerBlock;
    BlockId id = index_.find(file, generation, number);
    const bool is_new = id == kNoBlock;
    const bool is_promised = file.pinned_frames >= std::min(part.end(), (number + 1) * kPagesPerBlock);
    if (is_new) {
      id = take_id();
      index_.link(id, file, generation, number);
      index_.block(id).set_pinned(is_promised);
      add(blocks_, 1);
    }
    Block& block = index_.block(id);
    if (flight == nullptr) drop_frames(block, part);
    for (; page < part.end() && page / kPagesPerBlock == number; page++) {
      const uint32_t in_block = page % kPagesPerBlock;
      if (block.frames[in_block] != kNoFrame) continue;
      const FrameNumber frame = pages.frame(page - first_page);
      arena_->reference({frame, 1});
      block.frames[in_block] = frame;
      add(resident_pages_, 1);
      if (block.pinned()) add(pinned_pages_, 1);
      const bool ahead = flight != nullptr && flight->io_class == IoClass::readahead &&
                         !flight->asked.test(page - flight->pages.first);
      if (ahead) block.set_readahead(block.readahead() | 1u << in_block);
    }
    const bool was_pinned = block.pinned();
    if (was_pinned && is_promised) continue;
    set_pinned(block, false);
    if (is_new || was_pinned) {
      policy_->insert(id, block.pages());
    } else {
      policy_->charge(id, block.pages());
    }
  }
  return policy_->overfull();
}

void BlockCacheImpl::put_pages(FileBlocks& file, uint32_t generation, PageRange range, const PageRefs& pages,
                               uint64_t first_page, const Flight* flight) {
  bool overfull = false;
  for_each_group(range,
                 [&](PageRange part) { overfull |= put_part(file, generation, part, pages, first_page, flight); });
  if (overfull) trim();
}

void BlockCacheImpl::publish(CachedFile& file, uint32_t generation, PageRange range, const PageRefs& pages) {
  ASSERT(pages.pages() == range.count);
  auto& blocks = static_cast<FileBlocks&>(file);
  blocks.note_size(std::max(blocks.size(), range.end() * kPageSize));  // as good as a growing file's readers know
  trace(TraceOp::write, file, generation, range);
  sum(pages, 0, range.count);
  put_pages(blocks, generation, range, pages, range.first, nullptr);
}

// Whoever waits for a detached flight gets its result; nobody joins it any more, and it does not enter the index.
void BlockCacheImpl::detach_flights_of(Shard& shard, const FileBlocks& file, PageRange range) {
  std::erase_if(shard.flights, [&](const std::shared_ptr<Flight>& flight) {
    if (flight->file != &file || !flight->pages.overlaps(range)) return false;
    flight->registered = false;
    return true;
  });
}

// All shards: a file's flights may lie anywhere, and there are few.
void BlockCacheImpl::begin_change(CachedFile& cached, PageRange range) {
  for (uint32_t number = 0; number < Index::kShards; number++) {
    Shard& shard = index_.shard(number);
    MutexLock lock(&shard.mutex);
    detach_flights_of(shard, static_cast<FileBlocks&>(cached), range);
  }
}

uint64_t BlockCacheImpl::drop(CachedFile& cached, uint32_t generation, PageRange range) {
  auto& file = static_cast<FileBlocks&>(cached);
  begin_change(file, range);
  uint64_t moves, dropped = 0;
  do {
    moves = id_moves_.load();
    dropped += drop_blocks(file, generation, range);
  } while (id_moves_.load() != moves);  // a block may have been passed over that got another id meanwhile
  return dropped;
}

uint64_t BlockCacheImpl::drop_blocks(FileBlocks& file, uint32_t generation, PageRange range) {
  const uint64_t blocks = range.count / kPagesPerBlock + 2;
  uint64_t dropped = 0;
  if (blocks >= file.blocks()) {
    for (const BlockId id : file.ids(index_.blocks())) dropped += drop_pages_of(id, file, range);
    return dropped;
  }
  const uint64_t first = range.first / kPagesPerBlock;
  for (uint64_t number = first; number * kPagesPerBlock < range.end(); number++) {
    BlockId id = kNoBlock;
    {
      MutexLock lock(&index_.shard_of(file, generation, number).mutex);
      id = index_.find(file, generation, number);
    }
    if (id != kNoBlock) dropped += drop_pages_of(id, file, range);
  }
  return dropped;
}

void BlockCacheImpl::drop_all(FileBlocks& file) {
  unpin(file);
  drop(file, 0, {0, UINT64_MAX});
}

uint64_t BlockCacheImpl::drop_pages_of(BlockId id, const FileBlocks& file, PageRange range) {
  MutexLock replacement(&replacement_mutex_);
  Block& block = index_.block(id);
  if (block.file != &file) return 0;  // evicted meanwhile, the id perhaps in use again
  ShardChange change(&index_.shard_of(block));
  return shrink(id, range);
}

// The block loses its pages in the range, and goes with the last of them. In a ShardChange.
uint64_t BlockCacheImpl::shrink(BlockId id, PageRange range) {
  Block& block = index_.block(id);
  const uint64_t dropped = drop_frames(block, range);
  if (block.pages() > 0) {
    policy_->charge(id, block.pages());
    return dropped;
  }
  policy_->remove(id);
  free_block(id);
  return dropped;
}

// Empty, and the policy knows it no more. Under the mutexes of replacement and of its shard.
void BlockCacheImpl::free_block(BlockId id) {
  index_.unlink(id);
  give_back_id(id);
  blocks_.fetch_sub(1, std::memory_order_relaxed);
}

// Those of the block's pages that are in the range; returns how many. In a ShardChange.
uint64_t BlockCacheImpl::drop_frames(Block& block, PageRange range) {
  std::array<FrameNumber, kPagesPerBlock> frames;
  size_t count = 0;
  uint32_t dropped = 0;  // a bit per page
  for (uint32_t page = 0; page < kPagesPerBlock; page++) {
    if (block.frames[page] == kNoFrame || !range.overlaps({block.number() * kPagesPerBlock + page, 1})) continue;
    frames[count++] = block.frames[page];
    block.frames[page] = kNoFrame;
    dropped |= 1u << page;
  }
  arena_->settle(std::span(frames).first(count));
  for (size_t i = 0; i < count; i++) arena_->release({frames[i], 1});
  if (block.pinned()) pinned_pages_.fetch_sub(count, std::memory_order_relaxed);
  resident_pages_.fetch_sub(count, std::memory_order_relaxed);
  add(readahead_wasted_, static_cast<uint64_t>(std::popcount(block.readahead() & dropped)));
  block.set_readahead(block.readahead() & ~dropped);
  return count;
}

}  // namespace sluice
