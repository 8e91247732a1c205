// Hits: finding pages that are there.
#include <span>

#include "cache/block_cache_impl.h"

namespace sluice {

bool BlockCacheImpl::reference_page(Block& block, uint32_t page, PageRefs& into) {
  const FrameNumber frame = block.frames[page];
  if (frame == kNoFrame) return false;
  arena_->reference({frame, 1});
  into.append({frame, 1});
  return true;
}

// True for a page that was read ahead and is now asked for the first time.
bool BlockCacheImpl::note_first_use(Block& block, uint32_t page) {
  const uint16_t bit = static_cast<uint16_t>(1u << page);
  if ((block.readahead() & bit) == 0) return false;
  block.set_readahead(block.readahead() & ~bit);
  add(readahead_used_, 1);
  return true;
}

// The usual hit: the pages are in one block and their frames adjacent. Nothing is locked and nothing is written that
// another thread reads: see borrows.h. Nothing, too, when anything is not as usual.
BlockCacheImpl::Borrowed BlockCacheImpl::borrow_resident(const CacheRead& read) {
  const auto& file = static_cast<const FileBlocks&>(*read.file);
  const uint64_t number = read.pages.first / kPagesPerBlock;
  const auto first = static_cast<uint32_t>(read.pages.first % kPagesPerBlock);
  if (read.pages.empty() || first + read.pages.count > kPagesPerBlock) return {};
  const Index::Place place = index_.place(file, read.generation, number);
  const std::atomic<uint64_t>& version = index_.shard(place.shard).version;
  const uint64_t before = version.load(std::memory_order_acquire);
  if (before % 2 != 0) return {};
  const BlockId id = index_.find(place, file, read.generation, number);
  if (id == kNoBlock) return {};

  const Block& block = index_.block(id);
  const FrameRun run{block.frames[first], static_cast<uint32_t>(read.pages.count)};
  const uint32_t wanted = (1u << run.count) - 1;
  if (run.first == kNoFrame || (block.readahead() >> first & wanted) != 0) return {};
  for (uint32_t i = 1; i < run.count; i++) {
    if (block.frames[first + i] != run.first + i) return {};
  }
  const bool recent = policy_->is_recent(id);  // before the exchange in borrow, which would wait for this cache line
  Borrows::Slot* const slot = arena_->borrow(run);
  if (slot == nullptr) return {};
  if (version.load() != before) [[unlikely]] {
    give_back({slot, run});
    return {};
  }
  if (options_.checksum == ChecksumMode::always && !is_sound(read, {&run, 1})) [[unlikely]] {
    add(pages_verified_, run.count);
    give_back({slot, run});
    return {};
  }
  trace(TraceOp::read, file, read.generation, read.pages);
  Borrows::note_pages(*slot, run.count);
  if (!recent) touch(id);
  return {slot, run};
}

// Both are functions of their own so that the usual hit needs no stack for them.
[[gnu::noinline]] void BlockCacheImpl::give_back(const Borrowed& borrowed) {
  PageRefs(arena_.get(), borrowed.run, borrowed.slot).reset();
}

[[gnu::noinline]] void BlockCacheImpl::touch(BlockId id) {
  MutexLock lock(&replacement_mutex_);
  policy_->touch(id);
}

// Any hit, in the lock of each shard. A read of a MiB takes one or two.
std::optional<PageRefs> BlockCacheImpl::count_resident(const CacheRead& read) {
  std::optional<PageRefs> pages(arena_.get());
  Touched touched;
  bool complete = true;
  for_each_group(read.pages, [&](PageRange part) { complete = complete && count_part(read, part, *pages, touched); });
  if (!complete) return std::nullopt;
  if (options_.checksum == ChecksumMode::always) {
    add(pages_verified_, read.pages.count);
    if (!is_sound(read, pages->runs())) return std::nullopt;
  }
  trace(TraceOp::read, *read.file, read.generation, read.pages);
  add(counted_hits_, read.pages.count);
  touch(touched);
  return pages;
}

bool BlockCacheImpl::count_part(const CacheRead& read, PageRange part, PageRefs& pages, Touched& touched) {
  auto& file = static_cast<FileBlocks&>(*read.file);
  Shard& shard = index_.shard_of(file, read.generation, part.first / kPagesPerBlock);
  MutexLock lock(&shard.mutex);
  for (uint64_t page = part.first; page < part.end();) {
    const BlockId id = index_.find(file, read.generation, page / kPagesPerBlock);
    if (id == kNoBlock) return false;
    Block& block = index_.block(id);
    const uint64_t end = std::min(part.end(), (page / kPagesPerBlock + 1) * kPagesPerBlock);
    bool first_use = false;
    for (; page < end; page++) {
      const uint32_t in_block = page % kPagesPerBlock;
      if (!reference_page(block, in_block, pages)) return false;
      first_use |= note_first_use(block, in_block);
    }
    // What readahead brought is used for the first time: no sign that it will be used again.
    if (!first_use) touched.add(id);
  }
  return true;
}

// A hit is told to the policy after the shard's lock is gone, and only when it would change something.
void BlockCacheImpl::touch(const Touched& touched) {
  const auto blocks = std::span(touched.ids).first(touched.count);
  if (std::all_of(blocks.begin(), blocks.end(), [&](BlockId id) { return policy_->is_recent(id); })) return;
  MutexLock lock(&replacement_mutex_);
  for (const BlockId id : blocks) policy_->touch(id);
}

// Whoever takes a page in order to make another one of it must not give a sum to what is bad, so it is compared here in
// any case.
PageRefs BlockCacheImpl::peek(CachedFile& cached, uint32_t generation, uint64_t page) {
  auto& file = static_cast<FileBlocks&>(cached);
  PageRefs pages(arena_.get());
  {
    Shard& shard = index_.shard_of(file, generation, page / kPagesPerBlock);
    MutexLock lock(&shard.mutex);
    const BlockId id = index_.find(file, generation, page / kPagesPerBlock);
    if (id != kNoBlock) reference_page(index_.block(id), page % kPagesPerBlock, pages);
  }
  if (!sums_ || pages.pages() == 0) return pages;
  add(pages_verified_, 1);
  if (!is_sound(file, generation, page, pages.frame(0))) pages.reset();
  return pages;
}

}  // namespace sluice
