// What is mounted where, from /proc/self/mountinfo. A mount whose gateway died or hangs must still be found and
// removed, so nothing here touches a mount itself: no stat, no open, no realpath beyond the parent of a mountpoint.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse/mount_point.h"

namespace sluice {

// All mounts, in the order of the kernel: later ones lie above earlier ones.
std::vector<MountEntry> read_mounts();

inline bool is_sluice(const MountEntry& mount) {
  return mount.type == "fuse.sluice";
}

// The topmost mount at exactly this path, or nullptr.
const MountEntry* find_mount(const std::vector<MountEntry>& mounts, std::string_view path);

// Whose the FUSE mount is; root's when it is gone. `mountinfo` is the text of the file.
uid_t mount_owner(std::string_view mountinfo, const MountEntry& mount);
uid_t mount_owner(const MountEntry& mount);

// How mountinfo would write `path`: absolute, the parent without symbolic links. When nothing is mounted there and the
// last component is a symbolic link, where it leads. Nothing: the parent does not exist.
std::optional<std::string> mountpoint_path(const std::string& path, const std::vector<MountEntry>& mounts);

}  // namespace sluice
