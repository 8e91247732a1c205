// WorkerPool runs blocking calls for threads that must not block. Bounded: when the queue is full the caller hears so
// at once and can refuse its client.
#pragma once

#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "cache/callback.h"
#include "cache/mutex.h"

namespace sluice {

struct WorkerPoolOptions {
  uint32_t threads = 4;
  uint32_t queue_max = 1024;
};

class WorkerPool {
 public:
  explicit WorkerPool(const WorkerPoolOptions& options);
  ~WorkerPool();  // runs what is queued, then ends

  // Any thread. False: the queue is full, the task was not taken.
  bool submit(Callback<void()> task);

 private:
  void work();

  const WorkerPoolOptions options_;
  Mutex mutex_;  // Leaf lock.
  CondVar changed_;
  std::deque<Callback<void()>> queue_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace sluice
