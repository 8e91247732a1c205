// On whose behalf a request runs. The kernel sends uid and gid; the supplementary groups have to be read
// from /proc/PID/status, some 15 us each time, so they are remembered for a moment.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <functional>
#include <vector>

#include "cache/clock.h"
#include "cache/mutex.h"
#include "fs/fuse/libfuse.h"
#include "fs/store/types.h"

namespace sluice {

// Groups of recent callers, in a table of fixed size. A process that changes its groups and keeps its pid, uid and gid
// is seen late by at most kLifetime. Thread-safe; `load` runs without the lock.
class CallerGroups {
 public:
  static constexpr size_t kSlots = 256;
  static constexpr std::chrono::milliseconds kLifetime{500};

  explicit CallerGroups(const Clock* clock) : clock_(clock) {}
  std::vector<gid_t> get(pid_t pid, uid_t uid, gid_t gid, const std::function<std::vector<gid_t>()>& load);

 private:
  struct Slot {
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;
    std::chrono::nanoseconds expires{};  // 0: empty
    std::vector<gid_t> groups;
  };
  const Clock* const clock_;
  Mutex mutex_;  // Leaf lock.
  std::array<Slot, kSlots> slots_ GUARDED_BY(mutex_);
};

// Root needs no groups. A caller that has gone, or lives in another pid namespace, has none.
Caller caller_of(const fuse_ctx& context, CallerGroups& groups);

}  // namespace sluice
