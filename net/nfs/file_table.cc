#include "net/nfs/file_table.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace sluice {

NfsFileRef NfsFileTable::find(std::string_view handle) {
  MutexLock lock(&mutex_);
  const auto found = by_handle_.find(handle);
  if (found == by_handle_.end()) return nullptr;
  lru_.splice(lru_.begin(), lru_, found->second);
  return *found->second;
}

NfsFileRef NfsFileTable::insert(std::string handle, InodeNumber number) {
  auto file = std::make_shared<NfsFile>(&store_, std::move(handle), number);
  NfsFileRef gone;  // destroyed outside the lock
  MutexLock lock(&mutex_);
  if (const auto found = by_handle_.find(file->handle()); found != by_handle_.end()) {
    lru_.splice(lru_.begin(), lru_, found->second);
    NfsFileRef& known = *found->second;
    if (known->number() == number) {
      gone = std::move(file);
      return known;
    }
    gone = known;
    const auto place = found->second;
    by_handle_.erase(found);
    known = file;
    by_handle_.emplace(file->handle(), place);
    return file;
  }
  lru_.push_front(file);
  by_handle_.emplace(file->handle(), lru_.begin());
  if (lru_.size() > options_.files_max) {
    gone = lru_.back();
    by_handle_.erase(gone->handle());
    lru_.pop_back();
  }
  return file;
}

void NfsFileTable::erase(const NfsFileRef& file) {
  Lru gone;
  {
    MutexLock lock(&mutex_);
    const auto found = by_handle_.find(file->handle());
    if (found == by_handle_.end() || *found->second != file) return;
    gone.splice(gone.begin(), lru_, found->second);
    by_handle_.erase(found);
  }
  close(file->number());
}

std::shared_ptr<OpenFile> NfsFileTable::opened(InodeNumber number, Use use) {
  MutexLock lock(&open_mutex_);
  const auto found = open_.find(number);
  if (found == open_.end()) return nullptr;
  note_use(found->second);
  return found->second.uses[static_cast<size_t>(use)];
}

Result<std::shared_ptr<OpenFile>> NfsFileTable::open(InodeNumber number, Use use) {
  if (auto known = opened(number, use)) return known;
  const int flags = use == Use::writing ? O_WRONLY : O_RDONLY;
  return keep(number, use, TRY(store_.open_file(Caller{}, number, flags)));
}

std::shared_ptr<OpenFile> NfsFileTable::keep(InodeNumber number, Use use, std::shared_ptr<OpenFile> fresh) {
  std::shared_ptr<OpenFile> result;
  std::vector<InodeNumber> too_many;
  {
    MutexLock lock(&open_mutex_);
    const auto [found, is_new] = open_.try_emplace(number);
    Opened& opened = found->second;
    if (is_new) opened.place = open_lru_.insert(open_lru_.begin(), number);
    note_use(opened);
    std::shared_ptr<OpenFile>& place = opened.uses[static_cast<size_t>(use)];
    if (place == nullptr) {
      place = fresh;
      if (use == Use::writing) opened.told = place->data().known_write_errors();
    }
    result = place;
    // More than one, because what is used again before it is closed stays.
    constexpr size_t kClosedAtOnce = 2;
    size_t surplus = std::min(kClosedAtOnce, open_lru_.size() - std::min(open_lru_.size(), options_.open_max));
    for (auto oldest = open_lru_.rbegin(); surplus > 0 && *oldest != number; ++oldest) {
      if (open_.at(*oldest).users > 0) continue;
      too_many.push_back(*oldest);
      --surplus;
    }
  }
  for (const InodeNumber each : too_many) close(each);
  return result;
}

Result<NfsFileTable::Change> NfsFileTable::begin_change(InodeNumber number) {
  while (true) {
    std::shared_ptr<OpenFile> opened = TRY(open(number, Use::writing));
    MutexLock lock(&open_mutex_);
    const auto found = open_.find(number);
    if (found == open_.end() || found->second.writer() != opened.get()) continue;  // closed meanwhile
    ++found->second.users;
    ++found->second.changes;
    return Change(this, number, std::move(opened));
  }
}

// Counted once more, because an fsync that began meanwhile may have missed it.
void NfsFileTable::end_change(InodeNumber number) {
  MutexLock lock(&open_mutex_);
  Opened& opened = open_.at(number);
  --opened.users;
  ++opened.changes;
  note_use(opened);
}

