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

int64_t nanoseconds_of(const statx_timestamp& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}
timespec timespec_of(const statx_timestamp& time) {
  return {.tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec};
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
  struct ::statx attributes {};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, &attributes) != 0)
    return fail(errno);
  return attributes;
}

Result<Stamp> read_stamp(int fd) {
  return stamp_of(TRY(read_statx(fd)));
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

std::chrono::nanoseconds timestamp_grain(int fd) {
  using namespace std::chrono_literals;
  struct statfs info {};
  if (::fstatfs(fd, &info) != 0) return 2s;
  switch (static_cast<unsigned long>(info.f_type)) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC: return kernel_at_least(6, 13) ? 0ns : 10ms;
    case F2FS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC: return 10ms;
    default: return 2s;
  }
}

bool is_trustworthy(const Stamp& stamp, std::chrono::nanoseconds looked_at, std::chrono::nanoseconds grain) {
  if (grain.count() == 0) return true;
  const int64_t youngest = std::max(stamp.mtime_ns, stamp.ctime_ns);
  return youngest + grain.count() < looked_at.count();
}

}  // namespace sluice
