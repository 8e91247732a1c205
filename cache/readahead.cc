// Readahead follows Linux' scheme (mm/readahead.c): a read that continues another opens a window after itself; when the
// reader enters the window that was read ahead last, the next one, twice as large, is requested, so that one window is
// always on its way. The first page of a file is taken for the start of a stream.
//
// Linux keeps one stream per open file. Here a reader has several, so that those that interleave (threads that share an
// open file, a player with sound and picture apart, a network client whose requests all come by one handle) do not take
// each other's windows. Only confirmed streams have a place in the table; single reads go to a short history, so that
// random reads between them displace nothing.
//
// Reads may come in another order than they were made, so whatever falls into what was read ahead belongs to the
// stream. But so do random reads now and then, and the more the larger the window: a stream of which not a quarter was
// read when its next window is due is none, and is forgotten.
//
// A stride shows in the history as well: three reads of one length at equal distances make a stream, the fourth
// confirms it and starts prefetching. Backwards is a stride of minus the length. Three random reads form such a row
// now and then, four hardly ever.
//
// Losses. A read of what had been prefetched, which the cache no longer has, says that the windows of all readers
// together are too much for it. The limit is halved then, and grows by a sixteenth of the full window with each window
// that is read without a loss. The rest of the window is likely to be gone, too: the next one begins at once, right
// after that read. What is still there is not read again.
//
// Large files have a small share of the cache (policy_large_files.cc), and a stream keeps up to two windows there: the
// one that is read and the one after it. So that these fit for every live stream, with one more for what was just read,
// a window is at most that part of the share.
//
// Cost: a read that continues a stream compares with at most 8 others; a random one with the history too, in pairs.
#include "cache/readahead.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr uint64_t kGroupPages = 256;  // windows end where the cache's 1 MiB reads end
constexpr uint64_t kLimitPagesMin = 16;
constexpr uint64_t kReadsAheadMax = 32;  // of a stride with gaps: each is a disk request of its own

// Linux' get_init_ra_size, in pages.
uint64_t first_window(uint64_t read_pages, uint64_t max) {
  const uint64_t rounded = std::bit_ceil(read_pages);
  if (rounded <= max / 32) return rounded * 4;
  if (rounded <= max / 4) return rounded * 2;
  return max;
}

void append(std::vector<PageRange>& ranges, PageRange range) {
  if (!ranges.empty()) {
    PageRange& last = ranges.back();
    if (range.first <= last.end() && last.first <= range.end()) {
      const uint64_t first = std::min(last.first, range.first);
      last = {first, std::max(last.end(), range.end()) - first};
      return;
    }
  }
  ranges.push_back(range);
}

}  // namespace

// ---- the room of all streams ----

uint64_t StreamsRoom::window_max(const void* stream, uint64_t file_size) {
  const uint64_t room = cache_->streams_pages_max(file_size);
  if (room == UINT64_MAX) return room;
  MutexLock lock(&mutex_);
  const auto others = std::count_if(streams_.begin(), streams_.end(), [&](const Stream& other) {
    return other.id != nullptr && other.id != stream && opened_ - other.opened_at < room;
  });
  return room / (2 * (static_cast<uint64_t>(others) + 1) + 1);
}

void StreamsRoom::open_window(const void* stream, uint64_t file_size, uint64_t pages) {
  if (cache_->streams_pages_max(file_size) == UINT64_MAX) return;
  MutexLock lock(&mutex_);
  auto place = std::find_if(streams_.begin(), streams_.end(), [&](const Stream& one) { return one.id == stream; });
  if (place == streams_.end()) {
    place = std::min_element(streams_.begin(), streams_.end(),
                             [](const Stream& a, const Stream& b) { return a.opened_at < b.opened_at; });
  }
  opened_ += pages;
  *place = {.id = stream, .opened_at = opened_};
}

// ---- streams that were left ----

void LeftStreams::leave(const Stream& stream) {
  MutexLock lock(&mutex_);
  if (!left_) left_ = std::make_unique<Left>();
  left_->streams[left_->oldest_stream++ % left_->streams.size()] = stream;
}

void LeftStreams::leave_read(uint64_t end) {
  MutexLock lock(&mutex_);
  if (!left_) left_ = std::make_unique<Left>();
  left_->read_ends[left_->oldest_read++ % left_->read_ends.size()] = end;
}

LeftStreams::Stream LeftStreams::take(uint64_t offset) {
  MutexLock lock(&mutex_);
  if (!left_) return {};
  for (Stream& stream : left_->streams) {
    if (stream.next == offset) return std::exchange(stream, {});
  }
  for (uint64_t& end : left_->read_ends) {
    if (end != offset) continue;
    end = 0;
    return {.next = offset, .since = offset};
  }
  return {};
}

