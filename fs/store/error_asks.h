// ErrorAsks orders the calls of one file by which the kernel tells of an error once (fsync, close, sync_file_range):
// who hears that all is well may only believe it when those who asked at the same time have noted what they heard. They
// need not ask one after the other for that, so that the file system goes on to serve many fsyncs by one commit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cache/mutex.h"

namespace sluice {

class ErrorAsks {
 public:
  // One call, from before it until what it said is noted. Its end waits for those that are under way then.
  class Ask {
   public:
    explicit Ask(ErrorAsks* asks) : asks_(*asks), number_(asks->begin()) {}
    ~Ask() { asks_.end(number_); }
    Ask(const Ask&) = delete;
    Ask& operator=(const Ask&) = delete;

   private:
    ErrorAsks& asks_;
    const uint64_t number_;
  };

 private:
  uint64_t begin() {
    MutexLock lock(&mutex_);
    under_way_.push_back(begun_);
    return begun_++;
  }
  void end(uint64_t number) {
    MutexLock lock(&mutex_);
    std::erase(under_way_, number);
    changed_.notify_all();
    const uint64_t later = begun_;
    while (std::ranges::any_of(under_way_, [later](uint64_t other) { return other < later; })) changed_.wait(mutex_);
  }

  Mutex mutex_;  // leaf
  CondVar changed_;
  std::vector<uint64_t> under_way_ GUARDED_BY(mutex_);
  uint64_t begun_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice
