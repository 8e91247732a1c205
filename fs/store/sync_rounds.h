// SyncRounds lets one thread at a time ask the kernel what became of a file's changes (fsync, close, sync_file_range).
// The kernel tells of an error once, so whoever is told after that that all is well must find it noted. Syncs that come
// while a thread is asking wait, and then one of them asks for all: each began after what it is to make durable.
#pragma once

#include <cstdint>
#include <utility>

#include "cache/mutex.h"

namespace sluice {

class SyncRounds {
 public:
  // A call that serves nobody else, with the noting of what it says.
  template <typename Ask>
  void alone(Ask ask) {
    MutexLock lock(&mutex_);
    while (asking_) changed_.wait(mutex_);
    run(ask);
  }

  // `ask(data_only)` runs, in this thread or another that came meanwhile, after this call began; it is not `data_only`
  // when one of those whom it serves wants more.
  template <typename Ask>
  void together(bool data_only, Ask ask) {
    MutexLock lock(&mutex_);
    const uint64_t mine = next_;
    if (!data_only) wants_all_ = true;
    ++waiting_;
    while (done_ <= mine) {
      if (asking_) {
        changed_.wait(mutex_);
        continue;
      }
      ++next_;
      waiting_ = 0;
      const bool all = std::exchange(wants_all_, false);
      run([&] { ask(!all); });
      done_ = next_;
    }
  }

  // Syncs that no call has begun for.
  uint64_t waiting() const {
    MutexLock lock(&mutex_);
    return waiting_;
  }

 private:
  template <typename Ask>
  void run(const Ask& ask) REQUIRES(mutex_) {
    asking_ = true;
    mutex_.unlock();
    ask();
    mutex_.lock();
    asking_ = false;
    changed_.notify_all();
  }

  mutable Mutex mutex_;  // not held while somebody asks
  CondVar changed_;
  bool asking_ GUARDED_BY(mutex_) = false;
  bool wants_all_ GUARDED_BY(mutex_) = false;  // of the next round
  uint64_t waiting_ GUARDED_BY(mutex_) = 0;    // for the next round
  uint64_t next_ GUARDED_BY(mutex_) = 0;       // the round that those join who come now
  uint64_t done_ GUARDED_BY(mutex_) = 0;       // rounds below this one have ended
};

}  // namespace sluice
