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
#include "fs/store/file_data_impl.h"
#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

constexpr mode_t kOwnerMayReadAndWrite = S_IRUSR | S_IWUSR;

bool for_writing(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY;
}
Access access_by(int flags) {
  if (!for_writing(flags)) return Access::read;
  return (flags & O_ACCMODE) == O_WRONLY ? Access::write : Access::read_write;
}
bool changes_content(int flags) {
  return for_writing(flags) || (flags & O_TRUNC) != 0;
}

// What the owner may read is in the mode: no group and no ACL adds to it or takes from it.
bool is_readable_owner(const Caller& caller, const Statx& attributes) {
  return caller.uid == attributes.stx_uid && (attributes.stx_mode & S_IRUSR) != 0;
}

}  // namespace

int access_needed(int flags) {
  int mode = 0;
  if ((flags & O_ACCMODE) != O_WRONLY) mode |= R_OK;
  if (changes_content(flags)) mode |= W_OK;
  return mode;
}

Result<OpenedData> StoreImpl::open_data(const InodeRef& inode, int fd, int flags) {
  const auto [data, is_new, left] = table_.make_data(inode);
  bool changed = TRY(with_spare_descriptors([&, &data = data] { return data->open(fd, access_by(flags)); }));
  OpenedData opened(&open_files_, inode->number, data, for_writing(flags));
  if (is_new) changed = left && *left != data->backing_stamp();
  if (changed) tell_outside_change(inode->number);
  return opened;
}

Result<std::unique_ptr<OpenFile>> StoreImpl::open_file(const Caller& caller, InodeNumber number, int flags) {
  if (changes_content(flags)) TRY(check_writable());
  if (auto opened = open_known(caller, number, flags)) return opened;
  const Look look = metadata_.look({change_key(number)});
  const Subject file = TRY(subject(number));
  return open_seen(caller, {file, TRY(read_statx(file.get()))}, flags, look);
}

Result<std::unique_ptr<OpenFile>> StoreImpl::open_named(const Caller& caller, InodeNumber number, int flags) {
  const Look look = metadata_.look({change_key(number)});
  auto seen = TRY(confirm_place(number));
  if (!seen) return open_file(caller, number, flags);
  if (changes_content(flags)) TRY(check_writable());
  if (PathFd known = descriptors_.get(number)) seen->file.fd = std::move(known);
  return open_seen(caller, *seen, flags, look);
}

Result<std::unique_ptr<OpenFile>> StoreImpl::open_seen(const Caller& caller, const SeenSubject& seen, int flags,
                                                       const Look& look) {
  const auto& [file, attributes] = seen;
  if (!S_ISREG(attributes.stx_mode)) return fail(EINVAL);
  // The data's descriptors belong to the gateway and are shared: who may have them is decided here.
  const int mode = access_needed(flags);
  if (mode != R_OK || !root_.is_local() || !is_readable_owner(caller, attributes))
    TRY(check_access(caller, file.get(), mode));
  if ((flags & O_TRUNC) != 0) TRY(resize(file, 0, set_id_bits_after_change_by(caller.uid)));
  auto opened = TRY(open_subject(file, flags));
  learn_attributes(file.inode->number, attributes, look);
  learn_grant(caller, file.inode->number, mode, look);
  return opened;
}

Result<std::unique_ptr<OpenFile>> StoreImpl::open_subject(const Subject& file, int flags) {
  OpenedData data = TRY(open_data(file.inode, file.get(), flags));
  DescriptorPin pin(&descriptors_, file.inode->number, file.fd);
  return make_open_file({file.inode, std::move(data), flags & ~(O_CREAT | O_EXCL | O_TRUNC), std::move(pin)},
                        readahead());
}

Result<Store::Created> StoreImpl::create(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode,
                                         int flags) {
  TRY(check_writable());
  const EntryName entry = TRY(EntryName::from(name));
  const Subject directory = TRY(subject(parent));
  const OwnChange change(&metadata_.changes(), {change_key(parent), change_key(parent, name), kAnyCreation});
  // Without O_EXCL an existing file is opened. It may come and go between the two looks.
  for (int attempts_left = 10;; --attempts_left) {
    auto created = create_new(caller, directory, entry, mode, flags);
    if (created || created.error().number != EEXIST || (flags & O_EXCL) != 0) return created;
    auto existing = look(directory, entry);
    if (existing) {
      auto file = open_file(caller, existing->number, flags);
      if (file) {
        if ((flags & O_TRUNC) != 0) existing->attributes = TRY(getattr(existing->number)).values;
        return Created{*existing, std::move(*file)};
      }
      forget(existing->number, 1);
      return tl::unexpected(file.error());
    }
    if (existing.error().number != ENOENT || attempts_left == 0) return tl::unexpected(existing.error());
  }
}

// The data are opened through /proc, as the gateway. Where that is an ordinary user a mode without u+rw would forbid
// it: such a file gets its true mode only afterwards.
mode_t StoreImpl::lent_mode(mode_t mode) {
  return ::geteuid() == 0 ? 0 : kOwnerMayReadAndWrite & ~mode;
}

