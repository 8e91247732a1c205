// Names and ways to files that cannot leave where they start.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string_view>

#include "cache/result.h"
#include "cache/unique_fd.h"

namespace sluice {

using Statx = struct ::statx;

// The name of one directory entry: bytes without '/' and NUL.
class EntryName {
 public:
  // Errors: ENOENT (empty), ENAMETOOLONG (over 255 bytes), EINVAL.
  static Result<EntryName> from(std::string_view name);
  const char* c_str() const { return text_; }
  std::string_view view() const { return {text_, length_}; }

 private:
  size_t length_ = 0;
  char text_[256];
};

// "/proc/self/fd/N": the way to a file behind an O_PATH descriptor for calls that take no descriptor, and the way to
// open it anew. Leads to a symbolic link itself when the descriptor is one.
class ProcPath {
 public:
  explicit ProcPath(int fd);
  const char* c_str() const { return text_; }

 private:
  char text_[32];
};

// openat2(2). `resolve` has RESOLVE_* flags. Errors: EXDEV when the way leads out; EAGAIN only with RESOLVE_CACHED.
Result<UniqueFd> open_beneath(int directory, const char* path, int flags, uint64_t resolve);

// Attributes of a directory's entry itself, links not followed, with birth time where there is one.
Result<Statx> statx_at(int directory, const char* name);

}  // namespace sluice