// ---- the reader's streams ----

Readahead::Readahead(const ReadaheadOptions& options, LeftStreams* left)
    : options_(options), pages_max_(options.window_max_bytes / kPageSize), left_(left), limit_pages_(pages_max_) {
  ASSERT(options.streams_max > 0 && options.streams_max <= kStreamsMax);
}

Readahead::~Readahead() {
  for (const Stream& stream : streams_) {
    if (stream.used_at == 0 || stream.stride != 0 || stream.window == 0 || stream.at_end) continue;
    left_->leave({.next = stream.next,
                  .ahead = stream.ahead,
                  .marker = stream.marker,
                  .window = stream.window,
                  .since = stream.since,
                  .taken = stream.taken});
  }
  for (uint32_t age = LeftStreams::kReads; age > 0; age--) {
    const Read& read = history_[(history_next_ + kHistory - age) % kHistory];
    if (read.length != 0 && read.end() < read.file_size) left_->leave_read(read.end());
  }
}

Readahead::Plan Readahead::on_read(uint64_t offset, uint64_t length, uint64_t file_size) {
  if (pages_max_ == 0 || length == 0 || offset >= file_size) return {};
  const Read read{.offset = offset, .length = length, .file_size = file_size};
  reads_++;
  Stream* stream = find(read);
  if (stream == nullptr) stream = begin(read);
  if (stream == nullptr) return {};
  stream->used_at = reads_;
  return stream->stride == 0 ? advance(*stream, read) : advance_strided(*stream, read);
}

Readahead::Plan Readahead::on_loss(uint64_t offset, uint64_t length, uint64_t file_size) {
  limit_pages_ = std::max(limit_pages_ / 2, std::min(kLimitPagesMin, pages_max_));
  for (Stream& stream : streams_) {
    if (stream.stride == 0) stream.window = std::min(stream.window, limit_pages_);
  }
  Plan plan;
  const Read read{.offset = offset, .length = length, .file_size = file_size};
  Stream* const stream = advanced_by(read);
  if (stream == nullptr) return plan;
  if (stream->stride != 0) {
    stream->reads_ahead = 0;
    stream->window /= 4;  // fill_window doubles it
    fill_window(*stream, read, plan);
  } else if (is_sparse(*stream)) {
    *stream = {};
  } else {
    stream->ahead = 0;
    stream->lost = true;
    open_window(*stream, file_size, plan);
  }
  return plan;
}

// Reads of other threads may have gone on since: a window then begins after those.
Readahead::Stream* Readahead::advanced_by(const Read& read) {
  Stream* nearest = nullptr;
  for (uint32_t i = 0; i < options_.streams_max; i++) {
    Stream& stream = streams_[i];
    if (stream.used_at == 0) continue;
    if (stream.stride != 0) {
      if (stream.last == read.offset) return &stream;
    } else if (stream.next >= read.end() && (nearest == nullptr || stream.next < nearest->next)) {
      nearest = &stream;
    }
  }
  return nearest;
}

Readahead::Stream* Readahead::find(const Read& read) {
  const PageRange pages = read.pages();
  for (uint32_t i = 0; i < options_.streams_max; i++) {
    Stream& stream = streams_[i];
    if (stream.used_at == 0) continue;
    if (stream.stride != 0) {
      if (read.offset == stream.last + static_cast<uint64_t>(stream.stride)) return &stream;
      continue;
    }
    // From the stream's last page (read in part before) to what was read ahead for it.
    const uint64_t next_page = pages_of(0, stream.next).count;
    if (pages.first + 1 >= next_page && pages.first <= std::max(next_page, stream.ahead)) return &stream;
  }
  return nullptr;
}

// The stream that this read continues though it is not in the table yet, if any.
Readahead::Stream* Readahead::begin(const Read& read) {
  if (read.offset < kPageSize) {
    Stream& stream = oldest();
    stream = {.next = read.offset, .since = read.offset};
    return &stream;
  }
  for (Read& before : history_) {
    if (before.length == 0 || before.end() != read.offset) continue;
    forget(before);
    Stream& stream = oldest();
    stream = {.next = read.offset, .since = read.offset};
    return &stream;
  }
  if (const LeftStreams::Stream left = left_->take(read.offset); left.next != 0) {
    Stream& stream = oldest();
    stream = {.window = left.window,
              .next = left.next,
              .ahead = left.ahead,
              .marker = left.marker,
              .since = left.since,
              .taken = left.taken};
    return &stream;
  }
  if (!begin_strided(read)) remember(read);
  return nullptr;
}

