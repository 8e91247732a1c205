// The stamp by which a change made behind our back is noticed, and how far it can be trusted.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>

#include "cache/clock.h"
#include "cache/result.h"

struct statx;

namespace sluice {

// (st_dev is not stable over mounts, so it is left out.)
struct Stamp {
  uint64_t ino = 0;
  int64_t birth_ns = 0;  // 0 where the file system has none
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

Stamp stamp_of(const struct ::statx& attributes);
// Stamp of an open file, also of an O_PATH descriptor. Errors: those of statx(2).
Result<Stamp> read_stamp(int fd);
// The same as far as this machine knows: never waits for a server.
Result<Stamp> read_known_stamp(int fd);
Result<struct ::statx> read_statx(int fd);
struct stat to_stat(const struct ::statx& attributes);

// How a file system tells the time of changes.
struct StampClock {
  // Changes closer together may bear the same time, however finely it is written. 0: not those after a look.
  std::chrono::nanoseconds tick{};
  // Of a server, perhaps: it may differ from ours, and what it calls ctime may be mtime.
  bool is_foreign = false;
};

// Multigrain timestamps (ext4, xfs, btrfs, tmpfs since Linux 6.13) tick with every look, those of other local file
// systems with the timer. Of all else we know nothing: 20 ms is more than the ticks of servers (Linux 10, Windows
// 15.6). `fd` is any descriptor on the file system.
StampClock stamp_clock(int fd);

// How long after `time_ns`, which the clock gave to a change, it may give the same time to another. The last digit that
// is not 0 shows in which units the times are kept; whole seconds may be units of 2 s. A time that shows a finer unit
// cannot come from a clock that has none, so this holds whatever else is on the file system.
std::chrono::nanoseconds grain_of(const StampClock& clock, int64_t time_ns);

struct LookTimes {
  std::chrono::nanoseconds since_first{};  // that showed this stamp; by the monotonic clock
  std::chrono::nanoseconds realtime{};     // at the end of this one
};

// False when a change after the look could leave the stamp as it is: because the stamp is too recent for the clock's
// grain. A stamp that we have seen for longer than that is not, whatever a server's clock says; unseen, it must be
// older than 2 s there, by which servers' clocks may differ from ours.
bool is_trustworthy(const Stamp& stamp, const LookTimes& look, const StampClock& clock);

}  // namespace sluice
