// Finding files: names to numbers, numbers to attributes.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "cache/assert.h"
#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {

Result<Entry> StoreImpl::lookup(InodeNumber parent, std::string_view name) {
  if (auto entry = known_lookup(parent, name)) return *entry;
  const Subject directory = TRY(subject(parent));
  if (name == "." || name == "..") return look_up_dots(directory, name);
  return look(directory, TRY(EntryName::from(name)));
}

// One statx when the file is known; else also a descriptor, which gives the handle.
Result<Entry> StoreImpl::look(const Subject& directory, const EntryName& name) {
  const Look look = metadata_.look({change_key(directory.inode->number, name.view())});
  Statx attributes = TRY(root_.statx_entry(directory.get(), name.c_str()));
  if (has_birth_time(attributes) || !root_.has_handles()) {
    if (const InodeRef inode = table_.find_proven({attributes, {}, directory.inode, name.view()}, 1)) {
      return learn_entry(directory, name, {inode, attributes}, look);
    }
  }
  UniqueFd fd = TRY(with_spare_descriptors([&] { return root_.open_entry(directory.get(), name.c_str(), O_PATH); }));
  attributes = TRY(read_statx(fd.get()));
  const InodeRef inode = intern(fd.get(), attributes, 1, directory.inode, name.view());
  descriptors_.put(inode->number, std::make_shared<const UniqueFd>(std::move(fd)));
  return learn_entry(directory, name, {inode, attributes}, look);
}

Entry StoreImpl::learn_entry(const Subject& directory, const EntryName& name, const SeenFile& file, const Look& look) {
  note(file.inode, file.attributes);
  const InodeNumber number = file.inode->number;
  learn_attributes(number, file.attributes, look, true);
  metadata_.insert({MetadataKind::name, directory.inode->number, name.view()}, number, look);
  return {number, to_stat(shown(file.inode, file.attributes))};
}

Result<void> StoreImpl::confirm_name(InodeNumber number) {
  TRY(confirm_place(number));
  return {};
}

// What was seen there. Nothing when nothing had to be asked.
Result<std::optional<StoreImpl::SeenSubject>> StoreImpl::confirm_place(InodeNumber number) {
  act_as_gateway();
  const InodeRef inode = table_.find(number);
  if (inode == nullptr) return fail(ESTALE);
  if (inode->number == kRootInode || !table_.path_of(inode)) return std::nullopt;
  const MetadataKey key{MetadataKind::place, number};
  if (known(key, open_age_)) return std::nullopt;
  TRY(context_.admit(BackingUse::look));
  const Look look = metadata_.look({change_key(number), kAnyDirectory});
  auto seen = with_spare_descriptors([&] { return open_place(inode); });
  if (!seen) {
    if (seen.error().number == ESTALE) doubt_way_to(inode);
    return tl::unexpected(seen.error());
  }
  if (opens_may_know()) metadata_.insert(key, {}, look);
  return std::move(*seen);
}

// A front end's kernel follows "." and ".." by itself; servers that got a number from a client (NFS) ask for them.
Result<Entry> StoreImpl::look_up_dots(const Subject& directory, std::string_view name) {
  if (!S_ISDIR(TRY(read_statx(directory.get())).stx_mode)) return fail(ENOTDIR);
  if (name == "." || directory.inode->number == kRootInode) return entry_of(directory);
  if (directory.inode->handle.empty()) {
    InodeRef parent = table_.parent_of(directory.inode);
    if (parent == nullptr) return fail(ESTALE);
    PathFd fd = TRY(path_fd(parent));
    return entry_of({std::move(parent), std::move(fd)});
  }
  // The clone is a world of its own: its root is its own parent, and a directory that was moved out has none (ENOENT).
  const UniqueFd fd(::openat(directory.get(), "..", O_PATH | O_CLOEXEC));
  if (!fd) return fail(errno);
  const Statx attributes = TRY(read_statx(fd.get()));
  const InodeRef parent = intern(fd.get(), attributes, 1);
  return Entry{parent->number, to_stat(attributes)};
}

Result<Entry> StoreImpl::entry_of(const Subject& file) {
  const Statx attributes = TRY(read_statx(file.get()));
  table_.reference(file.inode);
  note(file.inode, attributes);
  return Entry{file.inode->number, to_stat(shown(file.inode, attributes))};
}

