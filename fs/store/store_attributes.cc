// What reads and changes one inode: attributes, permissions, links' targets, extended attributes.
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

Result<void> apply_owner(int fd, const SetAttributes& changes) {
  if (!changes.uid && !changes.gid) return {};
  const uid_t uid = changes.uid.value_or(static_cast<uid_t>(-1));
  const gid_t gid = changes.gid.value_or(static_cast<gid_t>(-1));
  if (::fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) return fail(errno);
  return {};
}

Result<void> apply_times(int fd, const SetAttributes& changes) {
  if (!changes.atime && !changes.mtime) return {};
  const timespec omit{0, UTIME_OMIT};
  const timespec times[2] = {changes.atime.value_or(omit), changes.mtime.value_or(omit)};
  if (::utimensat(fd, "", times, AT_EMPTY_PATH) != 0) return fail(errno);
  return {};
}

// The owner first: changing it clears set-id bits that the new mode may want.
Result<void> apply_attributes(const Caller& caller, int fd, const SetAttributes& changes) {
  const bool set_id = changes.uid || changes.gid || (changes.mode && (*changes.mode & (S_ISUID | S_ISGID)) != 0);
  const ActAs identity(caller, set_id ? ActAs::kSetId : 0);
  TRY(identity.ready());
  TRY(apply_owner(fd, changes));
  if (changes.mode && ::chmod(ProcPath(fd).c_str(), *changes.mode & 07777) != 0) return fail(errno);
  return apply_times(fd, changes);
}

Result<void> check_resizable(int fd, uint64_t size) {
  const Statx attributes = TRY(read_statx(fd));
  if (S_ISDIR(attributes.stx_mode)) return fail(EISDIR);
  if (!S_ISREG(attributes.stx_mode)) return fail(EINVAL);
  if (size > INT64_MAX) return fail(EFBIG);
  return {};
}

// Calls get(buffer, size) with larger buffers until the value fits.
template <typename Get>
Result<std::string> read_whole(Get get) {
  std::string value(1024, '\0');
  for (;;) {
    const ssize_t length = get(value.data(), value.size());
    if (length >= 0) {
      value.resize(static_cast<size_t>(length));
      return value;
    }
    if (errno != ERANGE) return fail(errno);
    const ssize_t needed = get(nullptr, 0);
    if (needed < 0) return fail(errno);
    value.resize(std::max(static_cast<size_t>(needed), value.size() + 1));
  }
}

