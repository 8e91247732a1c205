// OutsideWatch tells what others do to the files of a file system, by fanotify(7). Own events (of this process) are
// left out.
//
// The kernel queues an event before the system call that caused it returns. So who catches up with the queue knows of
// everything that others had finished before: nothing stale is taken for fresh, not even for a moment. There is one
// exception: stores into mapped memory, of which the kernel tells only when the file is closed. And what other machines
// do to a network file system is never told.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "cache/mutex.h"
#include "cache/result.h"
#include "cache/unique_fd.h"
#include "fs/store/file_handle.h"

namespace sluice {

struct OutsideEvent {
  uint64_t mask = 0;     // FAN_*
  FileHandle object;     // what was changed; of names, what they lead or led to. Empty: not told
  FileHandle directory;  // empty: not told
  std::string_view name;
};

class OutsideWatch {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // In the order of the queue, one at a time, on the thread that catches up. Must not block, nor catch up.
    virtual void on_event(const OutsideEvent& event) = 0;
    virtual void on_loss() = 0;  // events were dropped: anything may have changed
    // After some events, on the watch's own thread, where it may block and catch up.
    virtual void settle() = 0;
  };

  // Watches the whole file system that `fd` is on; `with_self`: also what this process does. Errors: EPERM without
  // CAP_SYS_ADMIN, EINVAL (Linux before 5.17), ENODEV, EXDEV, EOPNOTSUPP: not this file system.
  static Result<std::unique_ptr<OutsideWatch>> create(int fd, bool with_self, Listener* listener);
  ~OutsideWatch();

  // Begins to tell on its own. The listener lives until the watch ends.
  void start();
  // Returns when everything that others had finished before the call was told.
  void catch_up();

  uint64_t events() const { return events_.load(std::memory_order_relaxed); }
  uint64_t losses() const { return losses_.load(std::memory_order_relaxed); }

 private:
  OutsideWatch(UniqueFd queue, UniqueFd wake, bool with_self, Listener* listener);
  void work();
  void rest();
  bool drain();  // true: something was told
  bool tell(const char* events, size_t length) REQUIRES(mutex_);  // true: at least one

  const UniqueFd queue_;
  const UniqueFd wake_;  // eventfd: somebody else caught up, or the end
  const bool with_self_;
  Listener& listener_;
  std::atomic<uint64_t> events_{0};
  std::atomic<uint64_t> losses_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
  Mutex mutex_;  // outermost of those taken by on_event
  std::vector<char> buffer_ GUARDED_BY(mutex_);
};

}  // namespace sluice
