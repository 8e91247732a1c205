#include "cache/transfer.h"

#include <errno.h>
#include <limits.h>

#include "cache/assert.h"
#include "cache/block.h"

namespace sluice {
namespace {

constexpr uint64_t kSectorSize = 512;

uint64_t length_of(std::span<const iovec> buffers) {
  uint64_t length = 0;
  for (const iovec& buffer : buffers) length += buffer.iov_len;
  return length;
}

uint64_t page_floor(uint64_t offset) {
  return offset / kPageSize * kPageSize;
}
uint64_t page_ceiling(uint64_t offset) {
  return page_floor(offset + kPageSize - 1);
}

}  // namespace

Transfer::Transfer(Direction direction, DiskRequest request)
    : direction_(direction), request_(std::move(request)), length_(length_of(request_.buffers)) {
  ASSERT(request_.buffers.size() <= IOV_MAX);
  ASSERT(request_.done);
}

DiskOperation Transfer::next() const {
  ASSERT(!finished());
  if (phase_ == Phase::moving) {
    return {.kind = direction_ == Direction::read ? DiskOperation::Kind::read : DiskOperation::Kind::write,
            .fd = request_.fd,
            .offset = request_.offset + resumed_at_,
            .buffers = resumed_at_ == 0 ? request_.buffers : remaining_};
  }
  // Pages are written back and dropped whole: DONTNEED keeps a page that it covers in part.
  const uint64_t first = page_floor(request_.offset);
  return {.kind = phase_ == Phase::dropping ? DiskOperation::Kind::drop : DiskOperation::Kind::write_back,
          .fd = request_.fd,
          .offset = first,
          .buffers = {},
          .length = page_ceiling(request_.offset + length_) - first};
}

void Transfer::on_result(int64_t result) {
  if (retry(result)) return;
  switch (phase_) {
    case Phase::moving: return on_moved(result);
    case Phase::writing_back: return on_written_back(result);
    case Phase::dropping: phase_ = Phase::finished; return;  // only advice: whatever it said
    case Phase::finished: ASSERT(phase_ != Phase::finished);
  }
}

bool Transfer::retry(int64_t result) {
  if (result != -EINTR && result != -EAGAIN) {
    retries_ = 0;
    return false;
  }
  return ++retries_ <= kRetriesMax;
}

void Transfer::on_moved(int64_t result) {
  if (result < 0) return end(fail(static_cast<int>(-result)));
  const uint64_t stop = resumed_at_ + static_cast<uint64_t>(result);
  ASSERT(stop <= length_);
  const bool progress = stop > moved_;
  moved_ = stop;
  if (moved_ == length_) return end(moved_);
  if (direction_ == Direction::read) {
    const bool inside_sector = (request_.offset + moved_) % kSectorSize != 0;
    if (!progress || inside_sector) return end(moved_);  // the end of the file
  } else if (!progress) {
    return end(fail(EIO));  // stops at the same place again and gives no reason
  }
  resume();
}

void Transfer::resume() {
  resumed_at_ = page_floor(moved_);
  uint64_t skip = resumed_at_;
  remaining_.clear();
  for (const iovec& buffer : request_.buffers) {
    if (skip >= buffer.iov_len) {
      skip -= buffer.iov_len;
      continue;
    }
    remaining_.push_back({static_cast<char*>(buffer.iov_base) + skip, buffer.iov_len - skip});
    skip = 0;
  }
}

void Transfer::end(Result<size_t> result) {
  result_ = result;
  if (!request_.drop_behind || length_ == 0) {
    phase_ = Phase::finished;
  } else {
    phase_ = direction_ == Direction::write ? Phase::writing_back : Phase::dropping;
  }
}

void Transfer::on_written_back(int64_t result) {
  phase_ = Phase::dropping;
  // A descriptor learns of a failed write-back once. This was that once, a later fsync will not say it again.
  const bool not_a_file = result == -ESPIPE;
  if (result < 0 && !not_a_file && result_) result_ = fail(static_cast<int>(-result));
}

void Transfer::run_done() {
  ASSERT(finished());
  // Moved out first: what `done` owns must be gone when it has run.
  Callback<void(Result<size_t>)> done = std::move(request_.done);
  done(result_);
}

void DiskCounters::count(const Transfer& finished) {
  const bool read = finished.direction() == Transfer::Direction::read;
  (read ? reads_ : writes_).fetch_add(1, std::memory_order_relaxed);
  if (finished.result()) {
    (read ? read_bytes_ : written_bytes_).fetch_add(*finished.result(), std::memory_order_relaxed);
  } else {
    errors_.fetch_add(1, std::memory_order_relaxed);
  }
}

DiskStats DiskCounters::stats() const {
  return {.read_bytes = read_bytes_.load(std::memory_order_relaxed),
          .written_bytes = written_bytes_.load(std::memory_order_relaxed),
          .reads = reads_.load(std::memory_order_relaxed),
          .writes = writes_.load(std::memory_order_relaxed),
          .errors = errors_.load(std::memory_order_relaxed)};
}

}  // namespace sluice
