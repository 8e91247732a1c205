// What changes directories: making, linking, removing and renaming entries.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

Result<void> checked(int outcome) {
  if (outcome < 0) return fail(errno);
  return {};
}

}  // namespace

Result<void> StoreImpl::check_writable() const {
  if (options_.read_only) return fail(EROFS);
  return context_.admit(BackingUse::change);
}

Result<void> StoreImpl::change_through_data(const Subject* first, const Subject* second,
                                            Callback<Result<void>()> change, SetsMtime sets_mtime) {
  OwnChange counted(&metadata_.changes(), {});
  for (const Subject* file : {first, second}) {
    if (file == nullptr) continue;
    counted.add(change_key(file->inode->number));
    if (file->inode->is_directory) counted.add(kAnyDirectory);
  }
  for (const Subject* file : {first, second}) {
    if (file == nullptr) continue;
    const auto data = table_.data(file->inode);
    if (data == nullptr) continue;
    const Subject* rest = file == first ? second : nullptr;
    if (rest != nullptr && rest->inode == file->inode) rest = nullptr;
    return data->change_attributes([&] { return change_through_data(nullptr, rest, std::move(change)); }, file->get(),
                                   sets_mtime);
  }
  return change();
}

Result<Entry> StoreImpl::make_entry(const Caller& caller, InodeNumber parent, std::string_view name, unsigned needs,
                                    const std::function<int(int directory, const char* name)>& make) {
  TRY(check_writable());
  const EntryName entry = TRY(EntryName::from(name));
  const Subject directory = TRY(subject(parent));
  {
    const OwnChange change(&metadata_.changes(), {change_key(parent), change_key(parent, name), kAnyCreation});
    const ActAs identity(caller, needs);
    TRY(identity.ready());
    TRY(checked(make(directory.get(), entry.c_str())));
  }
  return look(directory, entry);
}

Result<Entry> StoreImpl::mknod(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode,
                               dev_t device) {
  return make_entry(caller, parent, name, ActAs::to_create(mode),
                    [&](int at, const char* entry) { return ::mknodat(at, entry, mode, device); });
}

Result<Entry> StoreImpl::mkdir(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode) {
  return make_entry(caller, parent, name, ActAs::to_create(mode),
                    [&](int at, const char* entry) { return ::mkdirat(at, entry, mode); });
}

Result<Entry> StoreImpl::symlink(const Caller& caller, InodeNumber parent, std::string_view name,
                                 std::string_view target) {
  if (target.find('\0') != target.npos) return fail(EINVAL);
  const std::string to(target);
  return make_entry(caller, parent, name, 0,
                    [&](int at, const char* entry) { return ::symlinkat(to.c_str(), at, entry); });
}

Result<Entry> StoreImpl::link(const Caller& caller, InodeNumber number, InodeNumber parent, std::string_view name) {
  const Subject file = TRY(subject(number));
  // linkat with AT_EMPTY_PATH would ask for CAP_DAC_READ_SEARCH.
  const ProcPath path(file.get());
  return make_entry(caller, parent, name, 0, [&](int at, const char* entry) {
    const auto linked = change_through_data(&file, nullptr, [&]() -> Result<void> {
      return checked(::linkat(AT_FDCWD, path.c_str(), at, entry, AT_SYMLINK_FOLLOW));
    });
    if (linked) return 0;
    errno = linked.error().number;
    return -1;
  });
}

Result<void> StoreImpl::unlink(const Caller& caller, InodeNumber parent, std::string_view name) {
  return remove(caller, parent, name, 0);
}

Result<void> StoreImpl::rmdir(const Caller& caller, InodeNumber parent, std::string_view name) {
  return remove(caller, parent, name, AT_REMOVEDIR);
}

Result<void> StoreImpl::remove(const Caller& caller, InodeNumber parent, std::string_view name, int flags) {
  TRY(check_writable());
  const EntryName entry = TRY(EntryName::from(name));
  const Subject directory = TRY(subject(parent));
  const std::optional<Subject> file = known_entry(directory, entry);
  OwnChange change(&metadata_.changes(), {change_key(parent), change_key(parent, name), kAnyRemoval});
  if ((flags & AT_REMOVEDIR) != 0) change.add(kAnyDirectory);
  TRY(change_through_data(file ? &*file : nullptr, nullptr, [&]() -> Result<void> {
    const ActAs identity(caller);
    TRY(identity.ready());
    return checked(::unlinkat(directory.get(), entry.c_str(), flags));
  }));
  if (!file) return {};
  table_.clear_place(file->inode, directory.inode, entry.view());
  after_removal(*file);
  return {};
}

// One name less. When it was the last, a new file may get the inode number at once. As long as a front end's kernel
// uses the old one (as somebody's current directory, say) it goes on to answer; else its space must come back now.
void StoreImpl::after_removal(const Subject& file) {
  const auto attributes = read_statx(file.get());
  if (attributes && attributes->stx_nlink > 0 && !S_ISDIR(attributes->stx_mode)) return;
  if (const auto data = table_.data(file.inode)) data->removed();
  drop_place(file.inode);
  const bool in_use = table_.retire(file.inode);
  if (in_use && descriptors_.pinned() < options_.descriptors_max) {
    descriptors_.pin(file.inode->number, file.fd);  // until the inode leaves the table
  } else {
    descriptors_.drop(file.inode->number);
  }
}

Result<void> StoreImpl::write_back(const InodeRef& inode) {
  const auto data = write_back_ != nullptr ? table_.data(inode) : nullptr;
  if (data == nullptr || !data->is_dirty()) return {};
  return data->write_back();
}

Result<void> StoreImpl::rename(const Caller& caller, InodeNumber parent, std::string_view name, InodeNumber new_parent,
                               std::string_view new_name, unsigned flags) {
  TRY(check_writable());
  // Not RENAME_WHITEOUT: it would leave a device that only overlayfs understands, and takes rights that callers here
  // lack.
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0) return fail(EINVAL);
  const EntryName from = TRY(EntryName::from(name));
  const EntryName to = TRY(EntryName::from(new_name));
  const Subject directory = TRY(subject(parent));
  const Subject new_directory = TRY(subject(new_parent));
  const std::optional<Subject> moved = known_entry(directory, from);
  const std::optional<Subject> target = known_entry(new_directory, to);
  // A name whose file gets its content only later would be worth less than the one that it replaces.
  if (moved && target) TRY(write_back(moved->inode));
  OwnChange change(&metadata_.changes(), {change_key(parent), change_key(parent, name), change_key(new_parent),
                                          change_key(new_parent, new_name), kAnyRemoval, kAnyCreation});
  if (!moved || moved->inode->is_directory || (target && target->inode->is_directory)) change.add(kAnyDirectory);
  TRY(change_through_data(moved ? &*moved : nullptr, target ? &*target : nullptr, [&]() -> Result<void> {
    const ActAs identity(caller);
    TRY(identity.ready());
    return checked(::renameat2(directory.get(), from.c_str(), new_directory.get(), to.c_str(), flags));
  }));
  // Two names of one file: renaming one to the other does nothing.
  if (moved && target && moved->inode == target->inode) return {};
  if (moved) {
    table_.set_place(moved->inode, new_directory.inode, to.view());
    note_move(moved->inode);
  }
  if (!target) return {};
  if ((flags & RENAME_EXCHANGE) != 0) {
    table_.set_place(target->inode, directory.inode, from.view());
    note_move(target->inode);
  } else {
    table_.clear_place(target->inode, new_directory.inode, to.view());
    after_removal(*target);
  }
  return {};
}

}  // namespace sluice
