// WorkerPool runs blocking calls for threads that must not block. Bounded: when the queue is full the caller hears so
// at once and can refuse its client.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <thread>
#include <vector>

#include "cache/callback.h"
#include "cache/mutex.h"

namespace sluice {

struct WorkerPoolOptions {
  uint32_t threads = 4;
  uint32_t threads_max = 4;  // see `relieve`
  uint32_t queue_max = 1024;
};

class WorkerPool {
 public:
  explicit WorkerPool(const WorkerPoolOptions& options);
  ~WorkerPool();  // runs what is queued, then ends

  // Any thread. False: the queue is full, the task was not taken.
  bool submit(Callback<void()> task);

  // Call it now and then, one thread: when tasks wait and none was begun since the last time, then all threads hang.
  // More are started, which end when nothing waits.
  void relieve();

 private:
  struct Extra {
    std::thread thread;
    bool has_ended = false;
  };

  void work();
  void work_extra(Extra* self);
  void join_ended();

  const WorkerPoolOptions options_;
  Mutex mutex_;  // Leaf lock.
  CondVar changed_;
  std::deque<Callback<void()>> queue_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  uint64_t begun_ GUARDED_BY(mutex_) = 0;         // tasks
  uint64_t begun_before_ GUARDED_BY(mutex_) = 0;  // ... when relieve() looked last
  std::list<Extra> extra_ GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace sluice
