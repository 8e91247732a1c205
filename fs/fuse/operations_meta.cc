// Names and attributes.
//
// Not here on purpose: access (the kernel checks, by default_permissions), and locks. All programs that use the mount
// are on this host, so the kernel keeps their locks as it does for a local file system: exactly, with deadlocks found,
// pids told, waiting interrupted, and nothing left when a process dies. Forwarded to the backing they would be seen by
// those who bypass us; but the owner there is the gateway, so none of that would hold, and each program that waits
// would cost a thread here.
#include <errno.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "fs/fuse/operations.h"
#include "fs/fuse/reply.h"

namespace sluice {
namespace {

void lookup(fuse_req_t handle, fuse_ino_t parent, const char* name) noexcept {
  Request request(handle);
  request.reply_lookup(request.store().lookup(parent, name));
}

void forget(fuse_req_t handle, fuse_ino_t number, uint64_t references) noexcept {
  Request request(handle);
  request.store().forget(number, references);
  request.reply_none();
}

void forget_multi(fuse_req_t handle, size_t count, fuse_forget_data* forgets) noexcept {
  Request request(handle);
  for (size_t i = 0; i < count; ++i) request.store().forget(forgets[i].ino, forgets[i].nlookup);
  request.reply_none();
}

void getattr(fuse_req_t handle, fuse_ino_t number, fuse_file_info*) noexcept {
  Request request(handle);
  request.reply_attributes(request.store().getattr(number));
}

#ifdef SLUICE_HAS_STATX
void statx(fuse_req_t handle, fuse_ino_t number, int, int mask, fuse_file_info*) noexcept {
  Request request(handle);
  request.reply_statx(request.store().statx(number), static_cast<unsigned>(mask));
}
#endif

SetAttributes set_attributes(const struct stat& values, int mask) {
  SetAttributes changes;
  if (mask & FUSE_SET_ATTR_MODE) changes.mode = values.st_mode & 07777;
  if (mask & FUSE_SET_ATTR_UID) changes.uid = values.st_uid;
  if (mask & FUSE_SET_ATTR_GID) changes.gid = values.st_gid;
  if (mask & FUSE_SET_ATTR_SIZE) changes.size = static_cast<uint64_t>(values.st_size);
  if (mask & FUSE_SET_ATTR_ATIME) changes.atime = values.st_atim;
  if (mask & FUSE_SET_ATTR_MTIME) changes.mtime = values.st_mtim;
  if (mask & FUSE_SET_ATTR_ATIME_NOW) changes.atime = timespec{0, UTIME_NOW};
  if (mask & FUSE_SET_ATTR_MTIME_NOW) changes.mtime = timespec{0, UTIME_NOW};
  return changes;
}

constexpr uid_t kSameOwner = static_cast<uid_t>(-1);
constexpr gid_t kSameGroup = static_cast<gid_t>(-1);

bool is_empty(const SetAttributes& changes) {
  return !changes.mode && !changes.uid && !changes.gid && !changes.size && !changes.atime && !changes.mtime;
}

// chown(-1, -1), which changes the ctime, and set-id bits as every chown. The kernel asks for the same before it writes
// into a set-id file through its cache, allocates in it or copies to it, whoever does; then what follows clears the
// bits.
void change_nothing(Request request, InodeNumber number) {
  SetAttributes changes;
  changes.uid = kSameOwner;
  changes.gid = kSameGroup;
  const auto changed = request.store().setattr(request.caller(), number, changes);
  const bool is_refused = !changed && changed.error().number == EPERM;
  if (is_refused && request.context().writers.has(number))
    return request.reply_attributes(request.store().getattr(number));
  request.reply_attributes(changed);
}

void setattr(fuse_req_t handle, fuse_ino_t number, struct stat* values, int mask, fuse_file_info* info) noexcept {
  Request request(handle);
  SetAttributes changes = set_attributes(*values, mask);
  if (changes.mode) changes.mode = request.allowed_mode(*changes.mode);
  // ftruncate needs no permission but the descriptor's, which may have been given before a chmod.
  if (changes.size && info != nullptr) {
    const auto file = HandleTable<FileHandle>::get(info->fh).file;
    const auto truncated = file->data().truncate(*changes.size, request.set_id_bits());
    if (!truncated) return request.reply_error(truncated.error());
    changes.size.reset();
    if (is_empty(changes)) return request.reply_attributes(request.store().getattr(number));
  }
  if (is_empty(changes)) return change_nothing(std::move(request), number);
  request.reply_attributes(request.store().setattr(request.caller(), number, changes));
}

void readlink(fuse_req_t handle, fuse_ino_t number) noexcept {
  Request request(handle);
  request.reply_readlink(request.store().readlink(number));
}

void mknod(fuse_req_t handle, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) noexcept {
  Request request(handle);
  request.reply_entry(request.store().mknod(request.caller(), parent, name, request.allowed_mode(mode), device));
}

void mkdir(fuse_req_t handle, fuse_ino_t parent, const char* name, mode_t mode) noexcept {
  Request request(handle);
  request.reply_entry(request.store().mkdir(request.caller(), parent, name, request.allowed_mode(mode)));
}

void symlink(fuse_req_t handle, const char* target, fuse_ino_t parent, const char* name) noexcept {
  Request request(handle);
  request.reply_entry(request.store().symlink(request.caller(), parent, name, target));
}

void link(fuse_req_t handle, fuse_ino_t number, fuse_ino_t new_parent, const char* new_name) noexcept {
  Request request(handle);
  request.reply_entry(request.store().link(request.caller(), number, new_parent, new_name));
}

void unlink(fuse_req_t handle, fuse_ino_t parent, const char* name) noexcept {
  Request request(handle);
  request.reply_done(request.store().unlink(request.caller(), parent, name));
}

void rmdir(fuse_req_t handle, fuse_ino_t parent, const char* name) noexcept {
  Request request(handle);
  request.reply_done(request.store().rmdir(request.caller(), parent, name));
}

void rename(fuse_req_t handle, fuse_ino_t parent, const char* name, fuse_ino_t new_parent, const char* new_name,
            unsigned flags) noexcept {
  Request request(handle);
  request.reply_done(request.store().rename(request.caller(), parent, name, new_parent, new_name, flags));
}

void statfs(fuse_req_t handle, fuse_ino_t number) noexcept {
  Request request(handle);
  request.reply_statfs(request.store().statfs(number));
}

void setxattr(fuse_req_t handle, fuse_ino_t number, const char* name, const char* value, size_t size,
              int flags) noexcept {
  Request request(handle);
  request.reply_done(request.store().setxattr(request.caller(), number, name, {value, size}, flags));
}

void getxattr(fuse_req_t handle, fuse_ino_t number, const char* name, size_t size) noexcept {
  Request request(handle);
  request.reply_xattr(request.store().getxattr(number, name), size);
}

// File systems show these to root only. The kernel refuses their values to others, and leaves the names to us.
std::string without_trusted(const std::string& names) {
  std::string shown;
  for (size_t start = 0; start < names.size();) {
    const size_t end = names.find('\0', start) + 1;
    const std::string_view name(names.data() + start, end - start);
    if (!name.starts_with("trusted.")) shown += name;
    start = end;
  }
  return shown;
}

void listxattr(fuse_req_t handle, fuse_ino_t number, size_t size) noexcept {
  Request request(handle);
  auto names = request.store().listxattr(number);
  if (names && request.caller().uid != 0) names = without_trusted(*names);
  request.reply_xattr(names, size);
}

void removexattr(fuse_req_t handle, fuse_ino_t number, const char* name) noexcept {
  Request request(handle);
  request.reply_done(request.store().removexattr(request.caller(), number, name));
}

// The kernel asks for these itself, for who calls ioctl(2) or file_getattr(2); what else programs ask goes no further.
void ioctl(fuse_req_t handle, fuse_ino_t number, unsigned command, void*, fuse_file_info*, unsigned, const void* in,
           size_t in_size, size_t) noexcept {
  Request request(handle);
  Store& store = request.store();
  const std::string_view given(static_cast<const char*>(in), in_size);
  switch (command) {
    case FS_IOC_GETFLAGS: return request.reply_ioctl(store.inode_flags(number, InodeFlagsForm::flags));
    case FS_IOC_FSGETXATTR: return request.reply_ioctl(store.inode_flags(number, InodeFlagsForm::extended));
    case FS_IOC_SETFLAGS:
      return request.reply_ioctl(store.set_inode_flags(request.caller(), number, InodeFlagsForm::flags, given));
    case FS_IOC_FSSETXATTR:
      return request.reply_ioctl(store.set_inode_flags(request.caller(), number, InodeFlagsForm::extended, given));
    default: return request.reply_error({ENOTTY});
  }
}

}  // namespace

void add_meta_operations(fuse_lowlevel_ops& operations) {
  operations.lookup = lookup;
  operations.forget = forget;
  operations.forget_multi = forget_multi;
  operations.getattr = getattr;
#ifdef SLUICE_HAS_STATX
  operations.statx = statx;
#endif
  operations.setattr = setattr;
  operations.readlink = readlink;
  operations.mknod = mknod;
  operations.mkdir = mkdir;
  operations.symlink = symlink;
  operations.link = link;
  operations.unlink = unlink;
  operations.rmdir = rmdir;
  operations.rename = rename;
  operations.statfs = statfs;
  operations.setxattr = setxattr;
  operations.getxattr = getxattr;
  operations.listxattr = listxattr;
  operations.removexattr = removexattr;
  operations.ioctl = ioctl;
}

}  // namespace sluice
