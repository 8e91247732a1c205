// Disk without io_uring: each thread takes one request and does all of it. Threads are started when a request finds
// none idle, and stay.
#include <pthread.h>

#include <algorithm>
#include <system_error>
#include <thread>

#include "cache/assert.h"
#include "cache/blocking_io.h"
#include "cache/disk.h"
#include "cache/mutex.h"
#include "cache/transfer.h"

namespace sluice {
namespace {

class ThreadDisk final : public Disk {
 public:
  explicit ThreadDisk(uint32_t threads_max) : threads_max_(threads_max) {}
  ~ThreadDisk() override;

  void read(DiskRequest request) override { start(Transfer::Direction::read, std::move(request)); }
  void write(DiskRequest request) override { start(Transfer::Direction::write, std::move(request)); }
  Result<size_t> write_now(DiskRequest request) override { return write_blocking(std::move(request), counters_); }
  DiskStats stats() const override { return counters_.stats(); }
  std::string_view name() const override { return "threads"; }

 private:
  void start(Transfer::Direction direction, DiskRequest request) EXCLUDES(mutex_);
  void start_thread() REQUIRES(mutex_);
  void run() EXCLUDES(mutex_);
  std::unique_ptr<Transfer> take() EXCLUDES(mutex_);
  void run_transfer(Transfer& transfer);

  const uint32_t threads_max_;
  DiskCounters counters_;
  Mutex mutex_;    // leaf lock
  CondVar work_;   // something waits, or stopping_
  CondVar quiet_;  // unfinished_ is 0
  DemandFirstQueue<std::unique_ptr<Transfer>> waiting_ GUARDED_BY(mutex_);
  uint64_t unfinished_ GUARDED_BY(mutex_) = 0;  // waiting or running, `done` included
  uint32_t idle_ GUARDED_BY(mutex_) = 0;        // threads in take()
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
};

ThreadDisk::~ThreadDisk() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(&mutex_);
    while (unfinished_ > 0) quiet_.wait(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  work_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void ThreadDisk::start(Transfer::Direction direction, DiskRequest request) {
  auto transfer = std::make_unique<Transfer>(direction, std::move(request));
  const IoClass io_class = transfer->io_class();
  {
    MutexLock lock(&mutex_);
    waiting_.push(io_class, std::move(transfer));
    ++unfinished_;
    if (waiting_.size() > idle_ && threads_.size() < threads_max_) start_thread();
  }
  work_.notify_one();
}

void ThreadDisk::start_thread() {
  try {
    threads_.emplace_back(&ThreadDisk::run, this);
  } catch (const std::system_error&) {  // a limit of the system: those that run will do
    ASSERT(!threads_.empty());
  }
}

void ThreadDisk::run() {
  ::pthread_setname_np(::pthread_self(), "sluice-disk");
  while (std::unique_ptr<Transfer> transfer = take()) {
    run_transfer(*transfer);
    transfer.reset();
    MutexLock lock(&mutex_);
    if (--unfinished_ == 0) quiet_.notify_all();
  }
}

// Waits for the next request; nullptr when stopping.
std::unique_ptr<Transfer> ThreadDisk::take() {
  MutexLock lock(&mutex_);
  ++idle_;
  std::optional<std::unique_ptr<Transfer>> next = waiting_.pop();
  while (!next && !stopping_) {
    work_.wait(mutex_);
    next = waiting_.pop();
  }
  --idle_;
  return next ? std::move(*next) : nullptr;
}

void ThreadDisk::run_transfer(Transfer& transfer) {
  run_blocking(transfer);
  counters_.count(transfer);
  transfer.run_done();
}

}  // namespace

std::unique_ptr<Disk> open_thread_disk(const DiskOptions& options) {
  ASSERT(options.io_depth > 0);
  ASSERT(options.threads_max > 0);
  return std::make_unique<ThreadDisk>(std::min(options.threads_max, options.io_depth));
}

}  // namespace sluice
