// RFC 1813 3.3.3, 3.3.5, 3.3.8 to 3.3.15.
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/nfs/service.h"

namespace sluice {
namespace {

enum class CreateHow : uint32_t { unchecked = 0, guarded = 1, exclusive = 2 };
// Of MKNOD, as the RFC numbers types of files.
constexpr uint32_t kBlock = 3;
constexpr uint32_t kCharacter = 4;
constexpr uint32_t kSocket = 6;
constexpr uint32_t kFifo = 7;

constexpr mode_t kFileMode = 0644;       // where the client names none
constexpr mode_t kExclusiveMode = 0600;  // until the client sets its own: nobody else may open the file before
constexpr mode_t kDirectoryMode = 0755;
constexpr int kCreateAttemptsMax = 10;  // where others make and remove the same name

bool is_dots(std::string_view name) {
  return name == "." || name == "..";
}

// What the new entry has by itself need not be set.
SetAttributes without_mode(SetAttributes changes) {
  changes.mode.reset();
  return changes;
}

bool is_empty(const SetAttributes& changes) {
  return !changes.mode && !changes.uid && !changes.gid && !changes.size && !changes.atime && !changes.mtime;
}

// The verifier of an exclusive CREATE is kept as the file's times, in whole seconds of 32 bits with sign, which every
// file system has: a retry finds them, also after a restart (as the RFC suggests).
SetAttributes times_of(std::string_view verifier) {
  int32_t words[2];
  std::memcpy(words, verifier.data(), sizeof words);
  SetAttributes times;
  times.atime = {.tv_sec = words[0], .tv_nsec = 0};
  times.mtime = {.tv_sec = words[1], .tv_nsec = 0};
  return times;
}
bool has_times(const struct stat& attributes, const SetAttributes& times) {
  return attributes.st_atim.tv_sec == times.atime->tv_sec && attributes.st_mtim.tv_sec == times.mtime->tv_sec &&
         attributes.st_atim.tv_nsec == 0 && attributes.st_mtim.tv_nsec == 0;
}

}  // namespace

void NfsService::lookup(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view name = call.arguments.opaque(kNfsNameMax);
  const auto directory = file_of(call, handle);
  if (!directory) return fail(call, NfsProcedure::lookup, directory.error());
  const auto found = [&]() -> NfsResult<Entry> {
    if (const auto permitted = permit(call, **directory, X_OK); !permitted) {
      const auto attributes = attributes_of(**directory);
      const bool wrong_type = attributes && !S_ISDIR(attributes->st_mode);
      return nfs_fail(wrong_type ? NfsStatus::notdir : permitted.error());
    }
    const auto entry = store_.lookup((*directory)->number(), name);
    if (!entry) return nfs_fail(or_stale(nfs_status_of(entry.error().number), **directory));
    return *entry;
  }();
  const auto file = found ? file_of_entry(*found) : tl::unexpected(found.error());
  call.reply.u32(static_cast<uint32_t>(file ? NfsStatus::ok : file.error()));
  if (file) {
    call.reply.opaque((*file)->handle());
    write_post(call, found->attributes);
  }
  write_post(call, attributes_of(**directory));
}

void NfsService::readlink(NfsCall& call) {
  const auto file = file_of(call, call.arguments.opaque(kNfsHandleMax));
  if (!file) return fail(call, NfsProcedure::readlink, file.error());
  const auto attributes = ask_attributes(*file);
  if (!attributes) return fail(call, NfsProcedure::readlink, attributes.error());
  const auto target = store_.readlink((*file)->number());
  call.reply.u32(static_cast<uint32_t>(target ? NfsStatus::ok : nfs_status_of(target.error().number)));
  write_post(call, *attributes);
  if (target) call.reply.opaque(*target);
}

// ---- new entries ----

// All of CREATE, MKDIR, SYMLINK and MKNOD but what differs.
void NfsService::make(NfsCall& call, NfsProcedure procedure, std::string_view handle, std::string_view name,
                      const std::function<NfsResult<Entry>(const NfsFile& directory)>& make_it) {
  const auto directory = file_of(call, handle);
  if (!directory) return fail(call, procedure, directory.error());
  const InodeNumber number = (*directory)->number();
  Observed observed;
  NfsResult<NfsFileRef> made = nfs_fail(NfsStatus::io);
  store_.observe(
      std::span(&number, 1),
      [&] {
        if (const auto allowed = may_change(call); !allowed) {
          made = nfs_fail(allowed.error());
          return;
        }
        made = file_of_new(name.empty() ? nfs_fail(NfsStatus::inval) : make_it(**directory), **directory);
        if (!made) return;
        if (const auto synced = sync_names(call, **directory); !synced) made = nfs_fail(synced.error());
      },
      std::span(&observed, 1));
  call.announcements.push_back({number, std::string(name)});
  call.reply.u32(static_cast<uint32_t>(made ? NfsStatus::ok : made.error()));
  if (made) {
    const bool is_there = *made != nullptr;
    call.reply.boolean(is_there);
    if (is_there) call.reply.opaque((*made)->handle());
    write_post(call, is_there ? attributes_of(**made) : std::nullopt);
  }
  write_wcc(call, observed);
}

// Another client may remove the new entry before we have looked at it. Who makes something in a directory that is there
// finds nothing for no other reason; the client that asked must not hear that nothing was made.
NfsResult<NfsFileRef> NfsService::file_of_new(const NfsResult<Entry>& made, const NfsFile& directory) {
  if (made) {
    auto file = file_of_entry(*made);
    if (!file && (file.error() == NfsStatus::stale || file.error() == NfsStatus::noent)) return NfsFileRef();
    return file;
  }
  const NfsStatus status = or_stale(made.error(), directory);
  if (status == NfsStatus::noent) return NfsFileRef();
  return nfs_fail(status);
}

// What the client wants of the new entry beside its mode.
NfsResult<Entry> NfsService::finish_new(NfsCall& call, Result<Entry> made, SetAttributes rest) {
  if (!made) return nfs_fail(nfs_status_of(made.error().number));
  if (rest.uid == made->attributes.st_uid) rest.uid.reset();
  if (rest.gid == made->attributes.st_gid) rest.gid.reset();
  if (rest.size && *rest.size == static_cast<uint64_t>(made->attributes.st_size)) rest.size.reset();
  if (is_empty(rest)) return *made;
  auto changed = store_.setattr(*call.caller, made->number, rest);
  // macOS names the owner and the group that it expects of all that is new, like the directory's group. Who may not
  // give files away has made the entry all the same, and the reply tells whose it is.
  if (!changed && changed.error().number == EPERM && (rest.uid || rest.gid)) {
    rest.uid.reset();
    rest.gid.reset();
    changed = store_.setattr(*call.caller, made->number, rest);
  }
  const NfsResult<> outcome = changed ? sync_attributes(call, made->number, made->attributes.st_mode)
                                      : nfs_fail(nfs_status_of(changed.error().number));
  return entry_after(*made, outcome);
}

// Of what is there already only its size is the client's to set, if it may write.
NfsResult<Entry> NfsService::resize_existing(NfsCall& call, const Entry& entry, std::optional<uint64_t> size) {
  if (!size || *size == static_cast<uint64_t>(entry.attributes.st_size)) return entry;
  call.announcements.push_back({entry.number, {}});
  const auto permitted = store_.access(*call.caller, entry.number, W_OK);
  NfsResult<> outcome =
      permitted ? resize(call, entry.number, *size) : nfs_fail(nfs_status_of(permitted.error().number));
  if (outcome) outcome = sync_attributes(call, entry.number, entry.attributes.st_mode);
  return entry_after(entry, outcome);
}

// Takes over the entry's reference.
NfsResult<Entry> NfsService::entry_after(const Entry& entry, const NfsResult<>& outcome) {
  if (outcome) return entry;
  store_.forget(entry.number, 1);
  return nfs_fail(outcome.error() == NfsStatus::stale ? NfsStatus::noent : outcome.error());
}

void NfsService::create(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view name = call.arguments.opaque(kNfsNameMax);
  const auto how = static_cast<CreateHow>(call.arguments.choice(3));
  SetAttributes changes;
  std::string_view verifier;
  if (how == CreateHow::exclusive) {
    verifier = call.arguments.fixed(kNfsVerifierSize);
  } else {
    changes = read_set_attributes(call.arguments);
  }
  make(call, NfsProcedure::create, handle, name, [&](const NfsFile& directory) -> NfsResult<Entry> {
    if (how == CreateHow::exclusive) return make_exclusive(call, directory, name, verifier);
    const mode_t mode = changes.mode.value_or(kFileMode);
    const auto file = create_or_find(call, directory, name, mode);
    if (!file) return nfs_fail(file.error());
    if (file->is_new) return finish_new(call, file->entry, without_mode(changes));
    if (how == CreateHow::guarded || !S_ISREG(file->entry.attributes.st_mode)) {
      store_.forget(file->entry.number, 1);
      return nfs_fail(NfsStatus::exist);
    }
    return resize_existing(call, file->entry, changes.size);
  });
}

// What has the name may come and go between the two looks.
NfsResult<NfsService::NewFile> NfsService::create_or_find(const NfsCall& call, const NfsFile& directory,
                                                          std::string_view name, mode_t mode) {
  // Who is not root could not open it again for its maker, if its mode forbids that, or will: cp makes a copy that
  // nobody may write with such a mode at once, or sets it before the first WRITE.
  const bool stays_open = own_user_ != 0;
  const int flags = (stays_open ? O_RDWR : O_RDONLY) | O_CREAT | O_EXCL;
  for (int attempts = 0; attempts < kCreateAttemptsMax; ++attempts) {
    auto created = store_.create(*call.caller, directory.number(), name, mode, flags);
    if (created) {
      if (stays_open) {
        const std::shared_ptr<OpenFile> file = std::move(created->file);
        files_.keep(created->entry.number, NfsFileTable::Use::reading, file);
        files_.keep(created->entry.number, NfsFileTable::Use::writing, file);
      }
      return NewFile{created->entry, true};
    }
    if (created.error().number != EEXIST) return nfs_fail(nfs_status_of(created.error().number));
    if (const auto permitted = permit(call, directory, X_OK); !permitted) return nfs_fail(permitted.error());
    const auto existing = store_.lookup(directory.number(), name);
    if (existing) return NewFile{*existing, false};
    if (existing.error().number != ENOENT) return nfs_fail(nfs_status_of(existing.error().number));
  }
  return nfs_fail(NfsStatus::jukebox);
}

NfsResult<Entry> NfsService::make_exclusive(NfsCall& call, const NfsFile& directory, std::string_view name,
                                            std::string_view verifier) {
  if (!call.arguments.ok()) return nfs_fail(NfsStatus::inval);
  const SetAttributes times = times_of(verifier);
  const auto file = create_or_find(call, directory, name, kExclusiveMode);
  if (!file) return nfs_fail(file.error());
  if (file->is_new) return finish_new(call, file->entry, times);
  const struct stat& attributes = file->entry.attributes;
  if (S_ISREG(attributes.st_mode) && attributes.st_size == 0 && has_times(attributes, times)) return file->entry;
  store_.forget(file->entry.number, 1);
  return nfs_fail(NfsStatus::exist);
}

void NfsService::mkdir(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view name = call.arguments.opaque(kNfsNameMax);
  const SetAttributes changes = read_set_attributes(call.arguments);
  make(call, NfsProcedure::mkdir, handle, name, [&](const NfsFile& directory) {
    const mode_t mode = changes.mode.value_or(kDirectoryMode);
    return finish_new(call, store_.mkdir(*call.caller, directory.number(), name, mode), without_mode(changes));
  });
}

void NfsService::symlink(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view name = call.arguments.opaque(kNfsNameMax);
  SetAttributes changes = read_set_attributes(call.arguments);
  const std::string_view target = call.arguments.opaque(kNfsPathMax);
  changes.size.reset();
  make(call, NfsProcedure::symlink, handle, name, [&](const NfsFile& directory) -> NfsResult<Entry> {
    if (target.empty()) return nfs_fail(NfsStatus::inval);  // symlink(2) says ENOENT, which would mean: gone already
    return finish_new(call, store_.symlink(*call.caller, directory.number(), name, target), without_mode(changes));
  });
}

void NfsService::mknod(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view name = call.arguments.opaque(kNfsNameMax);
  const uint32_t type = call.arguments.u32();
  SetAttributes changes;
  mode_t kind = 0;
  dev_t device = 0;
  switch (type) {
    case kBlock:
    case kCharacter: {
      kind = type == kBlock ? S_IFBLK : S_IFCHR;
      changes = read_set_attributes(call.arguments);
      const uint32_t major_number = call.arguments.u32();
      const uint32_t minor_number = call.arguments.u32();
      device = makedev(major_number, minor_number);
      break;
    }
    case kSocket:
    case kFifo:
      kind = type == kSocket ? S_IFSOCK : S_IFIFO;
      changes = read_set_attributes(call.arguments);
      break;
    default: break;
  }
  changes.size.reset();
  make(call, NfsProcedure::mknod, handle, name, [&](const NfsFile& directory) -> NfsResult<Entry> {
    if (kind == 0) return nfs_fail(NfsStatus::badtype);
    // The kernel lets root make devices whatever else it may; a thread that acts for root has lost none of that.
    if ((kind == S_IFBLK || kind == S_IFCHR) && call.caller->uid != 0) return nfs_fail(NfsStatus::perm);
    const mode_t mode = kind | changes.mode.value_or(kFileMode);
    return finish_new(call, store_.mknod(*call.caller, directory.number(), name, mode, device), without_mode(changes));
  });
}

// ---- entries that go, move, or are linked ----

void NfsService::remove(NfsCall& call) {
  remove_entry(call, NfsProcedure::remove);
}

void NfsService::rmdir(NfsCall& call) {
  remove_entry(call, NfsProcedure::rmdir);
}

void NfsService::remove_entry(NfsCall& call, NfsProcedure procedure) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view name = call.arguments.opaque(kNfsNameMax);
  const auto directory = file_of(call, handle);
  if (!directory) return fail(call, procedure, directory.error());
  const InodeNumber number = (*directory)->number();
  Observed observed;
  NfsResult<> removed = may_change(call);
  store_.observe(
      std::span(&number, 1),
      [&] {
        if (!removed) return;
        const auto entry = store_.lookup(number, name);
        const auto outcome = procedure == NfsProcedure::remove ? store_.unlink(*call.caller, number, name)
                                                               : store_.rmdir(*call.caller, number, name);
        if (outcome) {
          removed = sync_names(call, **directory);
        } else {
          removed = nfs_fail(or_stale(nfs_status_of(outcome.error().number), **directory));
          // rmdir(2) looks into the parent and finds what it comes from.
          if (name == ".." && removed.error() == NfsStatus::notempty) removed = nfs_fail(NfsStatus::exist);
        }
        if (!entry) return;
        call.announcements.push_back({entry->number, {}});
        let_go(number, *entry, outcome.has_value());
      },
      std::span(&observed, 1));
  call.announcements.push_back({number, std::string(name)});
  call.reply.u32(static_cast<uint32_t>(removed ? NfsStatus::ok : removed.error()));
  write_wcc(call, observed);
}

