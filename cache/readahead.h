// Readahead decides what to prefetch for one reader of one file. Not thread-safe: its owner serialises calls.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "cache/block.h"

namespace sluice {

struct ReadaheadOptions {
  uint64_t window_max_bytes = uint64_t{2} << 20;
  uint32_t streams_max = 4;  // at most kStreamsMax
};

class Readahead {
 public:
  static constexpr uint32_t kStreamsMax = 8;

  explicit Readahead(const ReadaheadOptions& options) : options_(options) {}

  // The reader asks for `pages` of a file of `file_pages`. Returns the pages to prefetch now, if any; never past the end.
  std::optional<PageRange> on_read(PageRange pages, uint64_t file_pages);

 private:
  struct Stream {
    uint64_t next = 0;      // page that would continue the stream
    uint64_t ahead = 0;     // first page not prefetched yet
    uint64_t marker = 0;    // a read that reaches this page triggers the next window
    uint64_t window = 0;    // pages; 0: no window yet
    uint64_t used_at = 0;   // for replacing the stream used longest ago
  };

  Stream* find(PageRange pages);
  std::optional<PageRange> advance(Stream& stream, PageRange pages, uint64_t file_pages);

  ReadaheadOptions options_;
  std::array<Stream, kStreamsMax> streams_{};
  uint64_t reads_ = 0;
};

}  // namespace sluice