Result<std::string> read_target(int fd) {
  std::string target(PATH_MAX, '\0');
  for (;;) {
    const ssize_t length = ::readlinkat(fd, "", target.data(), target.size());
    if (length < 0) return fail(errno == ENOENT ? EINVAL : errno);  // ENOENT: not a link
    if (static_cast<size_t>(length) < target.size()) {
      target.resize(static_cast<size_t>(length));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

// The capabilities behind these names stay with a thread that acts for somebody.
Result<void> check_xattr_allowed(const Caller& caller, std::string_view name) {
  const bool privileged = name.starts_with("trusted.") || name.starts_with("security.");
  if (privileged && caller.uid != 0 && ::geteuid() == 0) return fail(EPERM);
  return {};
}

unsigned xattr_needs(std::string_view name) {
  return name == "system.posix_acl_access" ? ActAs::kSetId : 0;
}

}  // namespace

Result<Attributes> StoreImpl::setattr(const Caller& caller, InodeNumber number, const SetAttributes& changes) {
  const Subject file = TRY(subject(number));
  const bool attributes = changes.mode || changes.uid || changes.gid || changes.atime || changes.mtime;
  if (attributes || changes.size) TRY(check_writable());
  if (changes.size) {
    TRY(check_resizable(file.get(), *changes.size));
    TRY(check_access(caller, file.get(), W_OK));
    TRY(resize(file, *changes.size, set_id_bits_after_change_by(caller.uid)));
  }
  if (attributes) {
    TRY(change_through_data(
        &file, nullptr, [&] { return apply_attributes(caller, file.get(), changes); },
        changes.mtime ? SetsMtime::yes : SetsMtime::no));
  }
  return Attributes{.values = to_stat(shown(file.inode, TRY(read_statx(file.get()))))};
}

Result<void> StoreImpl::resize(const Subject& file, uint64_t size, SetIdBits set_id) {
  const OpenedData data = TRY(open_data(file.inode, file.get(), O_WRONLY));
  return data->truncate(size, set_id);
}

Result<void> StoreImpl::check_access(const Caller& caller, int fd, int mode) const {
  const ActAs identity(caller);
  TRY(identity.ready());
  if (::syscall(SYS_faccessat2, fd, "", mode, AT_EACCESS | AT_EMPTY_PATH) != 0) return fail(errno);
  return {};
}

Result<void> StoreImpl::access(const Caller& caller, InodeNumber number, int mode) {
  if (is_known_to_permit(caller, number, mode)) return {};
  const Look look = metadata_.look({change_key(number)});
  const Subject file = TRY(subject(number));
  if ((mode & W_OK) != 0 && options_.read_only) {
    const mode_t type = TRY(read_statx(file.get())).stx_mode & S_IFMT;
    if (type == S_IFREG || type == S_IFDIR || type == S_IFLNK) return fail(EROFS);
  }
  TRY(check_access(caller, file.get(), mode));
  learn_grant(caller, number, mode, look);
  return {};
}

Result<void> StoreImpl::sync(InodeNumber number) {
  const Subject file = TRY(subject(number));
  TRY(context_.admit(BackingUse::change));
  if (const auto data = table_.data(file.inode); data != nullptr && data->is_dirty()) TRY(data->write_back());
  const UniqueFd opened(::open(ProcPath(file.get()).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  // Who is not root may not open all that is his: its mode may just have been taken from it.
  if (!opened && errno == EACCES) return sync_file_system();
  if (!opened || ::fsync(opened.get()) != 0) return fail(errno);
  return {};
}

Result<void> StoreImpl::sync_file_system() {
  act_as_gateway();
  TRY(context_.admit(BackingUse::change));
  const UniqueFd opened(::open(ProcPath(root_.fd()).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened || ::syncfs(opened.get()) != 0) return fail(errno);
  return {};
}

Result<std::string> StoreImpl::readlink(InodeNumber number) {
  return text_of({MetadataKind::target, number}, [](const Subject& file) { return read_target(file.get()); });
}

// What is known under the key, else what `read` says. That there is no such attribute is an answer too.
Result<std::string> StoreImpl::text_of(const MetadataKey& key,
                                       Callback<Result<std::string>(const Subject& file)> read) {
  if (const auto found = known(key, options_.attr_timeout)) {
    if (const Error* error = std::get_if<Error>(&found->value)) return tl::unexpected(*error);
    return std::get<std::string>(found->value);
  }
  const Look look = metadata_.look({change_key(key.number)});
  const Subject file = TRY(subject(key.number));
  Result<std::string> text = read(file);
  if (text && text->size() <= metadata_.value_bytes_max()) {
    metadata_.insert(key, *text, look);
  } else if (!text && (text.error().number == ENODATA || text.error().number == EOPNOTSUPP)) {
    metadata_.insert(key, text.error(), look);
  }
  return text;
}

Result<struct statvfs> StoreImpl::statfs(InodeNumber number) {
  const Subject file = TRY(subject(number));
  struct statvfs info {};
  if (::fstatvfs(file.get(), &info) != 0) return fail(errno);
  if (options_.read_only) info.f_flag |= ST_RDONLY;
  return info;
}

// ---- extended attributes: the way through /proc ends at a symbolic link itself, not at what it names ----

Result<std::string> StoreImpl::getxattr(InodeNumber number, const char* name) {
  return text_of({MetadataKind::xattr, number, name}, [name](const Subject& file) {
    const ProcPath path(file.get());
    return read_whole([&](char* value, size_t size) { return ::getxattr(path.c_str(), name, value, size); });
  });
}

Result<std::string> StoreImpl::listxattr(InodeNumber number) {
  return text_of({MetadataKind::xattr, number}, [](const Subject& file) {
    const ProcPath path(file.get());
    return read_whole([&](char* names, size_t size) { return ::listxattr(path.c_str(), names, size); });
  });
}

Result<void> StoreImpl::setxattr(const Caller& caller, InodeNumber number, const char* name, std::string_view value,
                                 int flags) {
  TRY(check_writable());
  TRY(check_xattr_allowed(caller, name));
  const Subject file = TRY(subject(number));
  const ProcPath path(file.get());
  // A write takes it away; one that was made before must not do so later.
  if (std::string_view(name) == "security.capability") TRY(write_back(file.inode));
  return change_through_data(&file, nullptr, [&]() -> Result<void> {
    const ActAs identity(caller, xattr_needs(name));
    TRY(identity.ready());
    if (::setxattr(path.c_str(), name, value.data(), value.size(), flags) != 0) return fail(errno);
    return {};
  });
}

Result<void> StoreImpl::removexattr(const Caller& caller, InodeNumber number, const char* name) {
  TRY(check_writable());
  TRY(check_xattr_allowed(caller, name));
  const Subject file = TRY(subject(number));
  const ProcPath path(file.get());
  return change_through_data(&file, nullptr, [&]() -> Result<void> {
    const ActAs identity(caller, xattr_needs(name));
    TRY(identity.ready());
    if (::removexattr(path.c_str(), name) != 0) return fail(errno);
    return {};
  });
}

}  // namespace sluice
