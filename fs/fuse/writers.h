// Writers knows which files somebody has open for writing through the mount. Thread-safe; the mutex is a leaf lock.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "cache/mutex.h"
#include "fs/fuse/counted_open.h"
#include "fs/store/types.h"

namespace sluice {

class Writers {
 public:
  using Open = CountedOpen<Writers>;

  Open opened(InodeNumber number) {
    MutexLock lock(&mutex_);
    ++opens_[number];
    return {this, number};
  }
  bool has(InodeNumber number) const {
    MutexLock lock(&mutex_);
    return opens_.contains(number);
  }

 private:
  friend Open;
  void closed(InodeNumber number) {
    MutexLock lock(&mutex_);
    const auto found = opens_.find(number);
    if (--found->second == 0) opens_.erase(found);
  }

  mutable Mutex mutex_;
  std::unordered_map<InodeNumber, uint32_t> opens_ GUARDED_BY(mutex_);
};

}  // namespace sluice
