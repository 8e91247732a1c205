// Frames for pages: taking them, evicting for them, and keeping some from that.
#include <bit>
#include <utility>

#include "cache/block_cache_impl.h"

namespace sluice {

// Evicts what the policy will not keep although there is memory.
void BlockCacheImpl::trim() {
  MutexLock lock(&replacement_mutex_);
  while (policy_->overfull() && evict_one()) {
  }
}

PageRefs BlockCacheImpl::allocate(uint64_t pages) {
  PageRefs refs = take_memory(pages);
  if (refs.pages() < pages) retry_starving();  // what this call held for a moment, another missed
  return refs;
}

// All pages or none; gives back what did not suffice.
PageRefs BlockCacheImpl::take_memory(uint64_t pages) {
  std::vector<FrameRun> runs;
  uint64_t got = 0;
  while (got < pages) {
    got += arena_->allocate(static_cast<uint32_t>(pages - got), runs);
    if (got < pages && !make_room(pages - got)) break;
  }
  PageRefs refs(arena_.get());
  for (const FrameRun run : runs) {
    if (got < pages) arena_->release(run);
    if (got == pages) refs.append(run);
    if (got == pages && sums_) sums_->clear(run);
  }
  return refs;
}

// Evicts blocks of at least that many pages, and of a slab's worth when the cache is large: lent memory comes back by a
// test per slab, which should pay for more than one block. False when there is nothing to evict.
bool BlockCacheImpl::make_room(uint64_t frames) {
  MutexLock lock(&replacement_mutex_);
  frames = std::max<uint64_t>(frames, evicted_at_once(sizes_.frames));
  const uint64_t before = resident_pages_.load(std::memory_order_relaxed);
  bool evicted = false;
  while (evict_one()) {
    evicted = true;
    if (resident_pages_.load(std::memory_order_relaxed) + frames <= before) break;
  }
  return evicted;
}

bool BlockCacheImpl::evict_one() {
  const BlockId id = policy_->evict();
  if (id == kNoBlock) return false;
  Block& block = index_.block(id);
  ShardChange change(&index_.shard_of(block));
  ASSERT(block.linked());
  drop_frames(block, {0, UINT64_MAX});
  free_block(id);
  add(evictions_, 1);
  return true;
}

// Called by the policy while it evicts: under replacement_mutex_, no shard locked.
bool BlockCacheImpl::was_used(BlockId id) const {
  auto& index = const_cast<Index&>(index_);
  const Block& block = index.block(id);
  MutexLock lock(&index.shard_of(block).mutex);
  return static_cast<uint32_t>(std::popcount<uint16_t>(block.readahead())) < block.pages();
}

// Called by the policy in insert: under replacement_mutex_ and the shard's.
bool BlockCacheImpl::is_large(BlockId id) const {
  const FileBlocks& file = *const_cast<Index&>(index_).block(id).file;
  const uint64_t least = options_.large_file_bytes.value_or(size_bytes_.load(std::memory_order_relaxed));
  return file.size() >= least && file.wanted.load() == 0 && file.pinned_frames == 0;
}

void BlockCacheImpl::reserve_ids(uint64_t count) {
  while (ids_left() < count && evict_one()) {
  }
}

// More may be in use than there are, for a moment, when the cache shrinks.
uint64_t BlockCacheImpl::ids_left() const {
  return free_ids_ + (sizes_.frames - std::min(ids_used_, sizes_.frames));
}

BlockId BlockCacheImpl::take_id() {
  if (free_ids_ == 0) {
    ASSERT(ids_used_ < sizes_.frames);
    return ids_used_++;
  }
  free_ids_--;
  return std::exchange(first_free_id_, index_.block(first_free_id_).next_in_file);
}

// Free ids are chained through blocks that nobody uses.
void BlockCacheImpl::give_back_id(BlockId id) {
  if (id >= sizes_.frames) return;  // the cache became smaller
  index_.block(id).next_in_file = first_free_id_;
  first_free_id_ = id;
  free_ids_++;
}

void BlockCacheImpl::forget_free_ids_from(BlockId end) {
  BlockId id = std::exchange(first_free_id_, kNoBlock);
  for (free_ids_ = 0; id != kNoBlock;) {
    const BlockId next = index_.block(id).next_in_file;
    if (id < end) give_back_id(id);
    id = next;
  }
}

void BlockCacheImpl::want(CachedFile& cached, uint32_t generation, PageRange range) {
  auto& file = static_cast<FileBlocks&>(cached);
  file.wanted.fetch_add(1);
  if (!has_large_files()) return;
  MutexLock lock(&replacement_mutex_);
  for_each_group(range, [&](PageRange part) {
    MutexLock shard(&index_.shard_of(file, generation, part.first / kPagesPerBlock).mutex);
    for (uint64_t number = part.first / kPagesPerBlock; number * kPagesPerBlock < part.end(); number++) {
      const BlockId id = index_.find(file, generation, number);
      if (id != kNoBlock) policy_->keep(id);
    }
  });
}

// ---- pins ----

void BlockCacheImpl::set_pinned(Block& block, bool pinned) {
  if (block.pinned() == pinned) return;
  block.set_pinned(pinned);
  const uint64_t pages = block.pages();
  add(pinned_pages_, pinned ? pages : -pages);
}

// Those that are in the index now; others wait for replacement_mutex_.
template <typename Change>
void BlockCacheImpl::for_each_block(FileBlocks& file, Change change) {
  for (const BlockId id : file.ids(index_.blocks())) {
    Block& block = index_.block(id);
    MutexLock lock(&index_.shard_of(block).mutex);
    change(id, block);
  }
}

Result<void> BlockCacheImpl::pin(CachedFile& cached, uint64_t bytes) {
  auto& file = static_cast<FileBlocks&>(cached);
  MutexLock lock(&replacement_mutex_);
  const uint64_t frames = std::max<uint64_t>(1, pages_of(0, bytes).count);
  const uint64_t promised = pinned_promised_ - file.pinned_frames + frames;
  if (promised > pinned_frames_max()) return fail(ENOSPC);
  pinned_promised_ = promised;
  file.pinned_frames = frames;
  for_each_block(file, [&](BlockId id, Block& block) {
    if (block.pinned() || block.number() * kPagesPerBlock >= frames) return;
    policy_->remove(id);
    set_pinned(block, true);
  });
  return {};
}

// A pinned file that has grown is promised more, if no other was promised it. Else the rest is not pinned: what one
// file grows by must not take what another was told it has.
void BlockCacheImpl::grow_promise(FileBlocks& file, uint64_t frames) {
  if (frames <= file.pinned_frames || pinned_promised_ - file.pinned_frames + frames > pinned_frames_max()) return;
  pinned_promised_ += frames - file.pinned_frames;
  file.pinned_frames = frames;
}

void BlockCacheImpl::unpin(CachedFile& cached) {
  auto& file = static_cast<FileBlocks&>(cached);
  MutexLock lock(&replacement_mutex_);
  if (file.pinned_frames == 0) return;
  for_each_block(file, [&](BlockId id, Block& block) {
    if (!block.pinned()) return;
    set_pinned(block, false);
    policy_->insert(id, block.pages());
  });
  pinned_promised_ -= std::exchange(file.pinned_frames, 0);  // not before: what was pinned is no stream's
}

std::vector<PageRange> BlockCacheImpl::used_pages(CachedFile& cached, uint32_t generation) {
  auto& file = static_cast<FileBlocks&>(cached);
  std::vector<std::pair<uint64_t, uint32_t>> blocks;  // number, a bit per page
  {
    MutexLock lock(&replacement_mutex_);
    for_each_block(file, [&](BlockId, const Block& block) {
      if (block.generation != generation) return;
      uint32_t pages = 0;
      for (uint32_t page = 0; page < kPagesPerBlock; page++)
        pages |= (block.frames[page] != kNoFrame ? 1u : 0u) << page;
      blocks.emplace_back(block.number(), pages & ~block.readahead());
    });
  }
  std::sort(blocks.begin(), blocks.end());
  std::vector<PageRange> ranges;
  for (const auto& [number, pages] : blocks) {
    for (uint32_t page = 0; page < kPagesPerBlock; page++) {
      if ((pages >> page & 1) == 0) continue;
      const uint64_t first = number * kPagesPerBlock + page;
      if (ranges.empty() || ranges.back().end() != first) ranges.push_back({first, 0});
      ranges.back().count++;
    }
  }
  return ranges;
}

void BlockCacheImpl::clear() {
  while (make_room(kFramesPerSlab)) {
  }
}

}  // namespace sluice
