// What front ends and the store say to each other.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "cache/page_refs.h"

namespace sluice {

// A file number: one per backing inode, given when it is first seen, never reused while the process lives. Outlives
// FUSE's forget while blocks of the file are cached. Attributes show the backing's own inode number instead.
using InodeNumber = uint64_t;
inline constexpr InodeNumber kRootInode = 1;

// On whose behalf an operation runs. Creates, renames and access checks give what this caller would get on the backing.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary; not needed for uid 0
  mode_t umask = 0;
};

struct Entry {
  InodeNumber number = 0;
  struct stat attributes {};
  std::chrono::nanoseconds age{};  // since the backing was asked
};

struct Attributes {
  struct stat values {};
  std::chrono::nanoseconds age{};
};

// Whether a change of attributes gives a file its time of last change, be it the one that it has.
enum class SetsMtime { no, yes };

// What a change of its content does to a file's set-id bits. The kernel keeps them for who has CAP_FSETID, which the
// gateway has not; so it must be told whom it writes for.
enum class SetIdBits { clear, keep };
inline SetIdBits set_id_bits_after_change_by(uid_t uid) {
  return uid == 0 ? SetIdBits::keep : SetIdBits::clear;
}

struct SetAttributes {
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<uint64_t> size;   // the caller must be allowed to write; who has an open file truncates its data
  std::optional<timespec> atime;  // tv_nsec may be UTIME_NOW
  std::optional<timespec> mtime;
};

// Bytes [skip, skip + length) of `pages` are what was read; shorter than asked only at the end of the file.
struct FileSlice {
  PageRefs pages;
  uint64_t skip = 0;
  uint64_t length = 0;
};

}  // namespace sluice
