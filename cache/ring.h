// Ring is a thread with an io_uring of its own. Any thread posts operations; the ring's thread submits them and
// completes them, several per system call when there are several.
//
// Why do the posting threads not submit themselves? Because io_uring finishes an operation in the task that submitted
// it. Measured (kernel 6.18, 2 cores): while a submitting thread slept uninterruptibly for 500 ms, its read, long done
// on the disk, completed after 500 ms. A FUSE thread in an open() on a slow backing would hold up everybody who waits
// for the same block. Besides, completions interrupt the submitter's own sleep, its exit may cancel what it submitted,
// and its fsuid goes with the operation. With one submitting thread (IORING_SETUP_DEFER_TASKRUN) a 4 KiB O_DIRECT read
// at depth 1 takes as long (the hand-over comes before the disk instead of after it), and one at depth 32 costs 10 us
// of CPU instead of 18.
//
// The ring is restricted to the operations it was created for: seccomp does not see what happens inside a ring.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "cache/mutex.h"
#include "cache/result.h"
#include "cache/unique_fd.h"

namespace sluice {

class RingOperation {
 public:
  virtual ~RingOperation() = default;
  // Fills in the entry; the ring sets its user_data. Both run on the ring's thread, no lock held.
  virtual void prepare(io_uring_sqe* entry) = 0;
  // `result` as in the completion entry. The ring does not touch the operation afterwards: it may post itself again
  // or delete itself. Must not wait for another operation of this ring.
  virtual void complete(int result) = 0;
};

struct RingOptions {
  uint32_t entries = 64;                // of the submission queue; more may be posted
  std::vector<io_uring_op> operations;  // what may be posted; anything else completes with EACCES
};

class Ring {
 public:
  // Errors: ENOSYS, EPERM where io_uring is refused; ENOMEM, EMFILE, EAGAIN (no thread).
  static Result<std::unique_ptr<Ring>> create(const RingOptions& options);
  // Not on the ring's thread, and nothing may be in flight.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Any thread. Never blocks. `operation` stays valid until it completes.
  void post(RingOperation* operation) EXCLUDES(mutex_);
  bool on_ring_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  Ring() = default;

  void run(const RingOptions& options, std::promise<int> opened);
  int open(const RingOptions& options);
  int try_setup(unsigned flags, const RingOptions& options);
  bool take_posted() EXCLUDES(mutex_);
  void prepare_taken();
  void submit_posted();
  void prepare_wake_up();
  void submit_and_wait() EXCLUDES(mutex_);
  void complete_all();
  io_uring_sqe* next_entry();

  // Of the ring's thread.
  io_uring ring_{};
  std::vector<RingOperation*> taken_;
  uint64_t wakes_ = 0;          // target of the read of wake_fd_
  bool wake_prepared_ = false;  // that read is in the ring

  UniqueFd wake_fd_;                // an eventfd
  Mutex mutex_{Mutex::Spins::yes};  // leaf lock
  std::vector<RingOperation*> posted_ GUARDED_BY(mutex_);
  bool sleeping_ GUARDED_BY(mutex_) = false;  // the thread will not look at posted_ before it is woken
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice
