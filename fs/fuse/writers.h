// Writers knows which files somebody has open for writing through the mount. Thread-safe; the mutex is a leaf lock.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "cache/mutex.h"
#include "fs/store/types.h"

namespace sluice {

class Writers {
 public:
  // One open, as long as it lives.
  class Open {
   public:
    Open() = default;
    Open(Writers* writers, InodeNumber number) : writers_(writers), number_(number) {}
    Open(Open&& other) noexcept : writers_(std::exchange(other.writers_, nullptr)), number_(other.number_) {}
    Open& operator=(Open&&) = delete;
    ~Open() {
      if (writers_ != nullptr) writers_->closed(number_);
    }

   private:
    Writers* writers_ = nullptr;
    InodeNumber number_ = 0;
  };

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
  void closed(InodeNumber number) {
    MutexLock lock(&mutex_);
    const auto found = opens_.find(number);
    if (--found->second == 0) opens_.erase(found);
  }

  mutable Mutex mutex_;
  std::unordered_map<InodeNumber, uint32_t> opens_ GUARDED_BY(mutex_);
};

}  // namespace sluice
