#include "fs/store/root.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#ifndef MS_PRIVATE
#define MS_PRIVATE (1 << 18)  // <sys/mount.h> and <linux/mount.h> cannot be included together
#endif

namespace sluice {
namespace {

constexpr uint64_t kStayInside = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;

// Their handles last and their caches are true. Not here on purpose: FUSE (handles work only while the kernel remembers
// the inode), FAT (the same), everything behind a network.
constexpr unsigned long kLocalFileSystems[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,      BTRFS_SUPER_MAGIC,
                                               TMPFS_MAGIC,      F2FS_SUPER_MAGIC,     OVERLAYFS_SUPER_MAGIC,
                                               SQUASHFS_MAGIC,   EROFS_SUPER_MAGIC_V1, 0xca451a4e /* bcachefs */,
                                               0x2fc12fc1 /* zfs */};

Result<UniqueFd> clone_mount(int directory, bool read_only) {
  UniqueFd fd(
      static_cast<int>(::syscall(SYS_open_tree, directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!fd) return fail(errno);
  struct mount_attr attributes {};
  attributes.propagation = MS_PRIVATE;  // or mounts made below the source later could appear here as well
  if (read_only) attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::syscall(SYS_mount_setattr, fd.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) != 0)
    return fail(errno);
  return fd;
}

Result<UniqueFd> open_at(int directory, const char* path, int flags) {
  UniqueFd fd(::openat(directory, path, flags | O_CLOEXEC));
  if (!fd) return fail(errno);
  return fd;
}

unsigned long file_system_of(int fd) {
  struct statfs info {};
  return ::fstatfs(fd, &info) == 0 ? static_cast<unsigned long>(info.f_type) : 0;
}

}  // namespace

Result<Root> Root::open(const RootOptions& options) {
  Root root;
  // Also says what is wrong with the source in the words of open(2).
  root.path_ = TRY(open_at(AT_FDCWD, options.source.c_str(), O_PATH | O_DIRECTORY));
  if (options.clone) {
    if (auto clone = clone_mount(root.fd(), options.read_only)) {
      root.path_ = std::move(*clone);
      root.is_clone_ = true;
    }
  }
  const unsigned long type = file_system_of(root.fd());
  root.is_local_ =
      std::find(std::begin(kLocalFileSystems), std::end(kLocalFileSystems), type) != std::end(kLocalFileSystems);
  root.may_buffer_direct_io_ = type == BTRFS_SUPER_MAGIC || type == F2FS_SUPER_MAGIC;
  if (root.is_clone_ && root.is_local_ && options.file_handles) {
    const FileHandle handle = FileHandle::of(root.fd());
    auto mount = open_at(root.fd(), ".", O_RDONLY | O_DIRECTORY);
    if (mount && !handle.empty() && handle.open(mount->get())) {
      root.mount_ = std::move(*mount);
      root.has_handles_ = true;
    }
  }
  return root;
}

Result<void> Root::exchange(const Root& other) const {
  if (other.is_clone_ != is_clone_ || other.has_handles_ != has_handles_ || other.is_local_ != is_local_) {
    errno = EXDEV;
    return fail(EXDEV);
  }
  if (has_handles_ && ::dup3(other.mount_.get(), mount_.get(), O_CLOEXEC) < 0) return fail(errno);
  if (::dup3(other.path_.get(), path_.get(), O_CLOEXEC) < 0) return fail(errno);
  return {};
}

Result<UniqueFd> Root::open_path(const char* path, int flags, uint64_t resolve) const {
  return open_beneath(fd(), path, flags, kStayInside | resolve | (is_clone_ ? 0 : RESOLVE_NO_XDEV));
}

Result<UniqueFd> Root::open_long_path(const std::string& path, int flags, uint64_t resolve) const {
  if (path.size() < PATH_MAX) return open_path(path.c_str(), flags, resolve);
  const uint64_t stay = kStayInside | resolve | (is_clone_ ? 0 : RESOLVE_NO_XDEV);
  UniqueFd directory;
  size_t start = 0;
  while (path.size() - start >= PATH_MAX) {
    const size_t slash = path.rfind('/', start + PATH_MAX - 1);
    if (slash == path.npos || slash <= start) return fail(ENAMETOOLONG);
    const int from = directory ? directory.get() : fd();
    directory = TRY(open_beneath(from, path.substr(start, slash - start).c_str(), O_PATH | O_DIRECTORY, stay));
    start = slash + 1;
  }
  return open_beneath(directory.get(), path.c_str() + start, flags, stay);
}

Result<UniqueFd> Root::open_entry(int directory, const char* name, int flags) const {
  return open_beneath(directory, name, flags | O_NOFOLLOW, kStayInside | (is_clone_ ? 0 : RESOLVE_NO_XDEV));
}

Result<Statx> Root::statx_entry(int directory, const char* name) const {
  auto attributes = statx_at(directory, name);
  if (attributes && !is_clone_ && (attributes->stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return fail(EXDEV);
  return attributes;
}

}  // namespace sluice
