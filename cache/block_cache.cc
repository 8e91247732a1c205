#include "cache/block_cache.h"

#include <algorithm>

#include "cache/block_cache_impl.h"
#include "cache/policy_large_files.h"

namespace sluice {
namespace {

// What a frame costs outside the slabs beside the shares of index and policy: the arena's count.
constexpr uint64_t kArenaBytesPerFrame = 4;

}  // namespace

CacheSizes split_budget(uint64_t bytes, const PolicyKind& policy, const BlockCacheOptions& options) {
  constexpr uint64_t slabs_max = (kNoBlock - 1) / (kFramesPerSlab - 1);
  for (uint64_t slabs = std::min(bytes / kSlabSize, slabs_max); slabs > 0; slabs--) {
    const uint64_t frames = slabs * (kFramesPerSlab - 1);
    const auto blocks = static_cast<uint32_t>(frames);
    uint64_t metadata = Index::memory_bytes(blocks) + frames * (policy.bytes_per_block + policy.ghost_bytes) +
                        policy.bytes + slabs * kFramesPerSlab * kArenaBytesPerFrame;
    if (options.checksum != ChecksumMode::off) metadata += slabs * kFramesPerSlab * PageSums::kBytesPerFrame;
    if (options.large_file_bytes != 0) metadata += large_files_memory_bytes({.capacity = frames, .blocks_max = blocks});
    if (slabs * kSlabSize + metadata > bytes) continue;
    return {bytes, static_cast<uint32_t>(slabs), blocks, metadata};
  }
  return {};
}

std::unique_ptr<Policy> BlockCacheImpl::make_policy(uint32_t frames) {
  std::unique_ptr<Policy> policy =
      kind_.make({.capacity = frames, .blocks_max = largest_.frames, .owner = this, .clock = options_.clock});
  if (!has_large_files()) return policy;
  return guard_against_large_files(std::move(policy),
                                   {.capacity = frames, .blocks_max = largest_.frames, .owner = this});
}

uint64_t BlockCacheImpl::streams_pages_max(uint64_t file_size) const {
  const uint64_t size_bytes = size_bytes_.load(std::memory_order_relaxed);
  if (!has_large_files() || file_size < options_.large_file_bytes.value_or(size_bytes)) return UINT64_MAX;
  return streams_share(size_bytes / kPageSize);
}

CacheStats BlockCacheImpl::stats() const {
  CacheStats stats;
  {
    MutexLock lock(&replacement_mutex_);
    stats.size_bytes = sizes_.bytes;
    stats.metadata_bytes = sizes_.metadata_bytes;
    stats.pinned_max_bytes = pinned_frames_max() * kPageSize;
  }
  stats.size_max_bytes = largest_.bytes;
  stats.resident_bytes = resident_pages_ * kPageSize;
  stats.pinned_bytes = pinned_pages_ * kPageSize;
  stats.blocks = blocks_;
  stats.hits = counted_hits_ + arena_->borrows().noted_pages();
  stats.misses = misses_;
  stats.evictions = evictions_;
  stats.readahead_issued_bytes = readahead_issued_ * kPageSize;
  stats.readahead_used_bytes = readahead_used_ * kPageSize;
  stats.readahead_wasted_bytes = readahead_wasted_ * kPageSize;
  stats.pages_verified = pages_verified_;
  // A hit that borrows notes its pages once they are verified.
  if (options_.checksum == ChecksumMode::always) stats.pages_verified += arena_->borrows().noted_pages();
  stats.pages_bad = pages_bad_;
  stats.arena = arena_->stats();
  return stats;
}

Result<std::unique_ptr<BlockCache>> BlockCache::create(const BlockCacheOptions& options) {
  if (options.size_bytes < kCacheSizeMin) return fail(EINVAL);
  const PolicyKind* policy = find_policy(options.policy);
  if (policy == nullptr) return fail(EINVAL);
  const CacheSizes sizes = split_budget(options.size_bytes, *policy, options);
  CacheSizes largest = split_budget(std::max(options.size_bytes, options.size_max_bytes), *policy, options);
  auto arena = Arena::create({.slabs_max = largest.slabs, .limit = sizes.slabs, .proof = options.proof});
  if (!arena) {  // where address space counts as memory
    largest = sizes;
    arena = Arena::create({.slabs_max = sizes.slabs, .proof = options.proof});
  }
  if (!arena) return tl::unexpected(arena.error());
  return std::make_unique<BlockCacheImpl>(options, *policy, sizes, largest, std::move(*arena));
}

}  // namespace sluice
