#include "net/worker_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace sluice {
namespace {

constexpr size_t kExtraAtOnce = 4;

}  // namespace

WorkerPool::WorkerPool(const WorkerPoolOptions& options) : options_(options) {
  for (uint32_t i = 0; i < options.threads; ++i) threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(&mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  for (Extra& extra : extra_) extra.thread.join();
}

bool WorkerPool::submit(Callback<void()> task) {
  {
    MutexLock lock(&mutex_);
    if (queue_.size() >= options_.queue_max) return false;
    queue_.push_back(std::move(task));
  }
  changed_.notify_one();
  return true;
}

void WorkerPool::work() {
  while (true) {
    Callback<void()> task;
    {
      MutexLock lock(&mutex_);
      while (queue_.empty() && !ending_) changed_.wait(mutex_);
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
      begun_++;
    }
    task();
  }
}

void WorkerPool::relieve() {
  join_ended();
  MutexLock lock(&mutex_);
  const bool hangs = !queue_.empty() && std::exchange(begun_before_, begun_) == begun_;
  if (!hangs || ending_) return;
  for (size_t i = std::min(queue_.size(), kExtraAtOnce); i > 0; --i) {
    if (options_.threads + extra_.size() >= options_.threads_max) return;
    Extra* extra = &extra_.emplace_back();
    try {
      extra->thread = std::thread([this, extra] { work_extra(extra); });
    } catch (const std::system_error&) {  // a limit of the system: the tasks wait
      extra_.pop_back();
      return;
    }
  }
}

void WorkerPool::work_extra(Extra* self) {
  while (true) {
    Callback<void()> task;
    {
      MutexLock lock(&mutex_);
      self->has_ended = queue_.empty();
      if (self->has_ended) return;
      task = std::move(queue_.front());
      queue_.pop_front();
      begun_++;
    }
    task();
  }
}

void WorkerPool::join_ended() {
  std::list<Extra> ended;
  {
    MutexLock lock(&mutex_);
    for (auto next = extra_.begin(); next != extra_.end();) {
      const auto extra = next++;
      if (extra->has_ended) ended.splice(ended.end(), extra_, extra);
    }
  }
  for (Extra& extra : ended) extra.thread.join();
}

}  // namespace sluice