bool Readahead::begin_strided(const Read& read) {
  for (const Read& middle : history_) {
    if (middle.length != read.length || middle.offset == read.offset) continue;
    const uint64_t stride = read.offset - middle.offset;  // modulo 2^64, when backwards
    if (remembered_[slot_of(middle.offset - stride)] == 0) continue;
    for (const Read& first : history_) {
      if (first.length != read.length || first.offset + stride != middle.offset) continue;
      oldest() = {.used_at = reads_, .stride = static_cast<int64_t>(stride), .last = read.offset};
      return true;
    }
  }
  return false;
}

Readahead::Stream& Readahead::oldest() {
  return *std::min_element(streams_.begin(), streams_.begin() + options_.streams_max,
                           [](const Stream& a, const Stream& b) { return a.used_at < b.used_at; });
}

void Readahead::forget(Read& read) {
  if (read.length != 0) --remembered_[slot_of(read.offset)];
  read = {};
}

void Readahead::remember(const Read& read) {
  forget(history_[history_next_]);
  history_[history_next_] = read;
  ++remembered_[slot_of(read.offset)];
  history_next_ = (history_next_ + 1) % kHistory;
}

// Linux' get_next_ra_size.
uint64_t Readahead::next_window(uint64_t window) const {
  if (window < limit_pages_ / 16) return window * 4;
  return std::min(window * 2, limit_pages_);
}

Readahead::Plan Readahead::advance(Stream& stream, const Read& read) {
  const PageRange pages = read.pages();
  Plan plan{.prefetch = {}, .was_ahead = stream.window != 0 && pages.end() <= stream.ahead};
  stream.next = std::max(stream.next, read.end());
  stream.taken += read.length;
  stream.at_end = read.end() >= read.file_size;
  if (stream.window != 0 && pages.end() <= stream.marker) return plan;
  if (is_sparse(stream)) {
    stream = {};
    return plan;
  }
  stream.since = stream.next;
  stream.taken = 0;
  if (stream.window != 0 && !std::exchange(stream.lost, false)) {
    limit_pages_ = std::min(limit_pages_ + std::max<uint64_t>(pages_max_ / 16, 1), pages_max_);
  }
  stream.window = stream.window == 0 ? first_window(pages.count, limit_pages_) : next_window(stream.window);
  open_window(stream, read.file_size, plan);
  return plan;
}

// Of as many pages as there is room for, up to the end of the file, after what was read and what is ahead already.
void Readahead::open_window(Stream& stream, uint64_t file_size, Plan& plan) const {
  if (options_.room != nullptr) {
    const uint64_t room = options_.room->window_max(&stream, file_size);
    stream.window = std::min(stream.window, std::max(room, kLimitPagesMin));
  }
  const uint64_t start = std::max(stream.ahead, pages_of(0, stream.next).count);
  uint64_t end = start + stream.window;
  // A block that two windows share would go with the older one.
  const uint64_t whole = stream.window >= kGroupPages ? kGroupPages : kPagesPerBlock;
  if (end / whole * whole > start) end = end / whole * whole;
  end = std::min(end, pages_of(0, file_size).count);
  if (start >= end) return;
  stream.ahead = end;
  stream.marker = start;
  plan.prefetch.push_back({start, end - start});
  if (options_.room != nullptr) options_.room->open_window(&stream, file_size, end - start);
}

// The window is filled up when half of it was used, so that backwards streams, whose reads are next to each other,
// still come from the disk in large pieces.
Readahead::Plan Readahead::advance_strided(Stream& stream, const Read& read) {
  Plan plan{.prefetch = {}, .was_ahead = stream.reads_ahead > 0};
  stream.last = read.offset;
  if (stream.reads_ahead > 0) stream.reads_ahead--;
  if (stream.reads_ahead <= stream.window / 2) fill_window(stream, read, plan);
  return plan;
}

// Of a strided stream. The window counts reads.
void Readahead::fill_window(Stream& stream, const Read& read, Plan& plan) const {
  const auto distance = static_cast<uint64_t>(stream.stride < 0 ? -stream.stride : stream.stride);
  const uint64_t gapless_max = std::max<uint64_t>(limit_pages_ * kPageSize / read.length, 1);
  const uint64_t window_max = distance <= read.length ? gapless_max : std::min(gapless_max, kReadsAheadMax);
  stream.window = std::min(std::max<uint64_t>(stream.window * 2, 2), window_max);
  while (stream.reads_ahead < stream.window) {
    const uint64_t steps = stream.reads_ahead + 1;
    const uint64_t room = stream.stride < 0 ? stream.last : read.file_size - 1 - stream.last;
    if (distance > room / steps) break;  // beyond the file
    const uint64_t offset = stream.last + steps * static_cast<uint64_t>(stream.stride);
    append(plan.prefetch, pages_of(offset, std::min(read.length, read.file_size - offset)));
    stream.reads_ahead = steps;
  }
}

}  // namespace sluice
