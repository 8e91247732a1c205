// Disk on io_uring. A request is one operation at a time in the ring: the transfer, again when it stopped short, then
// write-back and drop where asked. The kernel runs those two on workers of its own (both may block), so they hold
// up neither the ring's thread nor other completions.
#include <fcntl.h>

#include "cache/assert.h"
#include "cache/blocking_io.h"
#include "cache/disk.h"
#include "cache/mutex.h"
#include "cache/ring.h"
#include "cache/transfer.h"

namespace sluice {
namespace {

class RingDisk final : public Disk {
 public:
  RingDisk(std::unique_ptr<Ring> ring, uint32_t io_depth) : io_depth_(io_depth), ring_(std::move(ring)) {}
  ~RingDisk() override;

  void read(DiskRequest request) override { start(Transfer::Direction::read, std::move(request)); }
  void write(DiskRequest request) override { start(Transfer::Direction::write, std::move(request)); }
  Result<size_t> write_now(DiskRequest request) override { return write_blocking(std::move(request), counters_); }
  DiskStats stats() const override { return counters_.stats(); }
  std::string_view name() const override { return "io_uring"; }

 private:
  class Job;

  void start(Transfer::Direction direction, DiskRequest request) EXCLUDES(mutex_);
  void finish(std::unique_ptr<Job> job) EXCLUDES(mutex_);

  const uint32_t io_depth_;
  DiskCounters counters_;
  Mutex mutex_{Mutex::Spins::yes};  // leaf lock
  CondVar idle_;                    // no job is in flight
  uint32_t in_flight_ GUARDED_BY(mutex_) = 0;
  DemandFirstQueue<std::unique_ptr<Job>> waiting_ GUARDED_BY(mutex_);  // empty unless in_flight_ == io_depth_
  // Last, so that its thread ends before what it uses goes.
  const std::unique_ptr<Ring> ring_;
};

class RingDisk::Job final : public RingOperation {
 public:
  Job(RingDisk* disk, Transfer::Direction direction, DiskRequest request)
      : disk_(disk), transfer_(direction, std::move(request)) {}

  void prepare(io_uring_sqe* entry) override {
    operation_ = transfer_.next();
    const auto count = static_cast<unsigned>(operation_.buffers.size());
    // The ring counts these lengths in 32 bits, where 0 means up to the end of the file.
    const auto length = static_cast<unsigned>(operation_.length <= UINT32_MAX ? operation_.length : 0);
    switch (operation_.kind) {
      case DiskOperation::Kind::read:
        if (count == 1) return prepare_plain_read(entry, operation_.buffers.front());
        return io_uring_prep_readv(entry, operation_.fd, operation_.buffers.data(), count, operation_.offset);
      case DiskOperation::Kind::write:
        return io_uring_prep_writev(entry, operation_.fd, operation_.buffers.data(), count, operation_.offset);
      case DiskOperation::Kind::write_back:
        return io_uring_prep_sync_file_range(
            entry, operation_.fd, length, operation_.offset,
            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
      case DiskOperation::Kind::drop:
        return io_uring_prep_fadvise(entry, operation_.fd, operation_.offset, length, POSIX_FADV_DONTNEED);
    }
  }

  void complete(int result) override {
    transfer_.on_result(result);
    if (transfer_.finished()) {
      disk_->finish(std::unique_ptr<Job>(this));
    } else {
      disk_->ring_->post(this);
    }
  }

  Transfer& transfer() { return transfer_; }

 private:
  // Saves the kernel copying the vector.
  void prepare_plain_read(io_uring_sqe* entry, iovec buffer) const {
    io_uring_prep_read(entry, operation_.fd, buffer.iov_base, static_cast<unsigned>(buffer.iov_len), operation_.offset);
  }

  RingDisk* const disk_;
  Transfer transfer_;
  DiskOperation operation_;
};

RingDisk::~RingDisk() {
  ASSERT(!ring_->on_ring_thread());
  MutexLock lock(&mutex_);
  while (in_flight_ > 0) idle_.wait(mutex_);
}

void RingDisk::start(Transfer::Direction direction, DiskRequest request) {
  const IoClass io_class = request.io_class;
  auto job = std::make_unique<Job>(this, direction, std::move(request));
  {
    MutexLock lock(&mutex_);
    if (in_flight_ == io_depth_) return waiting_.push(io_class, std::move(job));
    ++in_flight_;
  }
  ring_->post(job.release());
}

// Gives up the job's slot only after `done`, so that what `done` submits on demand goes before readahead that waits.
void RingDisk::finish(std::unique_ptr<Job> job) {
  counters_.count(job->transfer());
  job->transfer().run_done();
  job.reset();
  std::optional<std::unique_ptr<Job>> next;
  {
    MutexLock lock(&mutex_);
    next = waiting_.pop();
    if (!next && --in_flight_ == 0) idle_.notify_all();
  }
  if (next) ring_->post(next->release());
}

}  // namespace

Result<std::unique_ptr<Disk>> open_ring_disk(const DiskOptions& options) {
  ASSERT(options.io_depth > 0);
  std::unique_ptr<Ring> ring = TRY(Ring::create({.entries = options.io_depth + 1,  // one more for the ring's wake-up
                                                 .operations = {IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITEV,
                                                                IORING_OP_SYNC_FILE_RANGE, IORING_OP_FADVISE}}));
  return std::make_unique<RingDisk>(std::move(ring), options.io_depth);
}

}  // namespace sluice
