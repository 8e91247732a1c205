// Opens: by number, by creation, by path.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "fs/store/directory.h"
#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

constexpr mode_t kOwnerMayReadAndWrite = S_IRUSR | S_IWUSR;

bool for_writing(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY;
}

int access_needed(int flags) {
  int mode = 0;
  if ((flags & O_ACCMODE) != O_WRONLY) mode |= R_OK;
  if (for_writing(flags) || (flags & O_TRUNC) != 0) mode |= W_OK;
  return mode;
}

}  // namespace

Result<OpenedData> StoreImpl::open_data(const InodeRef& inode, int fd, bool for_writing) {
  bool made = false;
  std::shared_ptr<FileData> data = table_.make_data(inode, &made);
  const bool changed = TRY(with_spare_descriptors([&] { return data->open(fd, for_writing); }));
  OpenedData opened(&open_files_, inode->number, data, for_writing);
  if (!made && changed) tell_outside_change(inode->number);
  return opened;
}

Result<std::unique_ptr<OpenFile>> StoreImpl::open_file(const Caller& caller, InodeNumber number, int flags) {
  if (for_writing(flags) || (flags & O_TRUNC) != 0) TRY(check_writable());
  const Subject file = TRY(subject(number));
  if (!S_ISREG(TRY(read_statx(file.get())).stx_mode)) return fail(EINVAL);
  // The data's descriptors belong to the gateway and are shared: who may have them is decided here.
  TRY(check_access(caller, file.get(), access_needed(flags)));
  if ((flags & O_TRUNC) != 0) TRY(resize(file, 0, set_id_bits_after_change_by(caller.uid)));
  return open_subject(file, flags);
}

Result<std::unique_ptr<OpenFile>> StoreImpl::open_subject(const Subject& file, int flags) {
  OpenedData data = TRY(open_data(file.inode, file.get(), for_writing(flags)));
  DescriptorPin pin(&descriptors_, file.inode->number, file.fd);
  return make_open_file({file.inode, std::move(data), flags & ~(O_CREAT | O_EXCL | O_TRUNC), std::move(pin)},
                        readahead());
}

Result<Store::Created> StoreImpl::create(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode,
                                         int flags) {
  TRY(check_writable());
  const EntryName entry = TRY(EntryName::from(name));
  const Subject directory = TRY(subject(parent));
  // Without O_EXCL an existing file is opened. It may come and go between the two looks.
  for (int attempts_left = 10;; --attempts_left) {
    auto created = create_new(caller, directory, entry, mode, flags);
    if (created || created.error().number != EEXIST || (flags & O_EXCL) != 0) return created;
    auto existing = look(directory, entry);
    if (existing) {
      auto file = open_file(caller, existing->number, flags);
      if (file) {
        if ((flags & O_TRUNC) != 0) existing->attributes = TRY(getattr(existing->number));
        return Created{*existing, std::move(*file)};
      }
      forget(existing->number, 1);
      return tl::unexpected(file.error());
    }
    if (existing.error().number != ENOENT || attempts_left == 0) return tl::unexpected(existing.error());
  }
}

Result<Store::Created> StoreImpl::create_new(const Caller& caller, const Subject& directory, const EntryName& name,
                                             mode_t mode, int flags) {
  // The data are opened through /proc, as the gateway. Where that is an ordinary user a mode without u+rw would forbid
  // it: such a file gets its true mode only afterwards.
  const mode_t lent_mode = ::geteuid() == 0 ? 0 : kOwnerMayReadAndWrite & ~mode;
  auto fd = with_spare_descriptors([&]() -> Result<UniqueFd> {
    const ActAs identity(caller, ActAs::to_create(mode));
    TRY(identity.ready());
    constexpr int kFlags = O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    UniqueFd created(::openat(directory.get(), name.c_str(), kFlags, mode | lent_mode));
    if (!created) return fail(errno);
    return created;
  });
  if (!fd) return tl::unexpected(fd.error());
  Statx attributes = TRY(read_statx(fd->get()));
  const InodeRef inode = table_.intern({attributes, handle_of(fd->get()), directory.inode, name.view()}, 1);
  const Subject file{inode, std::make_shared<const UniqueFd>(std::move(*fd))};
  auto opened = open_subject(file, flags);
  if (opened && lent_mode != 0) {
    const mode_t wanted = attributes.stx_mode & 07777 & ~lent_mode;
    const auto changed = change_through_data(&file, nullptr, [&]() -> Result<void> {
      if (::fchmod(file.get(), wanted) != 0) return fail(errno);
      attributes = TRY(read_statx(file.get()));
      return {};
    });
    if (!changed) opened = tl::unexpected(changed.error());
  }
  if (!opened) {
    forget(inode->number, 1);
    return tl::unexpected(opened.error());
  }
  return Created{{inode->number, to_stat(attributes)}, std::move(*opened)};
}

Result<std::unique_ptr<OpenDirectory>> StoreImpl::open_directory(const Caller& caller, InodeNumber number) {
  const Subject directory = TRY(subject(number));
  auto fd = with_spare_descriptors([&]() -> Result<UniqueFd> {
    const ActAs identity(caller);
    TRY(identity.ready());
    UniqueFd opened(::open(ProcPath(directory.get()).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!opened) return fail(errno);
    return opened;
  });
  if (!fd) return tl::unexpected(fd.error());
  DescriptorPin pin(&descriptors_, directory.inode->number, directory.fd);
  return make_open_directory({directory.inode, std::move(pin), std::move(*fd)});
}

// ---- by path ----

Result<Store::OpenedPath> StoreImpl::open_path(const Caller& caller, std::string_view path) {
  const ActAs identity(caller);
  TRY(identity.ready());
  return open_path_now(path, 0);
}

Result<Store::OpenedPath> StoreImpl::try_open_path(const Caller& caller, std::string_view path) {
  if (!root_.is_local()) return fail(EAGAIN);
  TRY(stay_as(caller));
  return open_path_now(path, RESOLVE_CACHED);
}

// As the caller throughout, who is the one to read what is opened here. Warm it costs openat2, statx, faccessat2,
// close, and the statx of the data's open.
Result<Store::OpenedPath> StoreImpl::open_path_now(std::string_view path, uint64_t resolve) {
  if (path.find('\0') != path.npos) return fail(EINVAL);
  const std::string text(path.empty() ? "." : path);
  const UniqueFd fd = TRY(with_spare_descriptors([&] { return root_.open_path(text.c_str(), O_PATH, resolve); }));
  const Statx attributes = TRY(read_statx(fd.get()));
  OpenedPath opened;
  opened.attributes = to_stat(attributes);
  if (!S_ISREG(attributes.stx_mode)) return opened;
  if (::syscall(SYS_faccessat2, fd.get(), "", R_OK, AT_EACCESS | AT_EMPTY_PATH) != 0) return fail(errno);
  InodeRef inode;
  if (has_birth_time(attributes) || !root_.has_handles()) inode = table_.find_proven({attributes, {}, nullptr, ""}, 0);
  if (inode == nullptr) inode = table_.intern({attributes, handle_of(fd.get()), nullptr, ""}, 0);
  if (!open_files_.has_room(inode->number, options_.path_files_max)) return fail(EMFILE);
  OpenedData data = TRY(open_data(inode, fd.get(), false));
  opened.file = make_open_file({std::move(inode), std::move(data), O_RDONLY, {}}, readahead());
  return opened;
}

}  // namespace sluice
