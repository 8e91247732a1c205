// Notifier tells the kernel to forget what it caches of a file or a name, on a thread of its own.
//
// Why a thread: the kernel may take locks that the requester of a pending request holds, so a notification from inside
// a handler, or under a lock of ours, can wait for itself. Two kinds, two Notifiers:
//   attributes  the kernel only marks them stale; never waits for us.
//   pages       waits for pages being read and writes dirty ones back: both are requests to us, so the threads
//               that serve must not wait for it, and nobody does. Names too: they wait for requests in the directory.
// The queue is bounded and merges notifications of one file that wait. A notification that finds it full is dropped:
// then the kernel's own timeouts apply.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>

#include "cache/callback.h"
#include "cache/mutex.h"
#include "fs/store/types.h"

namespace sluice {

class Notifier {
 public:
  // `send` runs on the thread of the notifier, no lock held. `name` is empty unless a name is to be forgotten.
  Notifier(uint32_t queue_max, Callback<void(InodeNumber, const std::string& name)> send)
      : queue_max_(queue_max), send_(std::move(send)) {}
  ~Notifier() { stop(); }

  void start();
  // Handles what waits, then ends the thread. Afterwards nothing is sent any more. May be called more than once, and at
  // once.
  void stop();

  // Any thread, any lock held. Never waits.
  void invalidate(InodeNumber number);
  void invalidate_name(InodeNumber directory, const std::string& name);
  // An invalidation of this file is still to be sent, or on its way.
  bool is_waiting(InodeNumber number);
  // The same as `invalidate`, and afterwards `then` on the notifier's thread. Never dropped (one per request in flight
  // bounds them); when stopped, `then` runs inside the call.
  void invalidate_then(InodeNumber number, Callback<void()> then) { invalidate_then(number, {}, std::move(then)); }
  void invalidate_then(InodeNumber number, std::string name, Callback<void()> then);

  uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  struct Item {
    InodeNumber number;
    std::string name;
    Callback<void()> then;  // empty: none
  };
  bool has_room() REQUIRES(mutex_);
  void work();

  const uint32_t queue_max_;
  Callback<void(InodeNumber, const std::string& name)> send_;
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> dropped_{0};
  std::thread thread_;
  std::once_flag joined_;
  Mutex mutex_;  // Leaf lock.
  CondVar changed_;
  std::deque<Item> queue_ GUARDED_BY(mutex_);
  std::unordered_set<InodeNumber> waiting_ GUARDED_BY(mutex_);  // files in queue_ without `then`
  InodeNumber sending_ GUARDED_BY(mutex_) = 0;                  // 0: none
  bool is_open_ GUARDED_BY(mutex_) = true;
};

}  // namespace sluice
