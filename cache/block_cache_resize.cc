// Another size, while the cache serves.
//
// A larger cache only raises limits: its tables are address space until they are touched. A smaller one has to leave
// what goes: ids of blocks beyond the new limit, so that the tables' tails can be returned, and the slabs beyond the
// arena's new limit. Blocks keep their place with the policy when they get a new id, and their bytes when their pages
// are copied to slabs that stay. So what is lost is what the policy gives up, as much as there is no more room for.
//
// Nothing is stopped: a block is moved in the lock of its shard, and its bytes are copied outside of it, since pages do
// not change. Readers that hold a page in a slab that goes keep it; the slab goes after them.
#include <errno.h>
#include <string.h>

#include "cache/block_cache_impl.h"
#include "cache/result.h"

namespace sluice {

Result<void> BlockCacheImpl::resize(uint64_t size_bytes) {
  if (size_bytes < kCacheSizeMin) return fail(EINVAL);
  if (size_bytes > largest_.bytes) return fail(ERANGE);
  const CacheSizes sizes = split_budget(size_bytes, kind_, options_);
  {
    MutexLock resizing(&resize_mutex_);
    TRY(resize_to(sizes));
  }
  retry_starving();
  return {};
}

Result<void> BlockCacheImpl::resize_to(const CacheSizes& sizes) {
  {
    MutexLock lock(&replacement_mutex_);
    if (std::max<uint64_t>(pinned_promised_, pinned_pages_) > sizes.frames / 2) return fail(ENOSPC);
    sizes_ = sizes;
    size_bytes_ = sizes.bytes;
    forget_free_ids_from(sizes.frames);
  }
  move_ids(sizes.frames);
  index_.resize(sizes.frames);
  {
    MutexLock lock(&replacement_mutex_);
    policy_->resize(sizes.frames, sizes.frames);
  }
  // Not before the tables are made: as long as a slab is touched or returned, for a millisecond or more, the process
  // gets no other mapping, and what waits for that here holds up the readers.
  arena_->set_limit(sizes.slabs);
  trim();
  leave_slabs_from(sizes.slabs);
  return {};
}

uint64_t BlockCacheImpl::finish_resize() {
  MutexLock resizing(&resize_mutex_);
  arena_->cool_retiring();
  const uint64_t slabs = arena_->stats().slabs_retiring;
  uint32_t limit;
  {
    MutexLock lock(&replacement_mutex_);
    limit = sizes_.slabs;
  }
  if (slabs == 0) {
    if (sums_) sums_->forget_from(limit * kFramesPerSlab);
    return 0;
  }
  leave_slabs_from(limit);  // what was on its way from the disk has arrived
  return slabs * kSlabSize;
}

// ---- ids ----

void BlockCacheImpl::move_ids(uint32_t ids_max) {
  uint32_t ids_used;
  {
    MutexLock lock(&replacement_mutex_);
    ids_used = ids_used_;
  }
  for (BlockId id = ids_max; id < ids_used; id++) move_id(id);
  MutexLock lock(&replacement_mutex_);
  ids_used_ = std::min(ids_used_, ids_max);
}

void BlockCacheImpl::move_id(BlockId from) {
  MutexLock lock(&replacement_mutex_);
  const Block& block = index_.block(from);
  if (!block.linked()) return;
  reserve_ids(1);
  if (!block.linked()) return;  // it had to make room itself
  const BlockId to = take_id();
  ShardChange change(&index_.shard_of(block));
  index_.move(from, to);
  policy_->move(from, to);
  id_moves_++;
}

// ---- pages ----

void BlockCacheImpl::leave_slabs_from(uint32_t slab) {
  const FrameNumber end = slab * kFramesPerSlab;
  uint32_t ids_used;
  {
    MutexLock lock(&replacement_mutex_);
    ids_used = ids_used_;
  }
  for (BlockId id = 0; id < ids_used; id++) {
    const Block& block = index_.block(id);
    const bool lies_beyond = std::any_of(std::begin(block.frames), std::end(block.frames),
                                         [&](FrameNumber frame) { return frame != kNoFrame && frame >= end; });
    if (lies_beyond) move_pages(id, end);
  }
}

// Those of the block's pages that lie in frames from `end` on go to others. What finds no memory, or is changed
// meanwhile, stays for another time.
void BlockCacheImpl::move_pages(BlockId id, FrameNumber end) {
  HeldBlock held(arena_.get());
  {
    MutexLock lock(&replacement_mutex_);
    held = hold_block(id, end);
  }
  if (sums_) drop_bad_pages(held);  // or one bad page would become two: who holds the old one counts it too
  const PageRefs& old = held.held;
  const PageRefs fresh = take_memory(old.pages());
  if (fresh.pages() < old.pages()) return;
  for (uint64_t i = 0; i < old.pages(); i++) {
    ::memcpy(arena_->address(fresh.frame(i)), arena_->address(old.frame(i)), kPageSize);
    if (sums_) sums_->copy(old.frame(i), fresh.frame(i));
  }
  MutexLock lock(&replacement_mutex_);
  Block& block = index_.block(id);
  if (!block.linked()) return;
  ShardChange change(&index_.shard_of(block));
  for (uint64_t i = 0; i < old.pages(); i++) replace_frame(block, old.frame(i), fresh.frame(i));
}

// We hold a reference of `old`, so where it still stands it stands for the same bytes.
void BlockCacheImpl::replace_frame(Block& block, FrameNumber old, FrameNumber fresh) {
  const auto place = std::find(std::begin(block.frames), std::end(block.frames), old);
  if (place == std::end(block.frames)) return;
  arena_->reference({fresh, 1});
  *place = fresh;
  arena_->settle(std::span(&old, 1));
  arena_->release({old, 1});
}

}  // namespace sluice
