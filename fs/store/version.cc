#include "fs/store/version.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include <algorithm>

namespace sluice {
namespace {

constexpr std::chrono::nanoseconds kWholeSeconds = std::chrono::seconds(2);  // FAT counts in two of them
constexpr std::chrono::nanoseconds kClocksDiffer = std::chrono::seconds(2);

// Times of 1677 to 2262; others, which a file can be given, are as the nearest of these.
int64_t nanoseconds_of(const statx_timestamp& time) {
  int64_t nanoseconds = 0;
  const bool overflows = __builtin_mul_overflow(time.tv_sec, int64_t{1'000'000'000}, &nanoseconds) ||
                         __builtin_add_overflow(nanoseconds, int64_t{time.tv_nsec}, &nanoseconds);
  if (overflows) return time.tv_sec < 0 ? INT64_MIN : INT64_MAX;
  return nanoseconds;
}
timespec timespec_of(const statx_timestamp& time) {
  return {.tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec};
}

Result<struct ::statx> statx_with(int fd, int sync) {
  struct ::statx attributes {};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT | sync, STATX_BASIC_STATS | STATX_BTIME, &attributes) != 0)
    return fail(errno);
  return attributes;
}

bool kernel_at_least(int major, int minor) {
  utsname name{};
  int found_major = 0;
  int found_minor = 0;
  if (::uname(&name) != 0 || ::sscanf(name.release, "%d.%d", &found_major, &found_minor) != 2) return false;
  return found_major > major || (found_major == major && found_minor >= minor);
}

}  // namespace

Stamp stamp_of(const struct ::statx& attributes) {
  return {.ino = attributes.stx_ino,
          .birth_ns = (attributes.stx_mask & STATX_BTIME) != 0 ? nanoseconds_of(attributes.stx_btime) : 0,
          .size = attributes.stx_size,
          .mtime_ns = nanoseconds_of(attributes.stx_mtime),
          .ctime_ns = nanoseconds_of(attributes.stx_ctime)};
}

Result<struct ::statx> read_statx(int fd) {
  return statx_with(fd, AT_STATX_SYNC_AS_STAT);
}

Result<Stamp> read_stamp(int fd) {
  return stamp_of(TRY(read_statx(fd)));
}

Result<Stamp> read_known_stamp(int fd) {
  return stamp_of(TRY(statx_with(fd, AT_STATX_DONT_SYNC)));
}

struct stat to_stat(const struct ::statx& from) {
  struct stat to {};
  to.st_dev = ::makedev(from.stx_dev_major, from.stx_dev_minor);
  to.st_ino = from.stx_ino;
  to.st_mode = from.stx_mode;
  to.st_nlink = from.stx_nlink;
  to.st_uid = from.stx_uid;
  to.st_gid = from.stx_gid;
  to.st_rdev = ::makedev(from.stx_rdev_major, from.stx_rdev_minor);
  to.st_size = static_cast<off_t>(from.stx_size);
  to.st_blksize = from.stx_blksize;
  to.st_blocks = static_cast<blkcnt_t>(from.stx_blocks);
  to.st_atim = timespec_of(from.stx_atime);
  to.st_mtim = timespec_of(from.stx_mtime);
  to.st_ctim = timespec_of(from.stx_ctime);
  return to;
}

StampClock stamp_clock(int fd) {
  using namespace std::chrono_literals;
  constexpr StampClock kForeign{.tick = 20ms, .is_foreign = true};
  struct statfs info {};
  if (::fstatfs(fd, &info) != 0) return kForeign;
  switch (static_cast<unsigned long>(info.f_type)) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC: return {.tick = kernel_at_least(6, 13) ? 0ms : 10ms};
    case F2FS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC: return {.tick = 10ms};
    default: return kForeign;
  }
}

std::chrono::nanoseconds grain_of(const StampClock& clock, int64_t time_ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  if (time_ns % kSecond == 0) return kWholeSeconds;
  int64_t unit = 1;
  while (time_ns % (unit * 10) == 0) unit *= 10;
  if (unit == 1) return clock.tick;
  return std::max(clock.tick, std::chrono::nanoseconds(unit));
}

bool is_trustworthy(const Stamp& stamp, const LookTimes& look, const StampClock& clock) {
  const int64_t changed_ns = clock.is_foreign ? std::max(stamp.mtime_ns, stamp.ctime_ns) : stamp.ctime_ns;
  const std::chrono::nanoseconds grain = grain_of(clock, changed_ns);
  if (grain.count() == 0 || look.since_first > grain) return true;
  const std::chrono::nanoseconds age = look.realtime - std::chrono::nanoseconds(changed_ns);
  return age > (clock.is_foreign ? std::max(grain, kClocksDiffer) : grain);
}

}  // namespace sluice
