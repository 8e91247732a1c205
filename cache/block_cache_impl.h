// The one BlockCache. Its parts: block_cache.cc the budget and the counters; block_cache_hit.cc finding pages;
// block_cache_miss.cc reads that wait for the disk or for memory; block_cache_flight.cc a read of the disk;
// block_cache_change.cc what enters and leaves the index; block_cache_memory.cc frames, evictions and pins;
// block_cache_checksum.cc pages whose bytes changed by themselves; block_cache_resize.cc another size.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cache/assert.h"
#include "cache/block_cache.h"
#include "cache/checksum.h"
#include "cache/flight.h"
#include "cache/index.h"
#include "cache/mutex.h"
#include "cache/policy.h"
#include "cache/trace_recorder.h"

namespace sluice {

// How the budget is spent.
struct CacheSizes {
  uint64_t bytes = 0;  // all of it
  uint32_t slabs = 0;
  uint32_t frames = 0;
  uint64_t metadata_bytes = 0;
};
// Between slabs and the metadata that their frames may come to need, so that both together never exceed it. Of the
// options, what else there is: their sizes are not looked at.
CacheSizes split_budget(uint64_t bytes, const PolicyKind& policy, const BlockCacheOptions& options);

inline uint64_t group_end(uint64_t page) {
  return (page / kPagesPerGroup + 1) * kPagesPerGroup;
}

// Calls visit(PageRange) for the part of the range in each group, in order.
template <typename Visit>
void for_each_group(PageRange range, Visit visit) {
  for (uint64_t page = range.first; page < range.end();) {
    const uint64_t end = std::min(range.end(), group_end(page));
    visit(PageRange{page, end - page});
    page = end;
  }
}

class BlockCacheImpl final : public BlockCache, private BlockOwner {
 public:
  BlockCacheImpl(const BlockCacheOptions& options, const PolicyKind& policy, const CacheSizes& sizes,
                 const CacheSizes& largest, std::unique_ptr<Arena> arena)
      : options_(options),
        kind_(policy),
        largest_(largest),
        arena_(std::move(arena)),
        index_(largest.frames, sizes.frames),
        policy_(make_policy(sizes.frames)),
        sizes_(sizes),
        size_bytes_(sizes.bytes) {
    if (options.checksum != ChecksumMode::off) sums_.emplace(arena_.get(), size_t{largest.slabs} * kFramesPerSlab);
    arena_->on_release(&starving_count_, [this] { retry_starving(); });
  }

  std::shared_ptr<CachedFile> add_file(uint64_t number) override {
    return std::make_shared<FileBlocks>(number, [this](FileBlocks& file) { drop_all(file); });
  }

  std::optional<PageRefs> read_resident(const CacheRead& read) override {
    const Borrowed borrowed = borrow_resident(read);
    if (borrowed.slot == nullptr) return count_resident(read);
    return std::optional<PageRefs>(std::in_place, arena_.get(), borrowed.run, borrowed.slot);
  }
  uint64_t read(CacheRead read, Callback<void(Result<PageRefs>)> done) override {
    ASSERT(read.pages.count <= kReadPagesMax);
    return start(std::make_shared<ParkedRead>(std::move(read), arena_.get(), std::move(done)), false);
  }
  void prefetch(CacheRead read) override;

  PageRefs allocate(uint64_t pages) override;
  void begin_change(CachedFile& file, PageRange range) override;
  void publish(CachedFile& file, uint32_t generation, PageRange range, const PageRefs& pages) override;
  uint64_t drop(CachedFile& file, uint32_t generation, PageRange range) override;
  PageRefs peek(CachedFile& file, uint32_t generation, uint64_t page) override;

  void want(CachedFile& file, uint32_t generation, PageRange range) override;
  void want_no_more(CachedFile& file) override { static_cast<FileBlocks&>(file).wanted.fetch_sub(1); }
  Result<void> pin(CachedFile& file, uint64_t bytes) override;
  void unpin(CachedFile& file) override;
  std::vector<PageRange> used_pages(CachedFile& file, uint32_t generation) override;
  void clear() override;
  Result<void> resize(uint64_t size_bytes) override;
  uint64_t finish_resize() override;
  uint64_t scrub(uint64_t blocks) override;

  uint64_t streams_pages_max(uint64_t file_size) const override;
  Arena& arena() override { return *arena_; }
  CacheStats stats() const override;
  std::string_view policy_name() const override { return policy_->name(); }

 private:
  // Just before the pages are claimed for good, so that the order of records is that of claims.
  void trace(TraceOp op, const CachedFile& file, uint32_t generation, PageRange pages) {
    if (options_.recorder == nullptr) [[likely]]
      return;
    options_.recorder->record(op, file.number(), generation, pages);
  }

