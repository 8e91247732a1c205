// A flight: one read of the disk for a run of missing pages, and what becomes of it.
//
// What cannot be read as a whole may be one bad page, and 255 readers of others should not suffer for it. So after an
// error of the medium the run is read again block by block, and bad blocks page by page. On a disk that is dead that
// would be 273 reads, each of which may take seconds, for one that failed: a run of several blocks of which none can be
// read is left at that.
#include <errno.h>
#include <string.h>

#include "cache/block_cache_impl.h"

namespace sluice {
namespace {

constexpr uint64_t kBadBlocksMax = 4;  // where there is no good one

// Of the medium or the way to it. Others (no memory, a stale handle) would come again.
bool may_be_one_page(int error) {
  return error == EIO || error == EILSEQ || error == ENODATA || error == EREMOTEIO || error == EBADMSG;
}

uint64_t blocks_of(PageRange range) {
  return (range.end() - 1) / kPagesPerBlock - range.first / kPagesPerBlock + 1;
}

void split(PageRange range, uint64_t pages, std::vector<PageRange>& parts) {
  for (uint64_t page = range.first; page < range.end();) {
    const uint64_t end = std::min(range.end(), (page / pages + 1) * pages);
    parts.push_back({page, end - page});
    page = end;
  }
}

// What of the range did not fail. Failures do not overlap.
std::vector<PageRange> without(PageRange range, std::vector<Flight::Failure>& failed) {
  std::sort(failed.begin(), failed.end(), [](const auto& a, const auto& b) { return a.pages.first < b.pages.first; });
  std::vector<PageRange> rest;
  for (const auto& [hole, error] : failed) {
    if (hole.first > range.first) rest.push_back({range.first, hole.first - range.first});
    range = {hole.end(), range.end() - hole.end()};
  }
  if (!range.empty()) rest.push_back(range);
  return rest;
}

// Zeroes what lies past the end of the file in its last page.
void zero_tail(const Flight& flight) {
  const uint64_t last = flight.size / kPageSize;
  const uint64_t used = flight.size % kPageSize;
  if (used == 0 || last < flight.pages.first || last >= flight.pages.end()) return;
  char* page = flight.memory.arena()->address(flight.memory.frame(last - flight.pages.first));
  ::memset(page + used, 0, kPageSize - used);
}

int outcome_error(const Flight& flight, PageRange part, const Result<size_t>& outcome) {
  if (!outcome) return outcome.error().number;
  const uint64_t offset = part.first * kPageSize;
  const uint64_t wanted = std::min<uint64_t>(part.count * kPageSize, flight.size - offset);
  return *outcome < wanted ? ESTALE : 0;
}

}  // namespace

void BlockCacheImpl::issue(std::shared_ptr<Flight> flight) {
  flight->part_pages = kPagesPerGroup;
  read_parts(flight, {flight->pages});
}

void BlockCacheImpl::read_parts(const std::shared_ptr<Flight>& flight, const std::vector<PageRange>& parts) {
  flight->parts_under_way = static_cast<uint32_t>(parts.size());
  for (const PageRange part : parts) {
    std::vector<iovec> buffers;
    flight->memory.append_iovecs((part.first - flight->pages.first) * kPageSize, part.count * kPageSize, buffers);
    flight->source->read(part.first * kPageSize, std::move(buffers), flight->io_class,
                         [this, flight, part](Result<size_t> outcome) { end_part(flight, part, outcome); });
  }
}

void BlockCacheImpl::end_part(const std::shared_ptr<Flight>& flight, PageRange part, const Result<size_t>& outcome) {
  if (const int error = outcome_error(*flight, part, outcome); error != 0) {
    MutexLock lock(&flight->mutex);
    flight->failed.push_back({part, error});
  }
  if (flight->parts_under_way.fetch_sub(1) > 1) return;
  const std::vector<PageRange> again = parts_to_try(*flight);
  if (again.empty()) return land(flight);
  read_parts(flight, again);
}

// All parts are through. Those that are worth a second try, in smaller ones; none when this is the result.
std::vector<PageRange> BlockCacheImpl::parts_to_try(Flight& flight) {
  MutexLock lock(&flight.mutex);
  const auto worth_it = [](const Flight::Failure& failure) { return may_be_one_page(failure.error); };
  const auto bad = static_cast<uint64_t>(std::count_if(flight.failed.begin(), flight.failed.end(), worth_it));
  const bool as_blocks = flight.part_pages > kPagesPerBlock && flight.pages.count > kPagesPerBlock;
  const bool is_dead = bad > kBadBlocksMax && bad == blocks_of(flight.pages);
  if (!as_blocks && (flight.part_pages == 1 || flight.pages.count == 1 || is_dead)) return {};
  flight.part_pages = as_blocks ? kPagesPerBlock : 1;
  std::vector<PageRange> parts;
  for (const Flight::Failure& failure : flight.failed) {
    if (worth_it(failure)) split(failure.pages, flight.part_pages, parts);
  }
  std::erase_if(flight.failed, worth_it);
  return parts;
}

void BlockCacheImpl::land(const std::shared_ptr<Flight>& flight) {
  std::vector<Flight::Failure> failed;
  {
    MutexLock lock(&flight->mutex);
    failed.swap(flight->failed);
  }
  zero_tail(*flight);
  for (const PageRange& good : without(flight->pages, failed)) {
    sum(flight->memory, good.first - flight->pages.first, good.count);
    put_pages(*flight->file, flight->generation, good, flight->memory, flight->pages.first, flight.get());
  }
  std::vector<Flight::Waiter> waiters;
  {
    Shard& shard = index_.shard_of(*flight->file, flight->generation, flight->pages.first / kPagesPerBlock);
    MutexLock lock(&shard.mutex);
    std::erase(shard.flights, flight);
    waiters.swap(flight->waiters);
  }
  const auto error_of = [&](const PageRange& pages) {
    const auto hole =
        std::find_if(failed.begin(), failed.end(), [&](const auto& failure) { return failure.pages.overlaps(pages); });
    return hole == failed.end() ? 0 : hole->error;
  };
  for (const auto& [parked, pages] : waiters) {
    if (error_of(pages) != 0) continue;
    for (uint64_t page = pages.first; page < pages.end(); page++) {
      const FrameNumber frame = flight->memory.frame(page - flight->pages.first);
      arena_->reference({frame, 1});
      parked->supply(page, frame);
    }
  }
  flight->memory.reset();
  for (const auto& waiter : waiters) arrive(waiter.parked, error_of(waiter.pages), waiter.pages);
}

}  // namespace sluice