void NfsFileTable::note_use(Opened& opened) {
  opened.used_at = options_.clock->monotonic();
  open_lru_.splice(open_lru_.begin(), open_lru_, opened.place);
}

NfsFileTable::SyncBegin NfsFileTable::begin_sync(InodeNumber number, Opened& opened) {
  ++opened.users;
  return {number, opened.uses[static_cast<size_t>(Use::writing)], opened.told, opened.changes};
}

Result<void> NfsFileTable::finish_sync(SyncBegin begun, bool data_only) {
  const auto synced = begun.file->data().fsync(data_only, &begun.told);
  if (!synced && options_.on_lost) options_.on_lost();
  MutexLock lock(&open_mutex_);
  Opened& opened = open_.at(begun.number);
  --opened.users;
  opened.told = std::max(opened.told, begun.told);
  opened.synced = std::max(opened.synced, begun.changes);
  return synced;
}

Result<void> NfsFileTable::sync(InodeNumber number, bool data_only) {
  SyncBegin begun;
  while (begun.file == nullptr) {
    const std::shared_ptr<OpenFile> opened = TRY(open(number, Use::writing));
    MutexLock lock(&open_mutex_);
    const auto found = open_.find(number);
    if (found != open_.end() && found->second.writer() == opened.get()) begun = begin_sync(number, found->second);
  }
  return finish_sync(std::move(begun), data_only);
}

NfsFileTable::Opened NfsFileTable::take_out(InodeNumber number) {
  const auto found = open_.find(number);
  Opened opened = std::move(found->second);
  open_lru_.erase(opened.place);
  open_.erase(found);
  return opened;
}

// Unless it is used meanwhile: then somebody else's turn comes.
void NfsFileTable::close(InodeNumber number) {
  const auto attributes = store_.getattr(number);
  const bool has_name = !attributes || attributes->values.st_nlink > 0;  // else nobody can ask for what was written
  std::optional<SyncBegin> unsynced;
  Opened closed;  // with no lock held
  {
    MutexLock lock(&open_mutex_);
    const auto found = open_.find(number);
    if (found == open_.end() || found->second.users > 0) return;
    Opened& opened = found->second;
    if (opened.synced == opened.changes || !has_name) {
      closed = take_out(number);
      return;
    }
    unsynced = begin_sync(number, opened);
  }
  const uint64_t changes = unsynced->changes;
  static_cast<void>(finish_sync(std::move(*unsynced), true));  // `on_lost` has heard of an error
  MutexLock lock(&open_mutex_);
  Opened& opened = open_.at(number);
  if (opened.users == 0 && opened.changes == changes) closed = take_out(number);
}

// Each is a call of its own for who watches the backing: many together would look like one that hangs.
void NfsFileTable::close_unasked(std::span<const InodeNumber> numbers) {
  for (const InodeNumber number : numbers) {
    const BackingCall call(options_.health, BackingUser::nfs, BackingUse::look);
    close(number);
  }
}

std::vector<InodeNumber> NfsFileTable::idle_files() const {
  std::vector<InodeNumber> idle;
  MutexLock lock(&open_mutex_);
  const auto since = options_.clock->monotonic() - options_.open_idle;
  for (auto oldest = open_lru_.rbegin(); oldest != open_lru_.rend(); ++oldest) {
    const Opened& opened = open_.at(*oldest);
    if (opened.used_at > since) break;
    if (opened.users == 0) idle.push_back(*oldest);
  }
  return idle;
}

bool NfsFileTable::has_idle() const {
  return !idle_files().empty();
}

void NfsFileTable::close_idle() {
  close_unasked(idle_files());
}

void NfsFileTable::clear() {
  std::vector<InodeNumber> all;
  {
    MutexLock lock(&open_mutex_);
    all.assign(open_lru_.begin(), open_lru_.end());
  }
  close_unasked(all);
  Lru gone;
  {
    MutexLock lock(&mutex_);
    by_handle_.clear();
    gone.swap(lru_);
  }
  for (; !gone.empty(); gone.pop_front()) {
    const BackingCall call(options_.health, BackingUser::nfs, BackingUse::look);
    gone.front().reset();
  }
}

size_t NfsFileTable::size() const {
  MutexLock lock(&mutex_);
  return lru_.size();
}

size_t NfsFileTable::open_count() const {
  MutexLock lock(&open_mutex_);
  return open_lru_.size();
}

}  // namespace sluice
