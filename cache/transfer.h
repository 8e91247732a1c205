// Transfer is one disk request on its way, without the I/O: it names the next operation, the ring or a thread does it
// and reports the result, until nothing is left to do.
//
//   read 5000 bytes of a file ->  read [0, 8192) = 5000: ends inside a sector, so the file ends there
//   write 1 MiB, drop behind  ->  write [0, 1M) = 300000, write [299008, 1M) = the rest,
//                                 write_back [0, 1M), drop [0, 1M)
//
// A transfer that stopped short is resumed on the last whole page before the stop, because O_DIRECT takes no other
// offset; up to a page is moved twice. Where a read stops tells whether it must be resumed at all: devices move whole
// sectors, so only the end of the file stops inside one. That saves every small file a second read.
//
// Not thread-safe: whoever runs the request owns it.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cache/disk.h"
#include "cache/result.h"

namespace sluice {

struct DiskOperation {
  enum class Kind {
    read,        // preadv
    write,       // pwritev
    write_back,  // sync_file_range, waiting for the disk
    drop,        // POSIX_FADV_DONTNEED
  };
  Kind kind = Kind::read;
  int fd = -1;
  uint64_t offset = 0;             // bytes
  std::span<const iovec> buffers;  // of read and write
  uint64_t length = 0;             // bytes, of write_back and drop
};

class Transfer {
 public:
  enum class Direction { read, write };

  Transfer(Direction direction, DiskRequest request);

  // What to do next. Valid until the result is reported.
  DiskOperation next() const;
  // `result`: bytes, or a negative errno.
  void on_result(int64_t result);
  bool finished() const { return phase_ == Phase::finished; }

  Direction direction() const { return direction_; }
  IoClass io_class() const { return request_.io_class; }
  const Result<size_t>& result() const { return result_; }
  // Calls the request's `done`. Once, when finished.
  void run_done();

 private:
  enum class Phase { moving, writing_back, dropping, finished };
  static constexpr uint32_t kRetriesMax = 100;  // of EINTR and EAGAIN, without progress

  void on_moved(int64_t result);
  void on_written_back(int64_t result);
  void resume();
  void end(Result<size_t> result);
  bool retry(int64_t result);

  const Direction direction_;
  DiskRequest request_;
  uint64_t length_ = 0;           // bytes asked for
  uint64_t moved_ = 0;            // bytes known to be transferred
  uint64_t resumed_at_ = 0;       // bytes into the request where the current operation starts
  std::vector<iovec> remaining_;  // the request's buffers from resumed_at_; unused before the first short transfer
  uint32_t retries_ = 0;
  Phase phase_ = Phase::moving;
  Result<size_t> result_ = 0;
};

// Those that wait for a free slot: demand before readahead, each in order. The owner serialises calls.
template <typename T>
class DemandFirstQueue {
 public:
  void push(IoClass io_class, T item) {
    (io_class == IoClass::demand ? demand_ : readahead_).push_back(std::move(item));
  }
  // None when empty.
  std::optional<T> pop() {
    std::deque<T>& from = demand_.empty() ? readahead_ : demand_;
    if (from.empty()) return std::nullopt;
    std::optional<T> item = std::move(from.front());
    from.pop_front();
    return item;
  }
  size_t size() const { return demand_.size() + readahead_.size(); }

 private:
  std::deque<T> demand_;
  std::deque<T> readahead_;
};

// Thread-safe.
class DiskCounters {
 public:
  void count(const Transfer& finished);
  DiskStats stats() const;

 private:
  std::atomic<uint64_t> read_bytes_ = 0;
  std::atomic<uint64_t> written_bytes_ = 0;
  std::atomic<uint64_t> reads_ = 0;
  std::atomic<uint64_t> writes_ = 0;
  std::atomic<uint64_t> errors_ = 0;
};

}  // namespace sluice
