// Readahead follows Linux' scheme (mm/readahead.c): a read that continues a stream opens a window after itself; when the
// reader enters the window that was read ahead last, the next one, twice as large, is requested, so that one
// window is always on its way. A read that continues nothing gets exactly what it asked for. The first page of a
// file is taken for the start of a stream. A reader may interleave several streams; the one idle longest makes room.
#include "cache/readahead.h"

#include <algorithm>
#include <bit>

namespace sluice {
namespace {

constexpr uint64_t kGroupPages = 256;  // windows end where the cache's 1 MiB reads end

// Linux' get_init_ra_size and get_next_ra_size, in pages.
uint64_t first_window(uint64_t read_pages, uint64_t max) {
  const uint64_t rounded = std::bit_ceil(read_pages);
  if (rounded <= max / 32) return rounded * 4;
  if (rounded <= max / 4) return rounded * 2;
  return max;
}

uint64_t next_window(uint64_t window, uint64_t max) {
  if (window < max / 16) return window * 4;
  return std::min(window * 2, max);
}

}  // namespace

Readahead::Stream* Readahead::find(PageRange pages) {
  const uint32_t count = std::min(options_.streams_max, kStreamsMax);
  for (uint32_t i = 0; i < count; i++) {
    Stream& stream = streams_[i];
    if (stream.used_at == 0) continue;
    // From the stream's last page (read in part before) to what was read ahead for it.
    if (pages.first + 1 >= stream.next && pages.first <= std::max(stream.next, stream.ahead)) return &stream;
  }
  return nullptr;
}

std::optional<PageRange> Readahead::on_read(PageRange pages, uint64_t file_pages) {
  const uint64_t max = options_.window_max_bytes / kPageSize;
  if (max == 0 || pages.empty()) return std::nullopt;
  reads_++;
  Stream* stream = find(pages);
  if (stream == nullptr) {
    const uint32_t count = std::min(options_.streams_max, kStreamsMax);
    stream = std::min_element(streams_.begin(), streams_.begin() + count,
                              [](const Stream& a, const Stream& b) { return a.used_at < b.used_at; });
    *stream = {.next = pages.end(), .ahead = 0, .marker = 0, .window = 0, .used_at = reads_};
    if (pages.first != 0) return std::nullopt;
  }
  stream->used_at = reads_;
  return advance(*stream, pages, file_pages);
}

std::optional<PageRange> Readahead::advance(Stream& stream, PageRange pages, uint64_t file_pages) {
  const uint64_t max = options_.window_max_bytes / kPageSize;
  stream.next = std::max(stream.next, pages.end());
  if (stream.window != 0 && pages.end() <= stream.marker) return std::nullopt;
  stream.window = stream.window == 0 ? first_window(pages.count, max) : next_window(stream.window, max);
  const uint64_t start = std::max(stream.ahead, stream.next);
  uint64_t end = start + stream.window;
  if (stream.window >= kGroupPages && end / kGroupPages * kGroupPages > start) end = end / kGroupPages * kGroupPages;
  end = std::min(end, file_pages);
  if (start >= end) return std::nullopt;
  stream.ahead = end;
  stream.marker = start;
  return PageRange{start, end - start};
}

}  // namespace sluice
