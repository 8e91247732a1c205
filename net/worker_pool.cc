#include "net/worker_pool.h"

namespace sluice {

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
    }
    task();
  }
}

}  // namespace sluice
