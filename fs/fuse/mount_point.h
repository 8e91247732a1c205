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

  // Success also when it is gone already. `lazily`: files still open do not prevent it.
  // Errors: EBUSY (in use, or covered by another mount), EPERM.
  Result<void> unmount(bool lazily) const;

  // Who waits in the mount gets an error, now. Errors: ENOENT where the fusectl file system is not mounted.
  Result<void> abort_connection() const;

 private:
  explicit MountPoint(MountEntry entry) : entry_(std::move(entry)) {}
  const MountEntry entry_;
};

}  // namespace sluice
