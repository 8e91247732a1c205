// PendingRequests are the requests that were received and not answered. Usually whoever serves a request answers it.
// When that takes too long, because the backing hangs, the ticking thread does: EIO after the time that is allowed,
// EINTR when the caller got a signal that is to end it. Exactly one of the two answers; what serves the request goes on
// and finds out when it has its answer.
//
//   open --take()--> taken                      by whoever serves it
//   open --> held --> open | answered           by the ticking thread, for a moment
//
// Why does a signal answer only a request that is late? Because programs do not expect EINTR of files. And why not
// every signal? Runtimes send their threads signals all the time (SIGURG, SIGPROF, SIGCHLD). The kernel tells that a
// signal came, not which; what is pending is in /proc. One that kills shows as SIGKILL there.
//
// What does it cost? A request takes its record from its thread, and gives it back: no lock, no clock. A record that
// another thread gives back, of a read that waited for the disk, goes through a list.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <vector>

#include "cache/mutex.h"
#include "fs/fuse/libfuse.h"
#include "fs/store/backing_health.h"

namespace sluice {

class PendingRequest {
 public:
  // Nothing when it was answered already.
  fuse_req_t take();
  // As the kernel sent it; the request itself may be gone.
  const fuse_ctx& caller() const { return caller_; }

 private:
  friend class PendingRequests;
  enum class State : uint32_t { idle, open, held, taken, answered };

  std::atomic<State> state_{State::idle};
  std::atomic<uint64_t> serial_{0};
  fuse_req_t request_ = nullptr;  // by whoever holds or took it
  fuse_ctx caller_{};
  // Of the ticking thread.
  uint64_t seen_ = 0;
  std::chrono::nanoseconds since_{};
};

class PendingRequests {
 public:
  // `health` counts what is answered here.
  explicit PendingRequests(BackingHealth* health);

  PendingRequest* begin(fuse_req_t request);
  // Taken or answered, and nobody looks at it any more.
  void end(PendingRequest* request);

  // One thread. `io_timeout` 0: none.
  void tick(std::chrono::nanoseconds now, std::chrono::nanoseconds io_timeout);
  // That were there at the last tick and at the one before.
  uint64_t waiting() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  struct Pool;
  struct Spare;
  static thread_local Spare spare;

  void look_at(PendingRequest& request, std::chrono::nanoseconds waited, std::chrono::nanoseconds io_timeout);
  static bool hold(PendingRequest& request, uint64_t serial);
  static void answer(PendingRequest& request, int error);

  BackingHealth* const health_;
  const std::shared_ptr<Pool> pool_;  // outlives us while threads have some of it
  std::atomic<uint64_t> waiting_{0};
};

// Whether this thread (of another process) has a signal pending that is to end it, or nothing can be said of it.
bool is_being_ended(pid_t thread);

}  // namespace sluice
