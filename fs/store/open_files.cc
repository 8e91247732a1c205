#include "fs/store/open_files.h"

#include <utility>

#include "cache/assert.h"

namespace sluice {
void OpenFiles::opened(InodeNumber number, const std::shared_ptr<FileData>& data) {
  MutexLock lock(&mutex_);
  ++opens_;
  const auto [item, is_new] = items_.try_emplace(number);
  if (is_new) {
    item->second.data = data;
  } else if (item->second.opens == 0) {
    closed_.erase(item->second.closed_place);
  }
  ++item->second.opens;
}

void OpenFiles::closed(InodeNumber number) {
  MutexLock lock(&mutex_);
  --opens_;
  const auto item = items_.find(number);
  ASSERT(item != items_.end());
  if (--item->second.opens > 0) return;
  item->second.closed_at = now_;
  item->second.closed_place = closed_.insert(closed_.begin(), number);
  if (item->second.data->needs_tidy()) untidy_.push_back(item->second.data);
}

std::shared_ptr<FileData> OpenFiles::take_closed(Items::iterator item) {
  std::shared_ptr<FileData> data = std::move(item->second.data);
  closed_.erase(item->second.closed_place);
  items_.erase(item);
  return data;
}

void OpenFiles::forget(InodeNumber number) {
  std::shared_ptr<FileData> data;  // may end after the lock
  MutexLock lock(&mutex_);
  const auto item = items_.find(number);
  if (item != items_.end() && item->second.opens == 0) data = take_closed(item);
}

void OpenFiles::tick(uint32_t closed_ticks) {
  std::vector<std::shared_ptr<FileData>> files;
  {
    MutexLock lock(&mutex_);
    files.swap(untidy_);
    ++now_;
    while (!closed_.empty()) {
      const auto oldest = items_.find(closed_.back());
      if (now_ - oldest->second.closed_at <= closed_ticks) break;
      files.push_back(take_closed(oldest));
    }
  }
  for (auto& file : list()) files.push_back(std::move(file));
  for (const auto& file : files) {
    if (file->needs_tidy()) file->tidy();
  }
}

void OpenFiles::drop_idle() {
  std::vector<std::shared_ptr<FileData>> files;
  {
    MutexLock lock(&mutex_);
    for (const InodeNumber number : closed_) files.push_back(items_.find(number)->second.data);
  }
  for (const auto& file : files) file->drop_idle();
}

bool OpenFiles::has_room(InodeNumber number, uint64_t files_max) const {
  MutexLock lock(&mutex_);
  if (items_.size() - closed_.size() < files_max) return true;
  const auto item = items_.find(number);
  return item != items_.end() && item->second.opens > 0;
}

std::vector<std::shared_ptr<FileData>> OpenFiles::list() const {
  std::vector<std::shared_ptr<FileData>> files;
  MutexLock lock(&mutex_);
  for (const auto& [number, item] : items_) {
    if (item.opens > 0) files.push_back(item.data);
  }
  return files;
}

uint64_t OpenFiles::opens() const {
  MutexLock lock(&mutex_);
  return opens_;
}

}  // namespace sluice