  using Flights = std::vector<std::shared_ptr<Flight>>;
  struct Touched {  // blocks of one read that were hit
    std::array<BlockId, kReadPagesMax / kPagesPerBlock + 1> ids;
    uint32_t count = 0;

    void add(BlockId id) {
      if (count == 0 || ids[count - 1] != id) ids[count++] = id;
    }
  };
  struct Collection {  // what a read finds and starts
    const CacheRead& read;
    std::shared_ptr<ParkedRead> parked;  // empty for a prefetch, which waits for nothing
    std::vector<PageRange> missing;      // each inside one group
    PageRefs memory;                     // for what is missing
    Flights launched;
    Touched touched;

    uint64_t missing_pages() const;
  };

  // Hits.
  struct Borrowed {
    Borrows::Slot* slot = nullptr;  // none: not found, or not in the usual way
    FrameRun run{};
  };
  Borrowed borrow_resident(const CacheRead& read);
  void give_back(const Borrowed& borrowed);
  void touch(BlockId id);
  std::optional<PageRefs> count_resident(const CacheRead& read);
  bool count_part(const CacheRead& read, PageRange part, PageRefs& pages, Touched& touched);

  // Misses.
  uint64_t start(std::shared_ptr<ParkedRead> parked, bool is_retry);
  void collect(Collection& collection);
  void collect_part(Collection& collection, PageRange part);
  uint64_t launch(Collection& collection);
  void launch_part(Collection& collection, PageRange part);
  void claim_part(Collection& collection, Shard& shard, PageRange part, std::vector<PageRange>& missing)
      REQUIRES(shard.mutex);
  bool claim(Collection& collection, Shard& shard, uint64_t page) REQUIRES(shard.mutex);
  void take_page(Collection& collection, BlockId id, uint64_t page);
  void join(Collection& collection, Flight& flight, uint64_t page);
  void wait_for(Collection& collection, Flight& flight, PageRange pages);
  void start_flight(Collection& collection, Shard& shard, PageRange run) REQUIRES(shard.mutex);
  void issue(std::shared_ptr<Flight> flight);
  void read_parts(const std::shared_ptr<Flight>& flight, const std::vector<PageRange>& parts);
  void end_part(const std::shared_ptr<Flight>& flight, PageRange part, const Result<size_t>& outcome);
  std::vector<PageRange> parts_to_try(Flight& flight);
  void land(const std::shared_ptr<Flight>& flight);
  void count_hits(ParkedRead& parked, uint64_t asked);
  void arrive(const std::shared_ptr<ParkedRead>& parked, int error, PageRange just_summed = {});
  void starve(const std::shared_ptr<ParkedRead>& parked);
  void retry_starving();

  // The index.
  uint64_t hash_of(BlockId id) const override { return index_.hash(id); }  // under replacement_mutex_, as it is linked
  bool was_used(BlockId id) const override;
  bool is_large(BlockId id) const override;
  bool reference_page(Block& block, uint32_t page, PageRefs& into);
  bool note_first_use(Block& block, uint32_t page);
  void touch(const Touched& blocks);
  void put_pages(FileBlocks& file, uint32_t generation, PageRange range, const PageRefs& pages, uint64_t first_page,
                 const Flight* flight);
  bool put_part(FileBlocks& file, uint32_t generation, PageRange part, const PageRefs& pages, uint64_t first_page,
                const Flight* flight);
  void detach_flights_of(Shard& shard, const FileBlocks& file, PageRange range) REQUIRES(shard.mutex);
  uint64_t drop_blocks(FileBlocks& file, uint32_t generation, PageRange range);
  uint64_t drop_pages_of(BlockId id, const FileBlocks& file, PageRange range);
  uint64_t shrink(BlockId id, PageRange range) REQUIRES(replacement_mutex_);
  void free_block(BlockId id) REQUIRES(replacement_mutex_);
  uint64_t drop_frames(Block& block, PageRange pages);
  void drop_all(FileBlocks& file);

  // Checksums.
  struct HeldBlock {
    explicit HeldBlock(Arena* arena) : held(arena) { frames.fill(kNoFrame); }
    PageRefs held;
    std::array<FrameNumber, kPagesPerBlock> frames;  // by page; kNoFrame: not held
    BlockId id = kNoBlock;
  };
  void sum(const PageRefs& pages, uint64_t first, uint64_t count);
  bool is_sound(const CacheRead& read, std::span<const FrameRun> runs);
  bool is_sound(const FileBlocks& file, uint32_t generation, uint64_t page, FrameNumber frame);
  bool is_sound(const ParkedRead& parked, PageRange just_summed);
  void note_bad(FrameNumber frame);
  void drop_page(BlockId id, uint32_t page, FrameNumber frame) REQUIRES(replacement_mutex_);
  void drop_bad_pages(const HeldBlock& block) EXCLUDES(replacement_mutex_);
  HeldBlock hold_next_block();
  HeldBlock hold_block(BlockId id, FrameNumber first) REQUIRES(replacement_mutex_);