// Takes over the entry's reference. If that was the file's last name, its space comes back when nobody holds it.
void NfsService::let_go(InodeNumber directory, const Entry& entry, bool lost_name) {
  const InodeNumber number = entry.number;
  const auto file = file_of_entry(entry);
  if (!lost_name) return;
  listings_.drop_directory(directory);
  const auto attributes = store_.getattr(number);
  if (file && attributes && attributes->values.st_nlink == 0) {
    files_.erase(*file);
  } else {
    files_.close(number);
  }
}

void NfsService::rename(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view name = call.arguments.opaque(kNfsNameMax);
  const std::string_view new_handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view new_name = call.arguments.opaque(kNfsNameMax);
  const auto from = file_of(call, handle);
  const auto to = file_of(call, new_handle);
  if (!from || !to) {
    call.reply.u32(static_cast<uint32_t>(from ? to.error() : from.error()));
    write_wcc(call, unchanged(from));
    write_wcc(call, unchanged(to));
    return;
  }
  const InodeNumber numbers[2] = {(*from)->number(), (*to)->number()};
  Observed observed[2];
  NfsResult<> renamed = may_change(call);
  store_.observe(
      numbers,
      [&] {
        if (!renamed) return;
        if (is_dots(name) || is_dots(new_name) || new_name.empty()) {
          renamed = nfs_fail(NfsStatus::inval);
          return;
        }
        const auto replaced = store_.lookup(numbers[1], new_name);
        const auto outcome = store_.rename(*call.caller, numbers[0], name, numbers[1], new_name, 0);
        if (!outcome) {
          renamed = nfs_fail(or_stale(or_stale(nfs_status_of(outcome.error().number), **from), **to));
        } else {
          renamed = sync_names(call, **to);
          if (renamed && numbers[0] != numbers[1]) renamed = sync_names(call, **from);
        }
        if (!replaced) return;
        call.announcements.push_back({replaced->number, {}});
        let_go(numbers[1], *replaced, outcome.has_value());
      },
      observed);
  call.announcements.push_back({numbers[0], std::string(name)});
  call.announcements.push_back({numbers[1], std::string(new_name)});
  call.reply.u32(static_cast<uint32_t>(renamed ? NfsStatus::ok : renamed.error()));
  write_wcc(call, observed[0]);
  write_wcc(call, observed[1]);
}