FileHandle StoreImpl::handle_of(int fd) const {
  return root_.has_handles() ? FileHandle::of(fd) : FileHandle();
}

InodeRef StoreImpl::intern(int fd, const Statx& attributes, uint64_t references, const InodeRef& parent,
                           std::string_view name) {
  numbers_.learn(fd, attributes);
  return table_.intern({attributes, handle_of(fd), parent, name}, references);
}

struct stat StoreImpl::to_stat(const Statx& attributes) const {
  struct stat shown = sluice::to_stat(attributes);
  shown.st_ino = numbers_.shown(attributes);
  return shown;
}

std::optional<StoreImpl::Subject> StoreImpl::known_entry(const Subject& directory, const EntryName& name) {
  const auto attributes = root_.statx_entry(directory.get(), name.c_str());
  if (!attributes) return std::nullopt;
  InodeRef inode;
  if (has_birth_time(*attributes) || !root_.has_handles())
    inode = table_.find_proven({*attributes, {}, nullptr, ""}, 0);
  if (inode == nullptr && root_.has_handles()) {
    const auto fd = root_.open_entry(directory.get(), name.c_str(), O_PATH);
    const auto opened_attributes = fd ? read_statx(fd->get()) : fail(ENOENT);
    if (opened_attributes) inode = table_.find_same({*opened_attributes, handle_of(fd->get()), nullptr, ""});
  }
  if (inode == nullptr) return std::nullopt;
  auto fd = path_fd(inode);
  if (!fd) return std::nullopt;
  return Subject{std::move(inode), std::move(*fd)};
}

Result<Attributes> StoreImpl::getattr(InodeNumber number) {
  if (const auto attributes = known_attributes(number, options_.attr_timeout)) return *attributes;
  return Attributes{.values = to_stat(TRY(ask_attributes(number)))};
}

Result<Statx> StoreImpl::ask_attributes(InodeNumber number) {
  const Look look = metadata_.look({change_key(number)});
  const Subject file = TRY(subject(number));
  Statx attributes = TRY(read_statx(file.get()));
  note(file.inode, attributes);
  learn_attributes(number, attributes, look);
  return shown(file.inode, attributes);
}

void StoreImpl::observe(std::span<const InodeNumber> numbers, const std::function<void()>& change,
                        std::span<Observed> observed) {
  ASSERT(numbers.size() == observed.size());
  std::array<ChangeKey, 4> keys;
  ASSERT(numbers.size() <= keys.size());
  std::ranges::transform(numbers, keys.begin(), [](InodeNumber number) { return change_key(number); });
  const auto ask = [this](InodeNumber number) -> std::optional<struct stat> {
    const auto attributes = ask_attributes(number);
    return attributes ? std::optional(to_stat(*attributes)) : std::nullopt;
  };
  const ChangeCounts::Followed followed(metadata_.changes(), std::span(keys).first(numbers.size()));
  for (size_t i = 0; i < numbers.size(); i++) observed[i].before = ask(numbers[i]);
  change();
  for (size_t i = 0; i < numbers.size(); i++) observed[i].after = ask(numbers[i]);
  for (size_t i = 0; i < numbers.size(); i++) {
    if (followed.changed_by_others(i)) observed[i].before.reset();
  }
}

Result<Statx> StoreImpl::statx(InodeNumber number) {
  const Subject file = TRY(subject(number));
  Statx attributes = TRY(read_statx(file.get()));
  note(file.inode, attributes);
  attributes.stx_ino = numbers_.shown(attributes);
  return shown(file.inode, attributes);
}

// With what delayed writes changed.
Statx StoreImpl::shown(const InodeRef& inode, Statx attributes) const {
  if (write_back_ == nullptr || inode == nullptr) return attributes;
  if (const auto data = table_.data(inode)) data->show(&attributes);
  return attributes;
}

void StoreImpl::note(const InodeRef& inode, const Statx& attributes) {
  if (!S_ISREG(attributes.stx_mode)) return;
  const std::shared_ptr<FileData> data = table_.data(inode);
  if (data == nullptr || data->backing_stamp() == stamp_of(attributes)) return;
  const auto moved = data->revalidate();
  if (moved && *moved) tell_outside_change(inode->number);
}

}  // namespace sluice