  // Pins.
  uint64_t pinned_frames_max() const REQUIRES(replacement_mutex_) { return sizes_.frames / 2; }
  void set_pinned(Block& block, bool pinned);
  void grow_promise(FileBlocks& file, uint64_t frames) REQUIRES(replacement_mutex_);
  template <typename Change>
  void for_each_block(FileBlocks& file, Change change) REQUIRES(replacement_mutex_);

  // Memory.
  std::unique_ptr<Policy> make_policy(uint32_t frames);
  void trim();
  PageRefs take_memory(uint64_t pages);
  bool make_room(uint64_t frames) EXCLUDES(replacement_mutex_);
  bool evict_one() REQUIRES(replacement_mutex_);
  void reserve_ids(uint64_t count) REQUIRES(replacement_mutex_);
  BlockId take_id() REQUIRES(replacement_mutex_);
  void give_back_id(BlockId id) REQUIRES(replacement_mutex_);
  void forget_free_ids_from(BlockId end) REQUIRES(replacement_mutex_);
  uint64_t ids_left() const REQUIRES(replacement_mutex_);

  // Another size.
  bool has_large_files() const { return options_.large_file_bytes != 0; }
  Result<void> resize_to(const CacheSizes& sizes) REQUIRES(resize_mutex_);
  void move_ids(uint32_t ids_max) REQUIRES(resize_mutex_);
  void move_id(BlockId from) REQUIRES(resize_mutex_) EXCLUDES(replacement_mutex_);
  void leave_slabs_from(uint32_t slab) REQUIRES(resize_mutex_);
  void move_pages(BlockId id, FrameNumber end) EXCLUDES(replacement_mutex_);
  void replace_frame(Block& block, FrameNumber old, FrameNumber fresh);

  const BlockCacheOptions options_;
  const PolicyKind& kind_;
  const CacheSizes largest_;
  std::unique_ptr<Arena> arena_;
  Index index_;
  std::optional<PageSums> sums_;  // unless ChecksumMode::off

  const std::unique_ptr<Policy> policy_;  // under replacement_mutex_, but for is_recent and name

  // What misses write begins a new cache line: hits read what is above.
  alignas(64) Mutex resize_mutex_;  // outermost; no reader or writer takes it, so callbacks of theirs may run in it
  mutable Mutex replacement_mutex_{Mutex::Spins::yes};  // a shard's may be taken under it
  CacheSizes sizes_ GUARDED_BY(replacement_mutex_);
  std::atomic<uint64_t> size_bytes_;
  BlockId first_free_id_ GUARDED_BY(replacement_mutex_) = kNoBlock;
  uint32_t free_ids_ GUARDED_BY(replacement_mutex_) = 0;
  uint32_t ids_used_ GUARDED_BY(replacement_mutex_) = 0;
  BlockId scrub_next_ GUARDED_BY(replacement_mutex_) = 0;

  uint64_t pinned_promised_ GUARDED_BY(replacement_mutex_) = 0;  // frames
  std::atomic<uint64_t> pinned_pages_{0};                        // changed under replacement_mutex_
  std::atomic<uint64_t> id_moves_{0};                            // the same; who keeps ids looks whether they are true

  Mutex starving_mutex_;  // leaf
  std::deque<std::shared_ptr<ParkedRead>> starving_ GUARDED_BY(starving_mutex_);
  alignas(64) std::atomic<uint64_t> starving_count_{0};  // those in their turn included
  std::atomic<uint64_t> releases_{0};                    // times that memory came back
  std::atomic<bool> retrying_{false};

  alignas(64) std::atomic<uint64_t> resident_pages_{0}, counted_hits_{0}, misses_{0}, evictions_{0}, blocks_{0};
  std::atomic<uint64_t> readahead_issued_{0}, readahead_used_{0}, readahead_wasted_{0};  // pages
  std::atomic<uint64_t> pages_verified_{0}, pages_bad_{0};
  std::atomic<int64_t> next_warning_{INT64_MIN};  // of bad pages, by options_.clock
};

inline void add(std::atomic<uint64_t>& counter, uint64_t by) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace sluice
