// Readahead decides what to prefetch for one reader of one file. It tells apart several streams that the reader
// interleaves: forwards, backwards, and with a constant stride. What continues nothing gets exactly what it asked for.
// Streams of large files, of whichever readers, divide between them what such files may have of the cache.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/block.h"
#include "cache/block_cache.h"
#include "cache/mutex.h"

namespace sluice {

// What streams of large files may have of one cache, and which of them are live: those that opened a window since the
// others filled that share, so that it may still be there. Thread-safe.
class StreamsRoom {
 public:
  explicit StreamsRoom(const BlockCache* cache) : cache_(cache) {}

  // The most pages that the next window of a stream of such a file may have.
  uint64_t window_max(const void* stream, uint64_t file_size) EXCLUDES(mutex_);
  // The stream, known by its address, opens a window of so many pages.
  void open_window(const void* stream, uint64_t file_size, uint64_t pages) EXCLUDES(mutex_);

 private:
  static constexpr uint32_t kStreams = 64;  // more are not told apart: the windows are at their least by then

  struct Stream {
    const void* id = nullptr;
    uint64_t opened_at = 0;  // by opened_
  };

  const BlockCache* const cache_;
  Mutex mutex_;  // leaf
  std::array<Stream, kStreams> streams_ GUARDED_BY(mutex_){};
  uint64_t opened_ GUARDED_BY(mutex_) = 0;  // pages, of all windows
};

struct ReadaheadOptions {
  uint64_t window_max_bytes = uint64_t{4} << 20;  // 0: never read ahead
  uint32_t streams_max = 8;                       // at most kStreamsMax
  StreamsRoom* room = nullptr;                    // outlives the reader; none: streams need not share
};

// What readers that have closed the file leave to those who open it next: their forward streams and, as one read may be
// all that there is in an open, their last reads. A client that fetches a file by one request per part, or another
// front end that goes on where the first one stopped, is so a stream. One per file. Thread-safe.
class LeftStreams {
 public:
  static constexpr uint32_t kReads = 4;  // that an open leaves

  struct Stream {
    uint64_t next = 0;    // byte that continues it; 0: none
    uint64_t ahead = 0;   // first page not prefetched yet
    uint64_t marker = 0;  // page that triggers the next window
    uint64_t window = 0;  // pages; 0: of a single read
    uint64_t since = 0;   // `next` when that window was triggered
    uint64_t taken = 0;   // bytes read since then
  };

  void leave(const Stream& stream);
  // A read that continued nothing ended at this byte.
  void leave_read(uint64_t end);
  // The stream that a read at this byte continues; one of next 0 when there is none.
  Stream take(uint64_t offset);

 private:
  struct Left {
    std::array<Stream, 4> streams{};
    std::array<uint64_t, 4 * kReads> read_ends{};  // 0: none. Apart: random reads shall not displace streams
    uint32_t oldest_stream = 0;
    uint32_t oldest_read = 0;
  };

  Mutex mutex_;                                    // leaf
  std::unique_ptr<Left> left_ GUARDED_BY(mutex_);  // once there was one: most files are read whole
};

// Not thread-safe: its owner serialises calls.
class Readahead {
 public:
  static constexpr uint32_t kStreamsMax = 8;

  struct Plan {
    std::vector<PageRange> prefetch;  // now, in this order; never past the end of the file
    bool was_ahead = false;           // the whole read had been prefetched: should it miss, tell `on_loss`
  };

  // `left` outlives it.
  Readahead(const ReadaheadOptions& options, LeftStreams* left);
  ~Readahead();
  Readahead(const Readahead&) = delete;
  Readahead& operator=(const Readahead&) = delete;

  // The reader asks for `length` bytes from `offset` of a file of `file_size` bytes.
  Plan on_read(uint64_t offset, uint64_t length, uint64_t file_size);
  // This read missed what had been prefetched: it was gone before its reader came, the cache is too small for windows
  // this large. What to prefetch instead of what `on_read` said: the stream goes on from here with a smaller window.
  Plan on_loss(uint64_t offset, uint64_t length, uint64_t file_size);

 private:
  static constexpr uint32_t kHistory = 16;

  struct Read {
    uint64_t offset = 0;
    uint64_t length = 0;
    uint64_t file_size = 0;

    uint64_t end() const { return offset + length; }
    PageRange pages() const { return pages_of(offset, length); }
  };
  struct Stream {
    uint64_t used_at = 0;  // by the count of reads; 0: no stream
    int64_t stride = 0;    // bytes between two reads; 0: forwards without gaps
    uint64_t window = 0;   // pages, or reads of a strided stream; 0: nothing was prefetched yet
    bool at_end = false;   // of the file
    // Forwards:
    uint64_t next = 0;    // byte that would continue the stream
    uint64_t ahead = 0;   // first page not prefetched yet
    uint64_t marker = 0;  // a read that reaches this page triggers the next window
    uint64_t since = 0;   // `next` when the last window was triggered
    uint64_t taken = 0;   // bytes read since then
    bool lost = false;    // and something was lost since then
    // Strided:
    uint64_t last = 0;         // offset of the last read
    uint64_t reads_ahead = 0;  // after the last one, prefetched already
  };
  // Of what a stream passed by, not a quarter was read.
  static bool is_sparse(const Stream& stream) { return stream.taken < (stream.next - stream.since) / 4; }

  Stream* find(const Read& read);
  Stream* begin(const Read& read);
  bool begin_strided(const Read& read);
  Stream& oldest();
  void remember(const Read& read);
  void forget(Read& read);  // of the history
  Stream* advanced_by(const Read& read);
  Plan advance(Stream& stream, const Read& read);
  Plan advance_strided(Stream& stream, const Read& read);
  void open_window(Stream& stream, uint64_t file_size, Plan& plan) const;
  void fill_window(Stream& stream, const Read& read, Plan& plan) const;
  uint64_t next_window(uint64_t window) const;

  const ReadaheadOptions options_;
  const uint64_t pages_max_;
  LeftStreams* const left_;
  uint64_t limit_pages_;  // of a window: pages_max_, less after losses
  std::array<Stream, kStreamsMax> streams_{};
  std::array<Read, kHistory> history_{};  // reads that continued nothing, length 0: none
  uint32_t history_next_ = 0;
  // How many of them have an offset of this slot, so that random reads need not search the history for each stride.
  std::array<uint8_t, 256> remembered_{};
  static size_t slot_of(uint64_t offset) { return (offset * 0x9e3779b97f4a7c15) >> 56; }
  uint64_t reads_ = 0;
};

}  // namespace sluice
