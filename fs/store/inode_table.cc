#include "fs/store/inode_table.h"

#include <algorithm>
#include <cerrno>

#include "cache/assert.h"
#include "fs/store/shown_numbers.h"

namespace sluice {
namespace {

constexpr size_t kPathMax = size_t{1} << 20;  // a path this long comes from a circle of places that are out of date

int64_t birth_ns(const Statx& attributes) {
  return attributes.stx_btime.tv_sec * int64_t{1'000'000'000} + attributes.stx_btime.tv_nsec;
}

}  // namespace

FileIdentity identity_of(const Statx& attributes, const FileHandle& handle) {
  FileIdentity identity;
  identity.device = device_of(attributes);
  identity.ino = attributes.stx_ino;
  if (has_birth_time(attributes)) {
    identity.incarnation = static_cast<uint64_t>(birth_ns(attributes));
  } else if (!handle.empty()) {
    identity.incarnation = handle.hash();
  }
  return identity;
}

size_t InodeTable::IdentityHash::operator()(const FileIdentity& identity) const {
  return (identity.ino ^ identity.incarnation ^ identity.device << 48) * 0x9e3779b97f4a7c15;
}

InodeRef InodeTable::find_locked(InodeNumber number) const {
  const auto found = by_number_.find(number);
  return found == by_number_.end() ? nullptr : *found;
}

InodeRef InodeTable::find(InodeNumber number) const {
  MutexLock lock(&mutex_);
  return find_locked(number);
}

InodeRef InodeTable::find_handle(const FileHandle& handle) const {
  MutexLock lock(&mutex_);
  const auto found = by_handle_.find(handle);
  return found == by_handle_.end() ? nullptr : find_locked((*found)->number);
}

InodeRef InodeTable::find_proven(const FoundFile& file, uint64_t references) {
  const FileIdentity identity = identity_of(file.attributes, file.handle);
  MutexLock lock(&mutex_);
  const auto found = by_identity_.find(identity);
  if (found == by_identity_.end() || !(*found)->proven) return nullptr;
  InodeRef inode = find_locked((*found)->number);
  add_references(inode, references);
  set_place_locked(inode, file.parent, file.name);
  return inode;
}

InodeRef InodeTable::find_same(const FoundFile& file) const {
  const FileIdentity identity = identity_of(file.attributes, file.handle);
  MutexLock lock(&mutex_);
  const auto found = by_identity_.find(identity);
  if (found == by_identity_.end() || (*found)->handle != file.handle) return nullptr;
  return find_locked((*found)->number);
}

InodeRef InodeTable::intern(const FoundFile& file, uint64_t references) {
  const FileIdentity identity = identity_of(file.attributes, file.handle);
  const bool proven = file.handle.empty() || is_born_long_ago(file.attributes);
  MutexLock lock(&mutex_);
  InodeRef inode;
  if (const auto found = by_identity_.find(identity); found != by_identity_.end()) {
    if ((*found)->handle == file.handle) {
      inode = find_locked((*found)->number);
    } else {
      (*found)->current = false;
      by_identity_.erase(found);
    }
  }
  if (inode == nullptr) {
    inode = std::make_shared<Inode>(next_number_++, identity, file.handle, file.attributes.stx_mode);
    by_number_.insert(inode);
    by_identity_.insert(inode.get());
    if (finds_handles_ && !file.handle.empty()) {
      by_handle_.erase(inode.get());  // of the file's number before this one
      by_handle_.insert(inode.get());
    }
  }
  inode->proven = proven;
  add_references(inode, references);
  set_place_locked(inode, file.parent, file.name);
  return inode;
}

// A birth time that a later file could still get proves nothing.
bool InodeTable::is_born_long_ago(const Statx& attributes) const {
  if (!has_birth_time(attributes)) return true;  // the incarnation is the handle itself
  const int64_t born_ns = birth_ns(attributes);
  return context_->clock->realtime().count() - born_ns > grain_of(clock_, born_ns).count();
}

void InodeTable::reference(const InodeRef& inode) {
  MutexLock lock(&mutex_);
  add_references(inode, 1);
}

InodeRef InodeTable::find_at(InodeNumber number, InodeNumber parent, std::string_view name) {
  MutexLock lock(&mutex_);
  InodeRef inode = find_locked(number);
  const InodeRef directory = find_locked(parent);
  if (inode == nullptr || directory == nullptr || !inode->current) return nullptr;
  add_references(inode, 1);
  set_place_locked(inode, directory, name);
  return inode;
}

void InodeTable::add_references(const InodeRef& inode, uint64_t references) {
  inode->references += references;
  if (inode->references == 0 && !inode->queued) {
    inode->queued = true;
    sweep_queue_.push_back(inode->number);
  }
}

bool InodeTable::is_droppable(const InodeRef& inode) const {
  if (inode->number == kRootInode || inode->references != 0) return false;
  // One is the table's, one the caller's: nobody else can get one while the mutex is held.
  if (inode.use_count() > 2) return false;
  const FileData* data = inode->data.get();
  if (data == nullptr) return true;
  if (data->is_open()) return false;
  return !inode->current || inode->nameless || !is_needed(*data);
}

// Of a file that nobody has open.
bool InodeTable::is_needed(const FileData& data) {
  return data.cached_blocks() > 0 || data.is_pinned() || data.untold_write_error() != 0 || data.is_dirty();
}

void InodeTable::erase(const InodeRef& inode) {
  if (inode->current) by_identity_.erase(inode.get());
  inode->current = false;
  if (const auto found = by_handle_.find(inode.get()); found != by_handle_.end() && *found == inode.get()) {
    by_handle_.erase(found);
  }
  by_number_.erase(by_number_.find(inode->number));
}

InodeRef InodeTable::forget(InodeNumber number, uint64_t references) {
  MutexLock lock(&mutex_);
  InodeRef inode = find_locked(number);
  if (inode == nullptr || number == kRootInode) return nullptr;
  inode->references -= std::min(references, inode->references);
  if (inode->references != 0) return nullptr;
  if (is_droppable(inode)) {
    erase(inode);
    return inode;
  }
  add_references(inode, 0);
  return nullptr;
}

void InodeTable::shrink() {
  const auto shrink_table = [](auto& table) {
    if (table.bucket_count() / 4 > table.size()) table.rehash(0);
  };
  MutexLock lock(&mutex_);
  shrink_table(by_number_);
  shrink_table(by_identity_);
  shrink_table(by_handle_);
  sweep_queue_.shrink_to_fit();
}

std::vector<InodeRef> InodeTable::sweep(size_t inodes_max) {
  std::vector<InodeRef> dropped;
  MutexLock lock(&mutex_);
  for (size_t left = std::min(inodes_max, sweep_queue_.size()); left > 0; --left) {
    InodeRef inode = find_locked(sweep_queue_.front());
    sweep_queue_.pop_front();
    if (inode == nullptr) continue;
    inode->queued = false;
    if (inode->references != 0) continue;
    if (is_droppable(inode)) {
      erase(inode);
      dropped.push_back(std::move(inode));
    } else {
      add_references(inode, 0);
    }
  }
  return dropped;
}

bool InodeTable::retire(const InodeRef& inode) {
  ASSERT(inode->number != kRootInode);
  MutexLock lock(&mutex_);
  if (inode->current) by_identity_.erase(inode.get());
  inode->current = false;
  return inode->references != 0;
}

void InodeTable::set_nameless(const InodeRef& inode) {
  MutexLock lock(&mutex_);
  inode->nameless = true;
}

bool InodeTable::is_current(const InodeRef& inode) const {
  MutexLock lock(&mutex_);
  return inode->current;
}

std::shared_ptr<FileData> InodeTable::data(const InodeRef& inode) const {
  MutexLock lock(&mutex_);
  return inode->data;
}

InodeTable::MadeData InodeTable::make_data(const InodeRef& inode) {
  MutexLock lock(&mutex_);
  MadeData made{inode->data, inode->data == nullptr, std::nullopt};
  if (!made.is_new) return made;
  if (inode->left != nullptr) made.left = *std::exchange(inode->left, nullptr);
  made.data = inode->data = FileData::create(inode->number, context_);
  return made;
}

void InodeTable::drop_unused_data() {
  std::vector<std::shared_ptr<FileData>> dropped;  // which close descriptors, outside the lock
  MutexLock lock(&mutex_);
  const size_t buckets = by_number_.bucket_count();
  for (size_t left = buckets / kDataRounds + 1; left > 0; --left) {
    next_bucket_ = next_bucket_ + 1 < buckets ? next_bucket_ + 1 : 0;
    for (auto inode = by_number_.begin(next_bucket_); inode != by_number_.end(next_bucket_); ++inode) {
      std::shared_ptr<FileData>& data = (*inode)->data;
      // The only one: nobody has it open or is about to, since who wants to gets it here.
      if (data == nullptr || data.use_count() > 1 || data->is_open() || is_needed(*data)) continue;
      (*inode)->left = std::make_unique<Stamp>(data->backing_stamp());
      dropped.push_back(std::move(data));
    }
  }
}

std::vector<InodeRef> InodeTable::some_pinned(size_t inodes_max) {
  std::vector<InodeRef> pinned;
  MutexLock lock(&mutex_);
  const size_t buckets = by_number_.bucket_count();
  for (size_t left = buckets / kDataRounds + 1; left > 0 && pinned.size() < inodes_max; --left) {
    next_pinned_bucket_ = next_pinned_bucket_ + 1 < buckets ? next_pinned_bucket_ + 1 : 0;
    for (auto inode = by_number_.begin(next_pinned_bucket_); inode != by_number_.end(next_pinned_bucket_); ++inode) {
      if ((*inode)->data != nullptr && (*inode)->data->is_pinned()) pinned.push_back(*inode);
    }
  }
  return pinned;
}

std::vector<InodeRef> InodeTable::with_data() const {
  std::vector<InodeRef> inodes;
  MutexLock lock(&mutex_);
  for (const InodeRef& inode : by_number_) {
    if (inode->data != nullptr) inodes.push_back(inode);
  }
  return inodes;
}

void InodeTable::set_place_locked(const InodeRef& inode, const InodeRef& parent, std::string_view name) {
  if (parent == nullptr || inode->number == kRootInode) return;
  inode->nameless = false;
  if (inode->place == nullptr) inode->place = std::make_unique<Place>();
  if (inode->place->parent != parent) inode->place->parent = parent;
  if (inode->place->name != name) inode->place->name = name;
}

void InodeTable::set_place(const InodeRef& inode, const InodeRef& parent, std::string_view name) {
  MutexLock lock(&mutex_);
  set_place_locked(inode, parent, name);
}

void InodeTable::clear_place(const InodeRef& inode, const InodeRef& parent, std::string_view name) {
  MutexLock lock(&mutex_);
  if (inode->place == nullptr) return;
  if (inode->place->parent == parent && inode->place->name == name) inode->place.reset();
}

std::optional<Place> InodeTable::place_of(const InodeRef& inode) const {
  MutexLock lock(&mutex_);
  if (inode->place == nullptr) return std::nullopt;
  return *inode->place;
}

InodeRef InodeTable::parent_of(const InodeRef& inode) const {
  MutexLock lock(&mutex_);
  return inode->place == nullptr ? nullptr : inode->place->parent;
}

Result<std::string> InodeTable::path_of(const InodeRef& inode) const {
  if (inode->number == kRootInode) return ".";
  std::vector<const std::string*> names;
  MutexLock lock(&mutex_);
  size_t length = 0;
  for (const Inode* at = inode.get(); at->number != kRootInode; at = at->place->parent.get()) {
    if (at->place == nullptr || length > kPathMax) return fail(ESTALE);
    names.push_back(&at->place->name);
    length += at->place->name.size() + 1;
  }
  std::string path;
  path.reserve(length);
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path += '/';
    path += **name;
  }
  return path;
}

std::vector<std::pair<InodeNumber, std::string>> InodeTable::names_on_way_to(const InodeRef& inode) const {
  std::vector<std::pair<InodeNumber, std::string>> names;
  MutexLock lock(&mutex_);
  for (const Inode* at = inode.get(); at->place != nullptr && names.size() < kPathMax; at = at->place->parent.get())
    names.emplace_back(at->place->parent->number, at->place->name);
  return names;
}

uint64_t InodeTable::size() const {
  MutexLock lock(&mutex_);
  return by_number_.size();
}

}  // namespace sluice
