#include "fs/fuse/ring_workers.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "cache/log.h"
#include "fs/fuse/relief.h"

namespace sluice {

void RingWorkers::post(RingEntry* entry) {
  {
    MutexLock lock(&mutex_);
    queue_.push_back(entry);
    if (idle_ < queue_.size() && running_ < options_.threads_max + more_) start_one();
  }
  posted_.notify_one();
}

void RingWorkers::start_one() {
  Worker& worker = workers_.emplace_back();
  try {
    worker.thread = std::thread([this, &worker] { work(&worker); });
    running_++;
  } catch (const std::system_error&) {  // a limit of the system
    log(LogLevel::warning, "no more threads for requests");
    workers_.pop_back();
  }
}

void RingWorkers::work(Worker* self) {
  ::pthread_setname_np(::pthread_self(), "sluice-worker");
  while (RingEntry* entry = next()) serve_(entry);
  MutexLock lock(&mutex_);
  running_--;
  self->has_ended = true;
  ended_.notify_all();
}

// Nothing: this worker is to end.
RingEntry* RingWorkers::next() {
  MutexLock lock(&mutex_);
  while (queue_.empty()) {
    if (is_stopping_) return nullptr;
    const auto since = std::chrono::steady_clock::now();
    idle_++;
    posted_.wait_for(mutex_, kIdle);
    idle_--;
    const bool was_idle = std::chrono::steady_clock::now() - since >= kIdle;
    if (queue_.empty() && was_idle && idle_ >= options_.threads_idle_max) return nullptr;
  }
  RingEntry* entry = queue_.front();
  queue_.pop_front();
  return entry;
}

void RingWorkers::tick(uint32_t stuck) {
  const uint32_t before = std::exchange(stuck_before_, stuck);
  {
    MutexLock lock(&mutex_);
    more_ = ReliefThreads::wanted(options_.threads_max, stuck, before);
    // What was posted when all were busy.
    size_t wanted = queue_.size();
    for (; wanted > idle_ && running_ < options_.threads_max + more_; --wanted) start_one();
  }
  join_ended();
}

void RingWorkers::join_ended() {
  std::list<Worker> ended;
  {
    MutexLock lock(&mutex_);
    for (auto at = workers_.begin(); at != workers_.end();) {
      const auto worker = at++;
      if (worker->has_ended) ended.splice(ended.end(), workers_, worker);
    }
  }
  for (Worker& worker : ended) worker.thread.join();
}

void RingWorkers::stop() {
  {
    MutexLock lock(&mutex_);
    is_stopping_ = true;
    posted_.notify_all();
    while (running_ > 0) ended_.wait(mutex_);
  }
  join_ended();
}

// ---- companions ----

bool RingCompanion::give(RingEntry* entry) {
  const State state = state_.load(std::memory_order_acquire);
  if (state == State::busy) return false;
  given_ = entry;
  state_.store(State::busy, std::memory_order_release);
  if (state == State::free) {
    state_.notify_one();
    return true;
  }
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error&) {
    state_.store(State::absent, std::memory_order_relaxed);
    return false;
  }
  return true;
}

void RingCompanion::work() {
  ::pthread_setname_np(::pthread_self(), "sluice-worker");
  run_on_processor(processor_);
  for (;;) {
    State state = state_.load(std::memory_order_acquire);
    if (state == State::stopping) return;
    if (state == State::free) {
      state_.wait(State::free, std::memory_order_acquire);
      continue;
    }
    serve_(given_);
    state_.store(State::free);
    if (is_awaited_.load()) state_.notify_all();
  }
}

void RingCompanion::stop() {
  if (!thread_.joinable()) return;
  is_awaited_.store(true);
  for (State state = State::free; !state_.compare_exchange_weak(state, State::stopping); state = State::free) {
    if (state == State::busy) state_.wait(State::busy);
  }
  state_.notify_one();
  thread_.join();
}

void run_on_processor(int processor) {
  if (processor < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(processor), &set);
  ::sched_setaffinity(0, sizeof(set), &set);
}

}  // namespace sluice