void NfsService::link(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view directory_handle = call.arguments.opaque(kNfsHandleMax);
  const std::string_view name = call.arguments.opaque(kNfsNameMax);
  const auto file = file_of(call, handle);
  const auto directory = file_of(call, directory_handle);
  if (!file || !directory) {
    call.reply.u32(static_cast<uint32_t>(file ? directory.error() : file.error()));
    write_post(call, unchanged(file).after);
    write_wcc(call, unchanged(directory));
    return;
  }
  const InodeNumber number = (*directory)->number();
  Observed observed;
  NfsResult<> linked = may_change(call);
  store_.observe(
      std::span(&number, 1),
      [&] {
        if (!linked) return;
        const auto entry = store_.link(*call.caller, (*file)->number(), number, name);
        if (!entry) {
          const NfsStatus status = or_stale(nfs_status_of(entry.error().number), **directory);
          linked = nfs_fail(is_gone(*file) ? NfsStatus::stale : status);
          return;
        }
        store_.forget(entry->number, 1);
        linked = sync_names(call, **directory);
      },
      std::span(&observed, 1));
  call.announcements.push_back({(*file)->number(), {}});
  call.announcements.push_back({number, std::string(name)});
  call.reply.u32(static_cast<uint32_t>(linked ? NfsStatus::ok : linked.error()));
  write_post(call, attributes_of(**file));
  write_wcc(call, observed);
}

}  // namespace sluice
