// RootIdentity tells whether a file system that appears at the place of the source, after the source's own has gone, is
// the same one: the proof on which the root is exchanged. A wrong yes would serve, and write to, somebody else's files;
// so what cannot be proven is another one.
//
//   what               ext4, xfs, btrfs     FUSE, network, object stores
//   file system id     of the disk's UUID   none, or as good as none
//   type, and source   ext4, /dev/sdb1      fuse.sshfs, user@host:/dir: what mount(8) shows
//   root directory     inode, birth time    inode
#pragma once

#include <cstdint>
#include <string>

#include "cache/result.h"

namespace sluice {

struct RootIdentity {
  uint64_t magic = 0;
  uint64_t file_system = 0;  // statfs(2)'s f_fsid, 0: it has none
  std::string type;
  std::string source;
  std::string place;  // of the mount's root in the file system
  uint64_t inode = 0;
  int64_t born_seconds = 0;  // 0: not known
  uint32_t born_nanoseconds = 0;
  friend bool operator==(const RootIdentity&, const RootIdentity&) = default;

  // Of what is at this path now. Errors: ENOENT when the kernel does not tell the mount; those of a backing that fails.
  static Result<RootIdentity> at(const std::string& path);
};

}  // namespace sluice
