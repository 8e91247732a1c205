// Misses: what a read does for pages that are not there, and when there is no memory for them.
#include <errno.h>

#include "cache/block_cache_impl.h"

namespace sluice {

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
    if (parked->repairs == 0) {
      trace(is_demand ? TraceOp::read : TraceOp::readahead, *parked->read.file, parked->read.generation,
            parked->read.pages);
    }
    asked = launch(collection);
    if (is_demand) {
      count_hits(*parked, asked);
      add(misses_, asked);
    }
  }
  arrive(parked, 0);
  return asked;
}

// Of a read that asked the source for so many of its pages. What it had to ask for because it was bad was no hit.
void BlockCacheImpl::count_hits(ParkedRead& parked, uint64_t asked) {
  const uint64_t found = parked.repairs == 0 ? parked.read.pages.count : parked.hits;
  const uint64_t hits = found - std::min(asked, found);
  add(counted_hits_, hits - std::exchange(parked.hits, hits));
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
  claim_part(collection, shard, part, collection.missing);
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
  std::vector<PageRange> missing;
  claim_part(collection, shard, part, missing);
  for (const PageRange& run : missing) start_flight(collection, shard, run);
}

// Claims what there is of a part; the runs of pages between go to `missing`.
void BlockCacheImpl::claim_part(Collection& collection, Shard& shard, PageRange part, std::vector<PageRange>& missing) {
  PageRange run{part.first, 0};
  for (uint64_t page = part.first; page < part.end(); page++) {
    if (!claim(collection, shard, page)) {
      run.count++;
      continue;
    }
    if (!run.empty()) missing.push_back(run);
    run = {page + 1, 0};
  }
  if (!run.empty()) missing.push_back(run);
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

// `just_summed`: those of its pages that came in this very moment.
void BlockCacheImpl::arrive(const std::shared_ptr<ParkedRead>& parked, int error, PageRange just_summed) {
  if (!parked->arrive(error)) return;
  if (parked->start_over) return starve(parked);
  if (is_sound(*parked, just_summed)) [[likely]]
    return parked->finish();
  parked->reset();
  if (++parked->repairs > kRepairsMax) return arrive(parked, EIO);
  start(parked, false);
}

void BlockCacheImpl::starve(const std::shared_ptr<ParkedRead>& parked) {
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

}  // namespace sluice
