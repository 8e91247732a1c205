// ReliefThreads serve a session while its own threads hang in calls of the backing, so that hits go on. A thread comes
// for each that hangs, so that kFreeThreads are always there to serve, and more when more hang with each tick; they end
// when they are not needed any more. In normal times there is none.
//
// How many can hang? BackingHealth refuses calls before kThreadsMax are used up.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <thread>

#include "fs/fuse/libfuse.h"
#include "fs/store/backing_health.h"

namespace sluice {

class ReliefThreads {
 public:
  static constexpr uint32_t kFreeThreads = 4;
  // Calls that look and calls that change, and what is let in between two ticks.
  static constexpr uint32_t kThreadsMax = 2 * BackingHealth::kCallsMax + 4 * kFreeThreads;
  static constexpr std::chrono::seconds kIdle{5};  // not needed for so long: they end

  // `wake_signal` has a handler that does nothing.
  ReliefThreads(fuse_session* session, uint32_t own_threads, int wake_signal)
      : session_(session), own_threads_(own_threads), wake_signal_(wake_signal) {}
  ~ReliefThreads() { stop(); }

  // `stuck`: threads that hang, of the session and of these. One thread, and not beside stop().
  void tick(std::chrono::nanoseconds now, uint32_t stuck);
  // Waits for all of them, also for those that hang.
  void stop();

  // How many there should be.
  static uint32_t wanted(uint32_t own_threads, uint32_t stuck, uint32_t stuck_before);

 private:
  struct Thread {
    std::atomic<bool> is_to_end{false};
    std::atomic<bool> has_ended{false};
    std::thread thread;
  };

  void start_one();
  void serve(Thread& self);
  void join_ended();
  void end(Thread& thread);

  fuse_session* const session_;
  const uint32_t own_threads_;
  const int wake_signal_;
  std::chrono::nanoseconds needed_at_{};
  uint32_t stuck_before_ = 0;
  std::list<Thread> threads_;
};

}  // namespace sluice
