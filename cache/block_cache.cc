#include "cache/block_cache.h"

#include <algorithm>

#include "cache/block_cache_impl.h"
#include "cache/policy_large_files.h"

namespace sluice {
namespace {

// What a frame costs outside the slabs beside the shares of index and policy: the arena's count.
constexpr uint64_t kArenaBytesPerFrame = 4;

// What streams through large files may hold: a sixteenth, but enough for the readahead of some of them where an eighth
// of the cache gives that.
constexpr uint64_t kStreamsShare = 16;
constexpr uint64_t kStreamsFrames = 4096;

LargeFilesOptions large_files_options(uint64_t frames, const BlockOwner* owner = &plain_owner()) {
  return {.share = std::max(frames / kStreamsShare, std::min(kStreamsFrames, frames / 8)),
          .ghost_span = frames,
          .blocks_max = static_cast<uint32_t>(frames),
          .owner = owner};
}

// Splits the budget between slabs and the metadata that their frames may come to need, so that both together never
// exceed it.
CacheSizes split_budget(const BlockCacheOptions& options, const PolicyKind& policy) {
  CacheSizes sizes;
  for (uint64_t slabs = options.size_bytes / kSlabSize; slabs > 0; slabs--) {
    const uint64_t frames = slabs * (kFramesPerSlab - 1);
    if (frames >= kNoBlock) continue;
    uint64_t metadata = Index::memory_bytes(static_cast<uint32_t>(frames)) + frames * policy.bytes_per_block +
                        slabs * kFramesPerSlab * kArenaBytesPerFrame;
    if (options.large_file_bytes > 0) metadata += large_files_memory_bytes(large_files_options(frames));
    if (slabs * kSlabSize + metadata > options.size_bytes) continue;
    return {static_cast<uint32_t>(slabs), static_cast<uint32_t>(frames), metadata};
  }
  return sizes;
}

}  // namespace

std::unique_ptr<Policy> BlockCacheImpl::make_policy(const PolicyKind& kind) {
  std::unique_ptr<Policy> policy =
      kind.make({.capacity = sizes_.frames, .blocks_max = sizes_.frames, .owner = this, .clock = options_.clock});
  if (options_.large_file_bytes == 0) return policy;
  return guard_against_large_files(std::move(policy), large_files_options(sizes_.frames, this));
}

CacheStats BlockCacheImpl::stats() const {
  CacheStats stats;
  stats.size_bytes = options_.size_bytes;
  stats.metadata_bytes = sizes_.metadata_bytes;
  stats.resident_bytes = resident_pages_ * kPageSize;
  stats.pinned_bytes = pinned_pages_ * kPageSize;
  stats.pinned_max_bytes = pinned_frames_max() * kPageSize;
  stats.blocks = blocks_;
  stats.hits = counted_hits_ + arena_->borrows().noted_pages();
  stats.misses = misses_;
  stats.evictions = evictions_;
  stats.readahead_issued_bytes = readahead_issued_ * kPageSize;
  stats.readahead_used_bytes = readahead_used_ * kPageSize;
  stats.readahead_wasted_bytes = readahead_wasted_ * kPageSize;
  stats.arena = arena_->stats();
  return stats;
}

Result<std::unique_ptr<BlockCache>> BlockCache::create(const BlockCacheOptions& options) {
  if (options.size_bytes < kCacheSizeMin) return fail(EINVAL);
  const PolicyKind* policy = find_policy(options.policy);
  if (policy == nullptr) return fail(EINVAL);
  const CacheSizes sizes = split_budget(options, *policy);
  auto arena = TRY(Arena::create({.slabs_max = sizes.slabs, .proof = options.proof}));
  return std::make_unique<BlockCacheImpl>(options, sizes, std::move(arena), *policy);
}

}  // namespace sluice
