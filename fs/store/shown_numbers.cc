#include "fs/store/shown_numbers.h"

#include <sys/vfs.h>
#include <xxhash.h>

#include <bit>

namespace sluice {

uint64_t device_of(const Statx& attributes) {
  return uint64_t{attributes.stx_dev_major} << 32 | attributes.stx_dev_minor;
}

namespace {

// 0: it says nothing.
uint64_t file_system_of(int fd) {
  struct statfs info {};
  static_assert(sizeof info.f_fsid == sizeof(uint64_t));
  return ::fstatfs(fd, &info) == 0 ? std::bit_cast<uint64_t>(info.f_fsid) : 0;
}

uint64_t mask_from(uint64_t name) {
  return ::XXH3_64bits(&name, sizeof name);
}

}  // namespace

void ShownNumbers::learn_root(int fd, const Statx& attributes) {
  root_file_system_ = file_system_of(fd);
  root_device_ = device_of(attributes);
}

void ShownNumbers::learn(int fd, const Statx& attributes) {
  const uint64_t device = device_of(attributes);
  if (device == root_device_.load(std::memory_order_relaxed)) return;
  {
    MutexLock lock(&mutex_);
    if (masks_.contains(device)) return;
  }
  const uint64_t file_system = file_system_of(fd);
  // Layers are all one file system to statfs(2).
  const bool tells = file_system != 0 && file_system != root_file_system_;
  MutexLock lock(&mutex_);
  masks_.emplace(device, mask_from(tells ? file_system : device));
}

uint64_t ShownNumbers::mask_of(uint64_t device) const {
  if (device == root_device_.load(std::memory_order_relaxed)) return 0;
  MutexLock lock(&mutex_);
  const auto known = masks_.find(device);
  return known != masks_.end() ? known->second : mask_from(device);
}

}  // namespace sluice
