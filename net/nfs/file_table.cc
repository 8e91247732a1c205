#include "net/nfs/file_table.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
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

std::shared_ptr<OpenFile> NfsFileTable::opened(const NfsFile& file, Use use) {
  MutexLock lock(&open_mutex_);
  const auto found = open_.find(file.number());
  if (found == open_.end()) return nullptr;
  found->second.used_at = options_.clock->monotonic();
  open_lru_.splice(open_lru_.begin(), open_lru_, found->second.place);
  return found->second.uses[static_cast<size_t>(use)];
}

Result<std::shared_ptr<OpenFile>> NfsFileTable::open(const NfsFile& file, Use use) {
  if (auto known = opened(file, use)) return known;
  const int flags = use == Use::writing ? O_WRONLY : O_RDONLY;
  std::shared_ptr<OpenFile> fresh = TRY(store_.open_file(Caller{}, file.number(), flags));
  std::shared_ptr<OpenFile> result;
  Closing closing;
  {
    MutexLock lock(&open_mutex_);
    const auto [found, is_new] = open_.try_emplace(file.number());
    Opened& opened = found->second;
    if (is_new) opened.place = open_lru_.insert(open_lru_.begin(), file.number());
    opened.used_at = options_.clock->monotonic();
    std::shared_ptr<OpenFile>& place = opened.uses[static_cast<size_t>(use)];
    if (place == nullptr) {
      place = fresh;
      if (use == Use::writing) opened.told = place->data().known_write_errors();
    }
    result = place;
    if (open_lru_.size() > options_.open_max) take_out(open_lru_.back(), closing);
  }
  close_all(std::move(closing));
  return result;
}

void NfsFileTable::note_write(const NfsFile& file) {
  MutexLock lock(&open_mutex_);
  if (const auto found = open_.find(file.number()); found != open_.end()) ++found->second.writes;
}

Result<void> NfsFileTable::sync(const NfsFile& file, bool data_only) {
  const std::shared_ptr<OpenFile> opened = TRY(open(file, Use::writing));
  WriteErrors::Told told{};
  uint64_t writes = 0;
  {
    MutexLock lock(&open_mutex_);
    const auto found = open_.find(file.number());
    if (found == open_.end()) return fail(EAGAIN);  // closed meanwhile, and fsynced by that
    told = found->second.told;
    writes = found->second.writes;
  }
  const auto synced = opened->data().fsync(data_only, &told);
  if (!synced && options_.on_lost) options_.on_lost();
  MutexLock lock(&open_mutex_);
  const auto found = open_.find(file.number());
  if (found == open_.end()) return synced;
  found->second.told = std::max(found->second.told, told);
  if (synced) found->second.synced = std::max(found->second.synced, writes);
  return synced;
}

void NfsFileTable::take_out(InodeNumber number, Closing& closing) {
  const auto found = open_.find(number);
  open_lru_.erase(found->second.place);
  closing.push_back(std::move(found->second));
  open_.erase(found);
}

void NfsFileTable::close_all(Closing closing) {
  for (Opened& opened : closing) {
    const auto& writing = opened.uses[static_cast<size_t>(Use::writing)];
    if (writing == nullptr || opened.synced == opened.writes) continue;
    if (!writing->data().fsync(true, &opened.told) && options_.on_lost) options_.on_lost();
  }
}

void NfsFileTable::close(InodeNumber number) {
  Closing closing;
  {
    MutexLock lock(&open_mutex_);
    if (open_.contains(number)) take_out(number, closing);
  }
  close_all(std::move(closing));
}

void NfsFileTable::close_idle() {
  Closing closing;
  {
    MutexLock lock(&open_mutex_);
    const auto since = options_.clock->monotonic() - options_.open_idle;
    while (!open_lru_.empty() && open_.at(open_lru_.back()).used_at <= since) take_out(open_lru_.back(), closing);
  }
  close_all(std::move(closing));
}

void NfsFileTable::clear() {
  Closing closing;
  {
    MutexLock lock(&open_mutex_);
    while (!open_lru_.empty()) take_out(open_lru_.back(), closing);
  }
  close_all(std::move(closing));
  Lru gone;
  MutexLock lock(&mutex_);
  by_handle_.clear();
  gone.swap(lru_);
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
