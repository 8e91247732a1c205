// Pages whose bytes changed by themselves: finding them and getting rid of them. Sums are made and compared outside
// locks, by who holds the pages.
#include <span>

#include "cache/block_cache_impl.h"
#include "cache/log.h"

namespace sluice {
namespace {

constexpr std::chrono::nanoseconds kWarningInterval = std::chrono::minutes(1);

}  // namespace

// Before the index gets them. `first` of `pages` and those after it.
void BlockCacheImpl::sum(const PageRefs& pages, uint64_t first, uint64_t count) {
  if (!sums_) return;
  for (uint64_t page = first; page < first + count; page++) sums_->set({pages.frame(page), 1});
}

// Whether the read's pages, which the caller holds, are as they were summed. Those that are not leave the index.
bool BlockCacheImpl::is_sound(const CacheRead& read, std::span<const FrameRun> runs) {
  const auto& file = static_cast<const FileBlocks&>(*read.file);
  uint64_t page = read.pages.first;
  bool sound = true;
  for (const FrameRun run : runs) {
    for (FrameNumber frame = run.first; frame < run.first + run.count; frame++, page++) {
      sound = is_sound(file, read.generation, page, frame) && sound;
    }
  }
  return sound;
}

bool BlockCacheImpl::is_sound(const FileBlocks& file, uint32_t generation, uint64_t page, FrameNumber frame) {
  if (sums_->holds(frame)) [[likely]]
    return true;
  note_bad(frame);
  MutexLock replacement(&replacement_mutex_);
  BlockId id = kNoBlock;
  {
    MutexLock lock(&index_.shard_of(file, generation, page / kPagesPerBlock).mutex);
    id = index_.find(file, generation, page / kPagesPerBlock);
  }
  if (id != kNoBlock) drop_page(id, page % kPagesPerBlock, frame);
  return false;
}

// All that it got but what came in a moment ago, and was summed then.
bool BlockCacheImpl::is_sound(const ParkedRead& parked, PageRange just_summed) {
  if (options_.checksum != ChecksumMode::always || parked.failed()) [[likely]]
    return true;
  const auto& file = static_cast<const FileBlocks&>(*parked.read.file);
  const PageRange pages = parked.read.pages;
  bool sound = true;
  for (uint64_t page = pages.first; page < pages.end(); page++) {
    if (just_summed.overlaps({page, 1})) continue;
    sound = is_sound(file, parked.read.generation, page, parked.frame(page)) && sound;
  }
  add(pages_verified_, pages.count - just_summed.count);
  return sound;
}

// Counts it once, says so once a minute at most.
void BlockCacheImpl::note_bad(FrameNumber frame) {
  if (!sums_->mark_bad(frame)) return;
  add(pages_bad_, 1);
  const int64_t now = options_.clock->monotonic().count();
  int64_t due = next_warning_.load(std::memory_order_relaxed);
  if (now < due || !next_warning_.compare_exchange_strong(due, now + kWarningInterval.count())) return;
  log(LogLevel::error,
      "memory of the cache changed by itself: a page was dropped and is read again ({} since the start); check the "
      "machine's memory",
      pages_bad_.load(std::memory_order_relaxed));
}

// If the block still has it in that very frame, which the caller holds.
void BlockCacheImpl::drop_page(BlockId id, uint32_t page, FrameNumber frame) {
  Block& block = index_.block(id);
  if (!block.linked()) return;
  ShardChange change(&index_.shard_of(block));
  if (block.frames[page] == frame) shrink(id, {block.number() * kPagesPerBlock + page, 1});
}

uint64_t BlockCacheImpl::scrub(uint64_t blocks) {
  if (!sums_) return 0;
  for (uint64_t i = 0; i < blocks; i++) drop_bad_pages(hold_next_block());
  MutexLock replacement(&replacement_mutex_);
  return ids_used_;
}

// Those of the pages held that are not as they were summed.
void BlockCacheImpl::drop_bad_pages(const HeldBlock& block) {
  for (uint32_t page = 0; page < kPagesPerBlock; page++) {
    const FrameNumber frame = block.frames[page];
    if (frame == kNoFrame || sums_->holds(frame)) continue;
    note_bad(frame);
    MutexLock replacement(&replacement_mutex_);
    drop_page(block.id, page, frame);
  }
  add(pages_verified_, block.held.pages());
}

// The block at the next place, if one is there.
BlockCacheImpl::HeldBlock BlockCacheImpl::hold_next_block() {
  MutexLock replacement(&replacement_mutex_);
  if (scrub_next_ >= ids_used_) scrub_next_ = 0;
  const BlockId id = scrub_next_++;
  return id < ids_used_ ? hold_block(id, 0) : HeldBlock(arena_.get());
}

// Of the block's pages those that lie in frames from `first` on. None when it is no block.
BlockCacheImpl::HeldBlock BlockCacheImpl::hold_block(BlockId id, FrameNumber first) {
  HeldBlock held(arena_.get());
  held.id = id;
  Block& block = index_.block(id);
  if (!block.linked()) return held;
  MutexLock lock(&index_.shard_of(block).mutex);
  for (uint32_t page = 0; page < kPagesPerBlock; page++) {
    const FrameNumber frame = block.frames[page];
    if (frame != kNoFrame && frame >= first && reference_page(block, page, held.held)) held.frames[page] = frame;
  }
  return held;
}

}  // namespace sluice
