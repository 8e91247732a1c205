#include "cache/ring.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <system_error>

#include "cache/assert.h"
#include "cache/ring_calls.h"

namespace sluice {

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  std::unique_ptr<Ring> ring(new Ring);
  ring->wake_fd_.reset(::eventfd(0, EFD_CLOEXEC));
  if (!ring->wake_fd_) return fail(errno);
  std::promise<int> opened;
  std::future<int> answer = opened.get_future();
  try {
    ring->thread_ = std::thread(&Ring::run, ring.get(), options, std::move(opened));
  } catch (const std::system_error&) {
    return fail(EAGAIN);
  }
  const int error = answer.get();
  if (error != 0) return fail(error);
  return ring;
}

Ring::~Ring() {
  if (!thread_.joinable()) return;
  ASSERT(!on_ring_thread());
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  ::eventfd_write(wake_fd_.get(), 1);
  thread_.join();
}

void Ring::post(RingOperation* operation) {
  bool wake;
  {
    MutexLock lock(&mutex_);
    posted_.push_back(operation);
    wake = std::exchange(sleeping_, false);
  }
  if (wake) ::eventfd_write(wake_fd_.get(), 1);
}

void Ring::run(const RingOptions& options, std::promise<int> opened) {
  ::pthread_setname_np(::pthread_self(), "sluice-ring");
  const int error = open(options);
  opened.set_value(error);
  if (error != 0) return;
  // The wake-up of the destructor is waited for, so that no read into wakes_ outlives it.
  while (take_posted() || wake_prepared_) {
    prepare_taken();
    prepare_wake_up();
    submit_and_wait();
    complete_all();
  }
  io_uring_queue_exit(&ring_);
}

// From here on a post writes to the eventfd. False: the ring stops.
bool Ring::take_posted() {
  MutexLock lock(&mutex_);
  taken_.swap(posted_);
  sleeping_ = true;
  return !stopping_ || !taken_.empty();
}

void Ring::prepare_taken() {
  for (RingOperation* operation : taken_) {
    io_uring_sqe* entry = next_entry();
    operation->prepare(entry);
    io_uring_sqe_set_data(entry, operation);
  }
  taken_.clear();
}

void Ring::prepare_wake_up() {
  if (wake_prepared_) return;
  io_uring_sqe* entry = next_entry();
  io_uring_prep_read(entry, wake_fd_.get(), &wakes_, sizeof wakes_, 0);
  io_uring_sqe_set_data(entry, nullptr);
  wake_prepared_ = true;
}

void Ring::submit_and_wait() {
  enter_ring(&ring_, 1);
  MutexLock lock(&mutex_);
  sleeping_ = false;
}

// Completions hand their bytes on, which may take longer than the disk: it gets what was posted meanwhile before more
// than kHandedOnMax bytes. More often costs more than it brings, as each submission wakes the device (and, in a virtual
// machine, leaves it): 4 KiB at depth 32 cost 17 us of system time per read instead of 32.
void Ring::complete_all() {
  constexpr int64_t kHandedOnMax = 32 << 10;
  int64_t handed_on = 0;
  io_uring_cqe* completion;
  while (io_uring_peek_cqe(&ring_, &completion) == 0) {
    auto* operation = static_cast<RingOperation*>(io_uring_cqe_get_data(completion));
    const int result = completion->res;
    io_uring_cqe_seen(&ring_, completion);
    if (operation != nullptr) {
      handed_on += std::max(result, 0);
      if (handed_on > kHandedOnMax) {
        submit_posted();
        handed_on = 0;
      }
      operation->complete(result);
    } else {
      wake_prepared_ = false;
    }
  }
}

void Ring::submit_posted() {
  {
    MutexLock lock(&mutex_);
    if (posted_.empty()) return;
    taken_.swap(posted_);
  }
  prepare_taken();
  enter_ring(&ring_, 0);
}

io_uring_sqe* Ring::next_entry() {
  return next_submission(&ring_, [this] { enter_ring(&ring_, 0); });
}

// Best first. Kernels before 6.1 have no DEFER_TASKRUN, before 5.10 no restrictions, and a container may forbid
// io_uring_register but not the rest. Returns an errno.
int Ring::open(const RingOptions& options) {
  constexpr unsigned kBase = IORING_SETUP_CLAMP;
  constexpr unsigned kOneThread =
      kBase | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  int error = 0;
  for (const unsigned flags :
       {kOneThread | IORING_SETUP_R_DISABLED, kBase | IORING_SETUP_R_DISABLED, kOneThread, kBase}) {
    error = try_setup(flags, options);
    if (error == 0) break;
  }
  return error;
}

int Ring::try_setup(unsigned flags, const RingOptions& options) {
  const int result = io_uring_queue_init(options.entries, &ring_, flags);
  if (result != 0 || (flags & IORING_SETUP_R_DISABLED) == 0) return -result;
  const int error = restrict_ring(&ring_, options.operations);
  if (error != 0) io_uring_queue_exit(&ring_);
  return error;
}

}  // namespace sluice
