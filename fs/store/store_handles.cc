// What names a file in any process: its file handle, or, where the backing has none that is short enough, a number
// whose place is kept in a table.
#include <cerrno>
#include <cstring>
#include <vector>

#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

// The first byte tells which of the two it is.
constexpr char kByHandle = 'h';
constexpr char kByPlace = 'p';

std::string place_handle(PlaceTable::Id id) {
  std::string handle(1 + sizeof id, kByPlace);
  std::memcpy(handle.data() + 1, &id, sizeof id);
  return handle;
}

std::optional<PlaceTable::Id> id_in(const std::string& handle) {
  PlaceTable::Id id;
  if (handle.size() != 1 + sizeof id || handle[0] != kByPlace) return std::nullopt;
  std::memcpy(&id, handle.data() + 1, sizeof id);
  return id;
}

}  // namespace

Result<std::string> StoreImpl::persistent_handle(InodeNumber number) {
  const InodeRef inode = table_.find(number);
  if (inode == nullptr) return fail(ESTALE);
  if (!inode->handle.empty() && inode->handle.bytes().size() < kPersistentHandleMax)
    return kByHandle + inode->handle.bytes();
  return place_handle(TRY(place_id(inode)));
}

Result<Entry> StoreImpl::find_persistent(const std::string& handle) {
  act_as_gateway();
  if (const auto id = id_in(handle)) return find_by_place(*id);
  const bool is_handle = handle.starts_with(kByHandle) && root_.has_handles();
  const FileHandle wanted = is_handle ? FileHandle::from_bytes(handle.substr(1)) : FileHandle();
  if (wanted.empty()) return fail(ESTALE);
  TRY(context_.admit(BackingUse::look));
  UniqueFd fd = TRY(with_spare_descriptors([&] { return root_.open_handle(wanted); }));
  const Statx attributes = TRY(read_statx(fd.get()));
  numbers_.learn(fd.get(), attributes);
  const InodeRef inode = table_.intern({attributes, wanted, nullptr, ""}, 1);
  descriptors_.put(inode->number, std::make_shared<const UniqueFd>(std::move(fd)));
  note(inode, attributes);
  return Entry{inode->number, to_stat(shown(inode, attributes))};
}

Result<PlaceTable*> StoreImpl::places() {
  MutexLock lock(&places_mutex_);
  if (places_ == nullptr) {
    if (options_.place_table.empty()) return fail(EOPNOTSUPP);
    places_ = TRY(PlaceTable::open(options_.place_table));
  }
  return places_.get();
}

// Of the file and the directories above it, as far as they have none yet.
Result<PlaceTable::Id> StoreImpl::place_id(const InodeRef& inode) {
  if (inode->number == kRootInode) return PlaceTable::kRoot;
  {
    MutexLock lock(&places_mutex_);
    if (const auto known = place_ids_.find(inode->number); known != place_ids_.end()) return known->second;
  }
  PlaceTable* const table = TRY(places());
  const PlaceTable::Id id = TRY(table->id_of(TRY(place_now(inode))));
  MutexLock lock(&places_mutex_);
  place_ids_[inode->number] = id;
  return id;
}

Result<PlaceTable::Place> StoreImpl::place_now(const InodeRef& inode) {
  const auto place = table_.place_of(inode);
  if (!place) return fail(ESTALE);
  return PlaceTable::Place{.parent = TRY(place_id(place->parent)),
                           .name = place->name,
                           .ino = inode->identity.ino,
                           .incarnation = inode->identity.incarnation};
}

// Goes down the names that were seen last. What is there now must be the same file.
Result<Entry> StoreImpl::find_by_place(PlaceTable::Id id) {
  PlaceTable* const table = TRY(places());
  const PlaceTable::Place wanted = TRY(table->find(id));
  std::vector<std::string> names{wanted.name};
  constexpr size_t kDepthMax = 4096;
  for (PlaceTable::Id above = wanted.parent; above != PlaceTable::kRoot;) {
    const PlaceTable::Place place = TRY(table->find(above));
    names.push_back(place.name);
    if (names.size() > kDepthMax) return fail(ESTALE);  // directories that were moved into each other's place
    above = place.parent;
  }
  Entry entry = TRY(lookup(kRootInode, "."));
  for (; !names.empty(); names.pop_back()) {
    const auto next = lookup(entry.number, names.back());
    forget(entry.number, 1);
    if (!next)
      return fail(next.error().number == ENOENT || next.error().number == ENOTDIR ? ESTALE : next.error().number);
    entry = *next;
  }
  const InodeRef inode = table_.find(entry.number);
  if (inode != nullptr && inode->identity.ino == wanted.ino && inode->identity.incarnation == wanted.incarnation) {
    MutexLock lock(&places_mutex_);
    place_ids_[entry.number] = id;
    return entry;
  }
  forget(entry.number, 1);
  return fail(ESTALE);
}

void StoreImpl::sync_places() {
  PlaceTable* table = nullptr;
  {
    MutexLock lock(&places_mutex_);
    table = places_.get();
  }
  if (table != nullptr) table->sync();
}

// Its number stays. Where that cannot be written down, handles of the file are stale in the next process.
void StoreImpl::note_move(const InodeRef& inode) {
  PlaceTable* table = nullptr;
  PlaceTable::Id id = PlaceTable::kRoot;
  {
    MutexLock lock(&places_mutex_);
    const auto known = place_ids_.find(inode->number);
    if (known == place_ids_.end()) return;
    id = known->second;
    table = places_.get();
  }
  if (const auto place = place_now(inode)) table->move(id, *place);
}

void StoreImpl::forget_place(InodeNumber number) {
  MutexLock lock(&places_mutex_);
  place_ids_.erase(number);
}

// Its inode number may be another file's at once, and only the place would tell the two apart. What had a number in an
// earlier process is not among ours.
void StoreImpl::drop_place(const InodeRef& inode) {
  if (options_.place_table.empty()) return;
  const bool may_have_number = !root_.has_handles() || inode->handle.bytes().size() >= kPersistentHandleMax;
  if (!may_have_number) return;
  forget_place(inode->number);
  if (const auto table = places()) (*table)->erase(inode->identity.ino, inode->identity.incarnation);
}

}  // namespace sluice
