// RingWorkers serve the requests of RingThreads that may block. There are as many as are busy, within limits; while
// some hang in calls of the backing there are more, as ReliefThreads come for the session's own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <thread>

#include "cache/callback.h"
#include "cache/mutex.h"
#include "fs/fuse/ring_entry.h"

namespace sluice {

struct RingWorkersOptions {
  uint32_t threads_max = 10;
  uint32_t threads_idle_max = 4;  // more than these end when they have nothing to do
};

class RingWorkers {
 public:
  static constexpr std::chrono::seconds kIdle{5};

  // `serve` runs on a worker, no lock held.
  RingWorkers(const RingWorkersOptions& options, Callback<void(RingEntry*)> serve)
      : options_(options), serve_(std::move(serve)) {}
  ~RingWorkers() { stop(); }

  // Any thread. Never waits.
  void post(RingEntry* entry);
  // `stuck`: workers that hang. One thread.
  void tick(uint32_t stuck);
  // Serves what was posted, and waits for all workers, also for those that hang. Afterwards nothing is posted.
  void stop();

 private:
  struct Worker {
    bool has_ended = false;  // under mutex_
    std::thread thread;
  };
  void start_one() REQUIRES(mutex_);
  void work(Worker* self);
  RingEntry* next() EXCLUDES(mutex_);
  void join_ended() EXCLUDES(mutex_);

  const RingWorkersOptions options_;
  Callback<void(RingEntry*)> serve_;
  uint32_t stuck_before_ = 0;  // of the ticking thread

  Mutex mutex_;  // leaf
  CondVar posted_;
  CondVar ended_;
  std::deque<RingEntry*> queue_ GUARDED_BY(mutex_);
  std::list<Worker> workers_ GUARDED_BY(mutex_);
  uint32_t running_ GUARDED_BY(mutex_) = 0;
  uint32_t idle_ GUARDED_BY(mutex_) = 0;
  uint32_t more_ GUARDED_BY(mutex_) = 0;  // beyond threads_max, while some hang
  bool is_stopping_ GUARDED_BY(mutex_) = false;
};

// RingCompanion is the worker that a RingThread has on its own processor, for one request at a time: then a request
// that may block wakes no other processor either.
class RingCompanion {
 public:
  // `serve` runs on the companion.
  RingCompanion(int processor, Callback<void(RingEntry*)> serve) : processor_(processor), serve_(std::move(serve)) {}
  ~RingCompanion() { stop(); }

  // False: it is busy. One thread. Never waits.
  bool give(RingEntry* entry);
  // Waits for what it serves. Afterwards nothing is given.
  void stop();

 private:
  enum class State : int { absent, free, busy, stopping };
  void work();

  const int processor_;
  Callback<void(RingEntry*)> serve_;
  RingEntry* given_ = nullptr;
  std::atomic<State> state_{State::absent};
  std::atomic<bool> is_awaited_{false};  // by stop()
  std::thread thread_;
};

// For this thread; -1: anywhere. Where that is refused, it runs anywhere.
void run_on_processor(int processor);

}  // namespace sluice
