// Finds our mount in mountinfo and takes it away. Never looks at the mount itself: a file system that asks
// itself can wait for ever.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/result.h"

namespace sluice {

struct MountEntry {  // a line of /proc/self/mountinfo
  uint64_t id = 0;
  std::string device;  // "major:minor"
  std::string path;    // unescaped
  std::string type;    // "fuse.sluice"
  friend bool operator==(const MountEntry&, const MountEntry&) = default;
};

// Lines it cannot read are left out.
std::vector<MountEntry> parse_mountinfo(std::string_view text);

class MountPoint {
 public:
  // The topmost mount at `path`, which was just made. Errors: ENOENT.
  static Result<MountPoint> find(const std::string& path);

  // lazily: files still open do not prevent it. by_force: the same, and who waits in the mount gets an error, now (but
  // for users who are not root: see abort_connection).
  enum class Manner { if_unused, lazily, by_force };
  // Success also when it is gone already. Errors: EBUSY (in use, or covered by another mount), EPERM.
  Result<void> unmount(Manner manner) const;

  // Who waits in the mount gets an error, now. Only while the connection lives: the kernel knows it by a number, which
  // goes to another mount afterwards. Errors: ENOENT where the fusectl file system is not mounted.
  Result<void> abort_connection() const;

 private:
  explicit MountPoint(MountEntry entry) : entry_(std::move(entry)) {}
  const MountEntry entry_;
};

}  // namespace sluice
