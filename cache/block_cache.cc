#include "cache/block_cache.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <span>

#include "cache/assert.h"
#include "cache/flight.h"
#include "cache/index.h"
#include "cache/mutex.h"
#include "cache/policy.h"
#include "cache/policy_large_files.h"
#include "cache/trace_recorder.h"

namespace sluice {
namespace {

// What a frame costs outside the slabs beside the shares of index and policy: the arena's count.
constexpr uint64_t kArenaBytesPerFrame = 4;

// What streams through large files may hold: a sixteenth, but enough for the readahead of some of them where an eighth
// of the cache gives that.
constexpr uint64_t kStreamsShare = 16;
constexpr uint64_t kStreamsFrames = 4096;

struct Sizes {
  uint32_t slabs = 0;
  uint32_t frames = 0;
  uint64_t metadata_bytes = 0;
};

LargeFilesOptions large_files_options(uint64_t frames, const BlockOwner* owner = &plain_owner()) {
  return {.share = std::max(frames / kStreamsShare, std::min(kStreamsFrames, frames / 8)),
          .ghost_span = frames,
          .blocks_max = static_cast<uint32_t>(frames),
          .owner = owner};
}

// Splits the budget between slabs and the metadata that their frames may come to need, so that both together never
// exceed it.
Sizes split_budget(const BlockCacheOptions& options, const PolicyKind& policy) {
  Sizes sizes;
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

uint64_t group_end(uint64_t page) {
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
  BlockCacheImpl(const BlockCacheOptions& options, const Sizes& sizes, std::unique_ptr<Arena> arena,
                 const PolicyKind& policy)
      : options_(options), sizes_(sizes), arena_(std::move(arena)), index_(sizes.frames), policy_(make_policy(policy)) {
    arena_->on_release([this] { retry_starving(); });
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
  void drop(CachedFile& file, uint32_t generation, PageRange range) override;
  PageRefs peek(CachedFile& file, uint32_t generation, uint64_t page) override;

  void want(CachedFile& file) override { static_cast<FileBlocks&>(file).want(); }
  Result<void> pin(CachedFile& file, uint64_t bytes) override;
  void unpin(CachedFile& file) override;
  std::vector<PageRange> used_pages(CachedFile& file, uint32_t generation) override;
  void clear() override;

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
  std::optional<PageRefs> count_resident(const CacheRead& read);
  bool count_part(const CacheRead& read, PageRange part, PageRefs& pages, Touched& touched);

  // Misses.
  uint64_t start(std::shared_ptr<ParkedRead> parked, bool is_retry);
  void collect(Collection& collection);
  void collect_part(Collection& collection, PageRange part);
  uint64_t launch(Collection& collection);
  void launch_part(Collection& collection, PageRange part);
  bool claim(Collection& collection, Shard& shard, uint64_t page) REQUIRES(shard.mutex);
  void take_page(Collection& collection, BlockId id, uint64_t page);
  void join(Collection& collection, Flight& flight, uint64_t page);
  void wait_for(Collection& collection, Flight& flight, PageRange pages);
  void start_flight(Collection& collection, Shard& shard, PageRange run) REQUIRES(shard.mutex);
  void issue(std::shared_ptr<Flight> flight);
  void land(const std::shared_ptr<Flight>& flight, Result<size_t> outcome);
  void arrive(const std::shared_ptr<ParkedRead>& parked, int error);
  void retry_starving();

  // The index.
  uint64_t hash_of(BlockId id) const override { return index_.hash(id); }  // under replacement_mutex_, as it is linked
  bool was_used(BlockId id) const override;
  bool is_large(BlockId id) const override;
  bool reference_page(Block& block, uint32_t page, PageRefs& into);
  bool note_first_use(Block& block, uint32_t page);
  void touch(const Touched& blocks);
  void put_pages(FileBlocks& file, uint32_t generation, PageRange range, const PageRefs& pages, const Flight* flight);
  bool put_part(FileBlocks& file, uint32_t generation, PageRange part, const PageRefs& pages, uint64_t first_page,
                const Flight* flight);
  void detach_flights_of(Shard& shard, const FileBlocks& file, PageRange range) REQUIRES(shard.mutex);
  void drop_pages_of(BlockId id, const FileBlocks& file, PageRange range);
  void free_block(BlockId id) REQUIRES(replacement_mutex_);
  void drop_frames(Block& block, PageRange pages);
  void drop_all(FileBlocks& file);

  // Pins.
  uint64_t pinned_frames_max() const { return sizes_.frames / 2; }
  bool is_to_be_pinned(const FileBlocks& file) const REQUIRES(replacement_mutex_);
  template <typename Change>
  void for_each_block(FileBlocks& file, Change change) REQUIRES(replacement_mutex_);

  // Memory.
  std::unique_ptr<Policy> make_policy(const PolicyKind& kind);
  void trim();
  PageRefs take_memory(uint64_t pages);
  bool make_room(uint64_t frames) EXCLUDES(replacement_mutex_);
  bool evict_one() REQUIRES(replacement_mutex_);
  void reserve_ids(uint64_t count) REQUIRES(replacement_mutex_);
  BlockId take_id() REQUIRES(replacement_mutex_);

  const BlockCacheOptions options_;
  const Sizes sizes_;
  std::unique_ptr<Arena> arena_;
  Index index_;

  const std::unique_ptr<Policy> policy_;  // under replacement_mutex_, but for is_recent and name

  // What misses write begins a new cache line: hits read what is above.
  alignas(64) Mutex replacement_mutex_;  // outermost: a shard's may be taken under it
  std::vector<BlockId> free_ids_ GUARDED_BY(replacement_mutex_);
  uint32_t ids_used_ GUARDED_BY(replacement_mutex_) = 0;

  uint64_t pinned_promised_ GUARDED_BY(replacement_mutex_) = 0;  // frames
  std::atomic<uint64_t> pinned_pages_{0};                        // changed under replacement_mutex_

  Mutex starving_mutex_;  // leaf
  std::deque<std::shared_ptr<ParkedRead>> starving_ GUARDED_BY(starving_mutex_);
  alignas(64) std::atomic<uint64_t> starving_count_{0};  // those in their turn included
  std::atomic<uint64_t> releases_{0};                    // times that memory came back
  std::atomic<bool> retrying_{false};

  alignas(64) std::atomic<uint64_t> resident_pages_{0}, counted_hits_{0}, misses_{0}, evictions_{0}, blocks_{0};
  std::atomic<uint64_t> readahead_issued_{0}, readahead_used_{0}, readahead_wasted_{0};  // pages
};

void add(std::atomic<uint64_t>& counter, uint64_t by) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

// ---- hits ----

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
  if ((block.readahead & bit) == 0) return false;
  block.readahead = static_cast<uint16_t>(block.readahead & ~bit);
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
  if (run.first == kNoFrame || (block.readahead >> first & wanted) != 0) return {};
  for (uint32_t i = 1; i < run.count; i++) {
    if (block.frames[first + i] != run.first + i) return {};
  }
  const bool recent = policy_->is_recent(id);  // before the exchange in borrow, which would wait for this cache line
  Borrows::Slot* const slot = arena_->borrow(run);
  if (slot == nullptr) return {};
  if (version.load() != before) {
    PageRefs(arena_.get(), run, slot).reset();
    return {};
  }
  trace(TraceOp::read, file, read.generation, read.pages);
  Borrows::note_pages(*slot, run.count);
  if (!recent) {
    MutexLock lock(&replacement_mutex_);
    policy_->touch(id);
  }
  return {slot, run};
}

// Any hit, in the lock of each shard. A read of a MiB takes one or two.
std::optional<PageRefs> BlockCacheImpl::count_resident(const CacheRead& read) {
  std::optional<PageRefs> pages(arena_.get());
  Touched touched;
  bool complete = true;
  for_each_group(read.pages, [&](PageRange part) { complete = complete && count_part(read, part, *pages, touched); });
  if (!complete) return std::nullopt;
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

PageRefs BlockCacheImpl::peek(CachedFile& cached, uint32_t generation, uint64_t page) {
  auto& file = static_cast<FileBlocks&>(cached);
  PageRefs pages(arena_.get());
  Shard& shard = index_.shard_of(file, generation, page / kPagesPerBlock);
  MutexLock lock(&shard.mutex);
  const BlockId id = index_.find(file, generation, page / kPagesPerBlock);
  if (id != kNoBlock) reference_page(index_.block(id), page % kPagesPerBlock, pages);
  return pages;
}

// ---- misses ----

// A read goes in three steps: it takes what is present and joins what is in flight, gets the memory for all the rest,
// and launches flights for that. What it claimed in the first step cannot go missing again, so the memory always
// suffices; and when there is not enough it has launched nothing, gives back what it holds and waits in `starving_`. A
// reader never holds pages while it waits for memory, so readers cannot starve each other.
uint64_t BlockCacheImpl::start(std::shared_ptr<ParkedRead> parked, bool is_retry) {
  static_cast<FileBlocks&>(*parked->read.file).note_size(parked->read.size);
  Collection collection{
      .read = parked->read, .parked = parked, .missing = {}, .memory = {}, .launched = {}, .touched = {.ids = {}}};
  collect(collection);
  const uint64_t missing = collection.missing_pages();
  collection.memory = take_memory(missing);
  uint64_t asked = 0;
  parked->start_over = collection.memory.pages() < missing;
  if (parked->start_over) {
    parked->alone = is_retry && !parked->expects_others();
  } else {
    const bool is_demand = parked->read.io_class == IoClass::demand;
    trace(is_demand ? TraceOp::read : TraceOp::readahead, *parked->read.file, parked->read.generation,
          parked->read.pages);
    asked = launch(collection);
    add(counted_hits_, parked->read.pages.count - asked);
    if (is_demand) add(misses_, asked);
  }
  arrive(parked, 0);
  return asked;
}

void BlockCacheImpl::prefetch(CacheRead read) {
  ASSERT(read.pages.count <= kReadPagesMax);
  read.io_class = IoClass::readahead;
  Collection collection{
      .read = read, .parked = {}, .missing = {}, .memory = {}, .launched = {}, .touched = {.ids = {}}};
  collect(collection);
  const uint64_t missing = collection.missing_pages();
  collection.memory = allocate(missing);
  if (collection.memory.pages() < missing) return;
  trace(TraceOp::readahead, *read.file, read.generation, read.pages);
  add(readahead_issued_, launch(collection));
}

uint64_t BlockCacheImpl::Collection::missing_pages() const {
  uint64_t pages = 0;
  for (const PageRange& run : missing) pages += run.count;
  return pages;
}

// The first step: claims what is there, notes what is missing.
void BlockCacheImpl::collect(Collection& collection) {
  for_each_group(collection.read.pages, [&](PageRange part) { collect_part(collection, part); });
  touch(collection.touched);
  collection.touched.count = 0;
}

void BlockCacheImpl::collect_part(Collection& collection, PageRange part) {
  const CacheRead& read = collection.read;
  Shard& shard = index_.shard_of(static_cast<FileBlocks&>(*read.file), read.generation, part.first / kPagesPerBlock);
  MutexLock lock(&shard.mutex);
  PageRange run{part.first, 0};
  for (uint64_t page = part.first; page < part.end(); page++) {
    if (!claim(collection, shard, page)) {
      run.count++;
      continue;
    }
    if (!run.empty()) collection.missing.push_back(run);
    run = {page + 1, 0};
  }
  if (!run.empty()) collection.missing.push_back(run);
}

// The third step: flights for what is still missing. Returns how many pages they bring.
uint64_t BlockCacheImpl::launch(Collection& collection) {
  for (const PageRange& part : collection.missing) launch_part(collection, part);
  touch(collection.touched);
  collection.memory.reset();
  uint64_t asked = 0;
  for (const auto& flight : collection.launched) asked += flight->pages.count;
  for (auto& flight : collection.launched) issue(std::move(flight));
  return asked;
}

void BlockCacheImpl::launch_part(Collection& collection, PageRange part) {
  const CacheRead& read = collection.read;
  Shard& shard = index_.shard_of(static_cast<FileBlocks&>(*read.file), read.generation, part.first / kPagesPerBlock);
  MutexLock lock(&shard.mutex);
  PageRange run{part.first, 0};
  for (uint64_t page = part.first; page < part.end(); page++) {
    if (!claim(collection, shard, page)) {
      run.count++;
      continue;
    }
    if (!run.empty()) start_flight(collection, shard, run);
    run = {page + 1, 0};
  }
  if (!run.empty()) start_flight(collection, shard, run);
}

// Takes the page if it is present, joins the flight that will bring it. False if there is neither.
bool BlockCacheImpl::claim(Collection& collection, Shard& shard, uint64_t page) {
  const CacheRead& read = collection.read;
  const auto& file = static_cast<const FileBlocks&>(*read.file);
  const BlockId id = index_.find(file, read.generation, page / kPagesPerBlock);
  if (id != kNoBlock && index_.block(id).frames[page % kPagesPerBlock] != kNoFrame) {
    take_page(collection, id, page);
    return true;
  }
  const auto covering = std::find_if(shard.flights.begin(), shard.flights.end(),
                                     [&](const auto& flight) { return flight->covers(file, read.generation, page); });
  if (covering == shard.flights.end()) return false;
  join(collection, **covering, page);
  return true;
}

void BlockCacheImpl::take_page(Collection& collection, BlockId id, uint64_t page) {
  if (!collection.parked) return;
  Block& block = index_.block(id);
  const auto in_block = static_cast<uint32_t>(page % kPagesPerBlock);
  arena_->reference({block.frames[in_block], 1});
  collection.parked->supply(page, block.frames[in_block]);
  const bool first_use = note_first_use(block, in_block);
  if (!first_use) collection.touched.add(id);
}

void BlockCacheImpl::join(Collection& collection, Flight& flight, uint64_t page) {
  if (!collection.parked) return;
  if (flight.io_class == IoClass::readahead && !flight.asked.test(page - flight.pages.first)) add(readahead_used_, 1);
  wait_for(collection, flight, {page, 1});
}

void BlockCacheImpl::wait_for(Collection& collection, Flight& flight, PageRange pages) {
  for (uint64_t page = pages.first; page < pages.end(); page++) flight.asked.set(page - flight.pages.first);
  if (!flight.waiters.empty()) {
    Flight::Waiter& last = flight.waiters.back();
    if (last.parked == collection.parked && last.pages.end() == pages.first) {
      last.pages.count += pages.count;
      return;
    }
  }
  flight.waiters.push_back({collection.parked, pages});
  collection.parked->expect_one();
}

void BlockCacheImpl::start_flight(Collection& collection, Shard& shard, PageRange run) {
  const CacheRead& read = collection.read;
  auto flight = std::make_shared<Flight>();
  flight->file = static_cast<FileBlocks*>(read.file);
  flight->generation = read.generation;
  flight->size = read.size;
  flight->pages = run;
  flight->io_class = read.io_class;
  flight->source = read.source;
  flight->memory = collection.memory.take_front(run.count);
  if (collection.parked) wait_for(collection, *flight, run);
  shard.flights.push_back(flight);
  collection.launched.push_back(std::move(flight));
}

void BlockCacheImpl::issue(std::shared_ptr<Flight> flight) {
  std::vector<iovec> buffers;
  flight->memory.append_iovecs(0, flight->pages.count * kPageSize, buffers);
  BlockSource& source = *flight->source;
  const uint64_t offset = flight->pages.first * kPageSize;
  const IoClass io_class = flight->io_class;
  source.read(offset, std::move(buffers), io_class,
              [this, flight = std::move(flight)](Result<size_t> outcome) { land(flight, outcome); });
}

// Zeroes what lies past the end of the file in its last page.
void zero_tail(const Flight& flight) {
  const uint64_t last = flight.size / kPageSize;
  const uint64_t used = flight.size % kPageSize;
  if (used == 0 || last < flight.pages.first || last >= flight.pages.end()) return;
  char* page = flight.memory.arena()->address(flight.memory.frame(last - flight.pages.first));
  ::memset(page + used, 0, kPageSize - used);
}

int outcome_error(const Flight& flight, const Result<size_t>& outcome) {
  if (!outcome) return outcome.error().number;
  const uint64_t offset = flight.pages.first * kPageSize;
  const uint64_t wanted = std::min<uint64_t>(flight.pages.count * kPageSize, flight.size - offset);
  return *outcome < wanted ? ESTALE : 0;
}

void BlockCacheImpl::land(const std::shared_ptr<Flight>& flight, Result<size_t> outcome) {
  const int error = outcome_error(*flight, outcome);
  if (error == 0) {
    zero_tail(*flight);
    put_pages(*flight->file, flight->generation, flight->pages, flight->memory, flight.get());
  }
  std::vector<Flight::Waiter> waiters;
  {
    Shard& shard = index_.shard_of(*flight->file, flight->generation, flight->pages.first / kPagesPerBlock);
    MutexLock lock(&shard.mutex);
    std::erase(shard.flights, flight);
    waiters.swap(flight->waiters);
  }
  for (const auto& [parked, pages] : waiters) {
    for (uint64_t page = pages.first; error == 0 && page < pages.end(); page++) {
      const FrameNumber frame = flight->memory.frame(page - flight->pages.first);
      arena_->reference({frame, 1});
      parked->supply(page, frame);
    }
  }
  flight->memory.reset();
  for (const auto& waiter : waiters) arrive(waiter.parked, error);
}

void BlockCacheImpl::arrive(const std::shared_ptr<ParkedRead>& parked, int error) {
  if (!parked->arrive(error)) return;
  if (!parked->start_over) return parked->finish();
  const bool alone = parked->alone;
  parked->reset();
  {
    MutexLock lock(&starving_mutex_);
    starving_.push_back(parked);
    starving_count_.fetch_add(1);
  }
  if (!alone) retry_starving();
}

// Memory may be had that was not before: reads that found none start over, one after the other, by one thread at a
// time; `releases_` tells it that others came meanwhile. A read that comes short in its turn had no rival but first
// attempts and writers, and each of these calls this function when it comes short or gives its pages back. So it waits
// without another try, and what it gave back itself is no reason for one: else two that are short would wake each other
// for ever.
void BlockCacheImpl::retry_starving() {
  if (starving_count_.load() == 0) return;
  releases_.fetch_add(1);
  uint64_t seen = 0;
  do {
    if (starving_count_.load() == 0 || retrying_.exchange(true)) return;
    seen = releases_.load();
    std::deque<std::shared_ptr<ParkedRead>> waiting;
    {
      MutexLock lock(&starving_mutex_);
      waiting.swap(starving_);
    }
    for (auto& parked : waiting) start(std::move(parked), true);
    starving_count_.fetch_sub(waiting.size());
    retrying_.store(false);
  } while (releases_.load() != seen);
}

// ---- the index ----

// Puts the pages of one part (inside one group) of the range that starts at `first_page` into the index: those of a
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
  for (uint64_t page = part.first; page < part.end();) {
    const uint64_t number = page / kPagesPerBlock;
    BlockId id = index_.find(file, generation, number);
    const bool is_new = id == kNoBlock;
    if (is_new) {
      id = take_id();
      index_.link(id, file, generation, number);
      index_.block(id).pinned = is_to_be_pinned(file);
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
      if (block.pinned) add(pinned_pages_, 1);
      const bool ahead = flight != nullptr && flight->io_class == IoClass::readahead &&
                         !flight->asked.test(page - flight->pages.first);
      if (ahead) block.readahead = static_cast<uint16_t>(block.readahead | 1u << in_block);
    }
    if (block.pinned) continue;
    if (is_new) {
      policy_->insert(id, block.pages());
    } else {
      policy_->charge(id, block.pages());
    }
  }
  return policy_->overfull();
}

void BlockCacheImpl::put_pages(FileBlocks& file, uint32_t generation, PageRange range, const PageRefs& pages,
                               const Flight* flight) {
  bool overfull = false;
  for_each_group(range,
                 [&](PageRange part) { overfull |= put_part(file, generation, part, pages, range.first, flight); });
  if (overfull) trim();
}

void BlockCacheImpl::publish(CachedFile& file, uint32_t generation, PageRange range, const PageRefs& pages) {
  ASSERT(pages.pages() == range.count);
  auto& blocks = static_cast<FileBlocks&>(file);
  blocks.note_size(std::max(blocks.size(), range.end() * kPageSize));  // as good as a growing file's readers know
  trace(TraceOp::write, file, generation, range);
  put_pages(blocks, generation, range, pages, nullptr);
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

void BlockCacheImpl::drop(CachedFile& cached, uint32_t generation, PageRange range) {
  auto& file = static_cast<FileBlocks&>(cached);
  begin_change(file, range);
  const uint64_t blocks = range.count / kPagesPerBlock + 2;
  if (blocks >= file.blocks()) {
    for (const BlockId id : file.ids(index_.blocks())) drop_pages_of(id, file, range);
    return;
  }
  const uint64_t first = range.first / kPagesPerBlock;
  for (uint64_t number = first; number * kPagesPerBlock < range.end(); number++) {
    BlockId id = kNoBlock;
    {
      MutexLock lock(&index_.shard_of(file, generation, number).mutex);
      id = index_.find(file, generation, number);
    }
    if (id != kNoBlock) drop_pages_of(id, file, range);
  }
}

void BlockCacheImpl::drop_all(FileBlocks& file) {
  unpin(file);
  drop(file, 0, {0, UINT64_MAX});
}

void BlockCacheImpl::drop_pages_of(BlockId id, const FileBlocks& file, PageRange range) {
  MutexLock replacement(&replacement_mutex_);
  Block& block = index_.block(id);
  ShardChange change(&index_.shard(block.shard));
  if (!block.linked || block.file != &file) return;  // evicted meanwhile, the id perhaps in use again
  drop_frames(block, range);
  if (block.pages() > 0) return policy_->charge(id, block.pages());
  policy_->remove(id);
  free_block(id);
}

// Empty, and the policy knows it no more. Under the mutexes of replacement and of its shard.
void BlockCacheImpl::free_block(BlockId id) {
  index_.unlink(id);
  free_ids_.push_back(id);
  blocks_.fetch_sub(1, std::memory_order_relaxed);
}

// Those of the block's pages that are in the range. In a ShardChange.
void BlockCacheImpl::drop_frames(Block& block, PageRange range) {
  std::array<FrameNumber, kPagesPerBlock> frames;
  size_t count = 0;
  uint32_t dropped = 0;  // a bit per page
  for (uint32_t page = 0; page < kPagesPerBlock; page++) {
    if (block.frames[page] == kNoFrame || !range.overlaps({block.number * kPagesPerBlock + page, 1})) continue;
    frames[count++] = block.frames[page];
    block.frames[page] = kNoFrame;
    dropped |= 1u << page;
  }
  arena_->settle(std::span(frames).first(count));
  for (size_t i = 0; i < count; i++) arena_->release({frames[i], 1});
  if (block.pinned) pinned_pages_.fetch_sub(count, std::memory_order_relaxed);
  resident_pages_.fetch_sub(count, std::memory_order_relaxed);
  add(readahead_wasted_, static_cast<uint64_t>(std::popcount(block.readahead & dropped)));
  block.readahead = static_cast<uint16_t>(block.readahead & ~dropped);
}

// ---- pins ----

bool BlockCacheImpl::is_to_be_pinned(const FileBlocks& file) const {
  return file.pinned_frames > 0 &&
         pinned_pages_.load(std::memory_order_relaxed) + kPagesPerBlock <= pinned_frames_max();
}

// Those that are in the index now; others wait for replacement_mutex_.
template <typename Change>
void BlockCacheImpl::for_each_block(FileBlocks& file, Change change) {
  for (const BlockId id : file.ids(index_.blocks())) {
    Block& block = index_.block(id);
    MutexLock lock(&index_.shard(block.shard).mutex);
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
  file.want();
  for_each_block(file, [&](BlockId id, Block& block) {
    if (block.pinned || !is_to_be_pinned(file)) return;
    policy_->remove(id);
    block.pinned = true;
    add(pinned_pages_, block.pages());
  });
  return {};
}

void BlockCacheImpl::unpin(CachedFile& cached) {
  auto& file = static_cast<FileBlocks&>(cached);
  MutexLock lock(&replacement_mutex_);
  if (file.pinned_frames == 0) return;
  pinned_promised_ -= std::exchange(file.pinned_frames, 0);
  for_each_block(file, [&](BlockId id, Block& block) {
    if (!block.pinned) return;
    block.pinned = false;
    pinned_pages_.fetch_sub(block.pages(), std::memory_order_relaxed);
    policy_->insert(id, block.pages());
  });
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
      blocks.emplace_back(block.number, pages & ~block.readahead);
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

// ---- memory ----

std::unique_ptr<Policy> BlockCacheImpl::make_policy(const PolicyKind& kind) {
  std::unique_ptr<Policy> policy =
      kind.make({.capacity = sizes_.frames, .blocks_max = sizes_.frames, .owner = this, .clock = options_.clock});
  if (options_.large_file_bytes == 0) return policy;
  return guard_against_large_files(std::move(policy), large_files_options(sizes_.frames, this));
}

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
  }
  return refs;
}

// Evicts blocks of at least that many pages, and of a slab's worth when the cache is large: lent memory comes back by a
// test per slab, which should pay for more than one block. False when there is nothing to evict.
bool BlockCacheImpl::make_room(uint64_t frames) {
  frames = std::max<uint64_t>(frames, std::min<uint64_t>(kFramesPerSlab, sizes_.frames / 64));
  MutexLock lock(&replacement_mutex_);
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
  ShardChange change(&index_.shard(block.shard));
  ASSERT(block.linked);
  drop_frames(block, {0, UINT64_MAX});
  free_block(id);
  add(evictions_, 1);
  return true;
}

// Called by the policy while it evicts: under replacement_mutex_, no shard locked.
bool BlockCacheImpl::was_used(BlockId id) const {
  auto& index = const_cast<Index&>(index_);
  const Block& block = index.block(id);
  MutexLock lock(&index.shard(block.shard).mutex);
  return static_cast<uint32_t>(std::popcount<uint16_t>(block.readahead)) < block.pages();
}

// Called by the policy in insert: under replacement_mutex_ and the shard's.
bool BlockCacheImpl::is_large(BlockId id) const {
  const FileBlocks& file = *const_cast<Index&>(index_).block(id).file;
  return file.size() >= options_.large_file_bytes && !file.wanted();
}

void BlockCacheImpl::reserve_ids(uint64_t count) {
  while (free_ids_.size() + (sizes_.frames - ids_used_) < count && evict_one()) {
  }
}

BlockId BlockCacheImpl::take_id() {
  if (free_ids_.empty()) {
    ASSERT(ids_used_ < sizes_.frames);
    return ids_used_++;
  }
  const BlockId id = free_ids_.back();
  free_ids_.pop_back();
  return id;
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

}  // namespace

Result<std::unique_ptr<BlockCache>> BlockCache::create(const BlockCacheOptions& options) {
  if (options.size_bytes < kCacheSizeMin) return fail(EINVAL);
  const PolicyKind* policy = find_policy(options.policy);
  if (policy == nullptr) return fail(EINVAL);
  const Sizes sizes = split_budget(options, *policy);
  auto arena = TRY(Arena::create({.slabs_max = sizes.slabs, .proof = options.proof}));
  return std::make_unique<BlockCacheImpl>(options, sizes, std::move(arena), *policy);
}

}  // namespace sluice