Result<UniqueFd> StoreImpl::make_file(const Caller& caller, const Subject& directory, const NewFile& file) {
  return with_spare_descriptors([&]() -> Result<UniqueFd> {
    const ActAs identity(caller, ActAs::to_create(file.mode));
    TRY(identity.ready());
    const int flags = file.flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    UniqueFd created(::openat(directory.get(), file.name, flags, file.mode | lent_mode(file.mode)));
    if (!created) return fail(errno);
    return created;
  });
}

Result<Store::Created> StoreImpl::create_new(const Caller& caller, const Subject& directory, const EntryName& name,
                                             mode_t mode, int flags) {
  UniqueFd fd = TRY(make_file(caller, directory, {name.c_str(), O_RDONLY | O_CREAT | O_EXCL, mode}));
  const Statx attributes = TRY(read_statx(fd.get()));
  const InodeRef inode = intern(fd.get(), attributes, 1, directory.inode, name.view());
  return open_new({inode, std::make_shared<const UniqueFd>(std::move(fd))}, attributes, mode, flags);
}

Result<Store::Created> StoreImpl::create_nameless(const Caller& caller, InodeNumber parent, mode_t mode, int flags) {
  TRY(check_writable());
  const Subject directory = TRY(subject(parent));
  const UniqueFd made = TRY(make_file(caller, directory, {".", O_RDWR | O_TMPFILE | (flags & O_EXCL), mode}));
  // O_TMPFILE takes a descriptor for writing. One that is kept would forbid to execute the file when it has a name.
  PathFd fd = TRY(reopen(made.get(), O_RDONLY));
  const Statx attributes = TRY(read_statx(fd->get()));
  const InodeRef inode = intern(fd->get(), attributes, 1);
  table_.set_nameless(inode);
  return open_new({inode, std::move(fd)}, attributes, mode, flags);
}

Result<Store::Created> StoreImpl::open_new(const Subject& file, Statx attributes, mode_t mode, int flags) {
  auto opened = open_subject(file, flags);
  if (opened && lent_mode(mode) != 0) {
    const mode_t wanted = attributes.stx_mode & 07777 & ~lent_mode(mode);
    const auto changed = change_through_data(&file, nullptr, [&]() -> Result<void> {
      if (::fchmod(file.get(), wanted) != 0) return fail(errno);
      attributes = TRY(read_statx(file.get()));
      return {};
    });
    if (!changed) opened = tl::unexpected(changed.error());
  }
  if (!opened) {
    forget(file.inode->number, 1);
    return tl::unexpected(opened.error());
  }
  return Created{{file.inode->number, to_stat(attributes)}, std::move(*opened)};
}

