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
Result<struct ::statx> read_statx(int fd);
struct stat to_stat(const struct ::statx& attributes);

// How long two changes may bear the same ctime: 0 where the kernel gives every change after a look a new one
// (multigrain timestamps: ext4, xfs, btrfs, tmpfs since Linux 6.13), 10 ms for other local file systems (the timer
// tick), 2 s elsewhere. `fd` is any descriptor on the file system.
std::chrono::nanoseconds timestamp_grain(int fd);

// False when the stamp's ctime or mtime is so recent, as of `looked_at` (realtime), that a later change could bear the
// same one.
bool is_trustworthy(const Stamp& stamp, std::chrono::nanoseconds looked_at, std::chrono::nanoseconds grain);

}  // namespace sluice
