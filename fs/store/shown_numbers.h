// ShownNumbers makes inode numbers unique. Below SOURCE there may be file systems of their own that are not mounted but
// are there: btrfs subvolumes, each of which numbers its files from 256 on; layers of overlayfs. Clients see one file
// system and take files with the same number for links to the same file: rsync -H would copy one of them, twice.
//
// Files of the root's device keep their numbers. Those of another are combined with what statfs(2) calls their file
// system, so that NFS clients find the same number after a restart.
#pragma once

#include <atomic>
#include <cstdint>
#include <unordered_map>

#include "cache/mutex.h"
#include "fs/store/path.h"

namespace sluice {

uint64_t device_of(const Statx& attributes);

class ShownNumbers {
 public:
  // Any thread. `fd` may be O_PATH, of the file with these attributes. The root comes first, and again when it is
  // another one.
  void learn_root(int fd, const Statx& attributes);
  void learn(int fd, const Statx& attributes);

  uint64_t shown(const Statx& attributes) const { return attributes.stx_ino ^ mask_of(device_of(attributes)); }
  // For numbers of that device, which are combined with it by an exclusive or.
  uint64_t mask_of(uint64_t device) const;

 private:
  std::atomic<uint64_t> root_device_{0};
  std::atomic<uint64_t> root_file_system_{0};
  mutable Mutex mutex_;                                              // leaf
  std::unordered_map<uint64_t, uint64_t> masks_ GUARDED_BY(mutex_);  // by device
};

}  // namespace sluice