Result<UniqueFd> StoreImpl::open_to_list(const Caller& caller, const Subject& directory) {
  return with_spare_descriptors([&]() -> Result<UniqueFd> {
    const ActAs identity(caller);
    TRY(identity.ready());
    UniqueFd opened(::open(ProcPath(directory.get()).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!opened) return fail(errno);
    return opened;
  });
}

Result<std::unique_ptr<OpenDirectory>> StoreImpl::open_directory(const Caller& caller, InodeNumber number) {
  OpenDirectoryParts parts;
  if (is_known_grant(caller, number, R_OK, open_age_)) {
    if (const auto listing = known({MetadataKind::listing, number}, open_age_))
      parts.listing = std::get<Listing>(listing->value);
  }
  PathFd fd = descriptors_.get(number);
  if (parts.listing == nullptr) {
    const Look look = metadata_.look({change_key(number)});
    const Subject directory = TRY(subject(number));
    fd = directory.fd;
    parts.fd = TRY(open_to_list(caller, directory));
    learn_grant(caller, number, R_OK, look);
    if (root_.is_local()) parts.listing = listings_.find(number, TRY(read_stamp(parts.fd.get())));
  }
  if (fd != nullptr) parts.pin = DescriptorPin(&descriptors_, number, std::move(fd));
  parts.inode = table_.find(number);
  if (parts.inode != nullptr) parts.number_mask = numbers_.mask_of(parts.inode->identity.device);
  parts.open = [this, caller, number]() -> Result<UniqueFd> { return open_to_list(caller, TRY(subject(number))); };
  if (root_.is_local() || opens_may_know()) parts.listing_bytes_max = listings_.value_bytes_max();
  parts.begin_learning = [this, number](int directory) { return begin_learning(number, directory); };
  return make_open_directory(std::move(parts));
}

OpenDirectoryParts::Learn StoreImpl::begin_learning(InodeNumber number, int fd) {
  const auto stamp = root_.is_local() ? read_stamp(fd) : fail(ENODATA);
  const bool is_proof = stamp && is_trustworthy(*stamp, {.realtime = context_.clock->realtime()}, context_.stamp_clock);
  if (!is_proof && !opens_may_know()) return {};
  return [this, number, fd, stamp, is_proof, look = metadata_.look({change_key(number)})](const Listing& listing) {
    if (opens_may_know()) metadata_.insert({MetadataKind::listing, number}, listing, look);
    if (is_proof && read_stamp(fd) == stamp) listings_.insert(number, *stamp, listing);
  };
}

// ---- by path ----

Result<Store::OpenedPath> StoreImpl::open_path(const Caller& caller, std::string_view path) {
  if (auto opened = open_known_path(caller, path, PathReads::any)) return std::move(*opened);
  const ActAs identity(caller);
  TRY(identity.ready());
  return open_path_now(caller, path, 0, PathReads::any);
}

Result<Store::OpenedPath> StoreImpl::try_open_path(const Caller& caller, std::string_view path) {
  if (auto opened = open_known_path(caller, path, PathReads::resident)) return std::move(*opened);
  if (!root_.is_local()) return fail(EAGAIN);
  TRY(stay_as(caller));
  return open_path_now(caller, path, RESOLVE_CACHED, PathReads::resident);
}

// As the caller throughout, who is the one to read what is opened here. Of what is cached it costs openat2, statx,
// faccessat2 and close.
Result<Store::OpenedPath> StoreImpl::open_path_now(const Caller& caller, std::string_view path, uint64_t resolve,
                                                   PathReads reads) {
  if (path.find('\0') != path.npos) return fail(EINVAL);
  const std::string text(path.empty() ? "." : path);
  const auto go_down = [&](uint64_t more) {
    return with_spare_descriptors([&] { return root_.open_path(text.c_str(), O_PATH, resolve | more); });
  };
  const Look absence = metadata_.look({kAnyCreation, kAnyDirectory});
  // What a path leads to depends on fewer things when there are no links on the way.
  Look look = metadata_.look({kAnyDirectory});
  auto fd = go_down(opens_may_know() ? RESOLVE_NO_SYMLINKS : 0);
  if (!fd && fd.error().number == ELOOP && opens_may_know()) {
    look = metadata_.look({kAnyDirectory, kAnyRemoval});
    fd = go_down(0);
  }
  if (!fd) {
    if (fd.error().number == ENOENT && options_.negative_timeout.count() > 0)
      metadata_.insert({MetadataKind::path, 0, path_key(caller, path)}, fd.error(), absence);
    return tl::unexpected(fd.error());
  }
  const Statx attributes = TRY(read_statx(fd->get()));
  OpenedPath opened = TRY(open_path_fd(*fd, attributes, reads));
  if (opened.file == nullptr || !opens_may_know()) return opened;
  const InodeNumber number = opened.file->inode();
  learn_attributes(number, attributes, look, true);
  metadata_.insert({MetadataKind::path, 0, path_key(caller, path)}, number, look, change_key(number));
  return opened;
}

Result<Store::OpenedPath> StoreImpl::open_path_fd(const UniqueFd& fd, const Statx& attributes, PathReads reads) {
  OpenedPath opened;
  opened.attributes = to_stat(attributes);
  if (!S_ISREG(attributes.stx_mode)) return opened;
  if (::syscall(SYS_faccessat2, fd.get(), "", R_OK, AT_EACCESS | AT_EMPTY_PATH) != 0) return fail(errno);
  InodeRef inode;
  if (has_birth_time(attributes) || !root_.has_handles()) inode = table_.find_proven({attributes, {}, nullptr, ""}, 0);
  if (inode == nullptr) inode = intern(fd.get(), attributes, 0);
  opened.attributes = to_stat(shown(inode, attributes));
  if (!open_files_.has_room(inode->number, options_.path_files_max)) return fail(EMFILE);
  if (reads == PathReads::resident) {
    const Stamp seen = stamp_of(attributes);
    opened.file = open_cached(inode, &seen);
    if (opened.file != nullptr) return opened;
  }
  OpenedData data = TRY(open_data(inode, fd.get(), O_RDONLY));
  opened.file = make_open_file({std::move(inode), std::move(data), O_RDONLY, {}}, readahead());
  return opened;
}

// More small files can be hot than there may be descriptors. None: open it with one.
std::unique_ptr<OpenFile> StoreImpl::open_cached(const InodeRef& inode, const Stamp* seen) {
  std::shared_ptr<FileData> data = table_.data(inode);
  if (data == nullptr || !data->open_cached(seen)) return nullptr;
  OpenedData kept(&open_files_, inode->number, std::move(data), false);
  return make_cached_file({inode, std::move(kept), O_RDONLY, {}});
}

// Of writes that wait for their client an eighth of the cache is enough: a megabyte of the smallest one.
std::unique_ptr<PreparedWrite> StoreImpl::prepare_write(uint64_t offset, uint64_t length) {
  constexpr uint64_t kShareOfCache = 8;
  const uint64_t expected = expected_bytes_->fetch_add(length) + length;
  const bool is_much =
      expected > kCacheSizeMin / kShareOfCache && expected > context_.cache->stats().size_bytes / kShareOfCache;
  auto write = std::make_unique<PreparedWrite>(is_much ? nullptr : context_.cache, offset, length);
  write->room = std::shared_ptr<const void>(
      expected_bytes_.get(), [expected_bytes = expected_bytes_, length](auto) { expected_bytes->fetch_sub(length); });
  return write;
}

}  // namespace sluice
