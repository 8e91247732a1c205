#include "fs/store/root_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <fstream>
#include <sstream>

#include "cache/unique_fd.h"

namespace sluice {
namespace {

// A line of /proc/self/mountinfo: "36 35 98:0 /place /mountpoint rw,noatime master:1 - ext4 /dev/sdb1 rw".
bool fill_in_mount(uint64_t id, RootIdentity& identity) {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    uint64_t line_id = 0;
    std::string skipped;
    if (!(words >> line_id) || line_id != id) continue;
    words >> skipped >> skipped >> identity.place;
    while (words >> skipped && skipped != "-") {
    }
    return static_cast<bool>(words >> identity.type >> identity.source);
  }
  return false;
}

}  // namespace

Result<RootIdentity> RootIdentity::at(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno);
  struct statx attributes {};
  constexpr unsigned kWanted = STATX_INO | STATX_BTIME | STATX_MNT_ID;
  if (::statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, kWanted, &attributes) != 0) return fail(errno);
  struct statfs info {};
  if (::fstatfs(fd.get(), &info) != 0) return fail(errno);
  RootIdentity identity;
  identity.magic = static_cast<uint64_t>(info.f_type);
  static_assert(sizeof(info.f_fsid) == sizeof(identity.file_system));
  ::memcpy(&identity.file_system, &info.f_fsid, sizeof(identity.file_system));
  identity.inode = attributes.stx_ino;
  if ((attributes.stx_mask & STATX_BTIME) != 0) {
    identity.born_seconds = attributes.stx_btime.tv_sec;
    identity.born_nanoseconds = attributes.stx_btime.tv_nsec;
  }
  if ((attributes.stx_mask & STATX_MNT_ID) == 0 || !fill_in_mount(attributes.stx_mnt_id, identity)) return fail(ENOENT);
  return identity;
}

}  // namespace sluice
