// StopGuard ends a process that is to end and cannot, because its backing hangs: calls that nobody can cancel hold its
// threads, and everything in order waits for them.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "cache/mutex.h"

namespace sluice {

struct StopGuardOptions {
  std::chrono::nanoseconds patience = std::chrono::seconds(10);  // well below that of `sluice umount`
  std::function<bool()> is_hung;                                 // a backing that is only slow is waited for
  std::function<void()> give_up;  // called once, on a thread of its own; it ends the process
};

class StopGuard {
 public:
  // The process is to end from now on.
  explicit StopGuard(StopGuardOptions options);
  ~StopGuard();  // it has come to its end
  StopGuard(const StopGuard&) = delete;
  StopGuard& operator=(const StopGuard&) = delete;

 private:
  void watch();

  const StopGuardOptions options_;
  Mutex mutex_;  // held while giving up, so that nothing goes meanwhile
  CondVar changed_;
  bool done_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice
