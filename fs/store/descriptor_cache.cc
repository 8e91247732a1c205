#include "fs/store/descriptor_cache.h"

#include <utility>

#include "cache/assert.h"

namespace sluice {

PathFd DescriptorCache::get(InodeNumber number) {
  MutexLock lock(&mutex_);
  const auto item = items_.find(number);
  if (item == items_.end()) return nullptr;
  item->second.used_at = now_;
  if (item->second.pins == 0) idle_.splice(idle_.begin(), idle_, item->second.idle_place);
  return item->second.fd;
}

void DescriptorCache::put(InodeNumber number, PathFd fd) {
  PathFd evicted;  // closed after the lock
  MutexLock lock(&mutex_);
  const auto [item, is_new] = items_.try_emplace(number, Item{nullptr, 0, now_, {}});
  if (item->second.fd == nullptr) item->second.fd = std::move(fd);
  if (!is_new) return;
  make_idle(item);
  if (idle_.size() > idle_max_) evicted = take_oldest();
}

void DescriptorCache::pin(InodeNumber number, PathFd fd) {
  MutexLock lock(&mutex_);
  const auto [item, is_new] = items_.try_emplace(number, Item{nullptr, 0, now_, {}});
  if (item->second.fd == nullptr) item->second.fd = std::move(fd);
  if (!is_new && item->second.pins == 0) idle_.erase(item->second.idle_place);
  ++item->second.pins;
}

void DescriptorCache::unpin(InodeNumber number) {
  PathFd evicted;
  MutexLock lock(&mutex_);
  const auto item = items_.find(number);
  ASSERT(item != items_.end());
  ASSERT(item->second.pins > 0);
  if (--item->second.pins > 0) return;
  make_idle(item);
  if (idle_.size() > idle_max_) evicted = take_oldest();
}

void DescriptorCache::make_idle(Items::iterator item) {
  item->second.used_at = now_;
  item->second.idle_place = idle_.insert(idle_.begin(), item->first);
}

PathFd DescriptorCache::take(Items::iterator item) {
  PathFd fd = std::move(item->second.fd);
  if (item->second.pins == 0) idle_.erase(item->second.idle_place);
  items_.erase(item);
  return fd;
}

void DescriptorCache::drop(InodeNumber number) {
  PathFd dropped;
  MutexLock lock(&mutex_);
  const auto item = items_.find(number);
  if (item != items_.end() && item->second.pins == 0) dropped = take(item);
}

void DescriptorCache::remove(InodeNumber number) {
  PathFd removed;
  MutexLock lock(&mutex_);
  const auto item = items_.find(number);
  if (item != items_.end()) removed = take(item);
}

void DescriptorCache::drop_idle() {
  std::vector<PathFd> dropped;
  MutexLock lock(&mutex_);
  while (!idle_.empty()) dropped.push_back(take_oldest());
}

void DescriptorCache::outdate() {
  std::vector<PathFd> outdated;
  MutexLock lock(&mutex_);
  for (auto& [number, item] : items_) outdated.push_back(std::exchange(item.fd, nullptr));
}

void DescriptorCache::tick(uint32_t ticks) {
  std::vector<PathFd> dropped;
  MutexLock lock(&mutex_);
  ++now_;
  while (!idle_.empty() && now_ - items_.at(idle_.back()).used_at > ticks) dropped.push_back(take_oldest());
}

uint64_t DescriptorCache::size() const {
  MutexLock lock(&mutex_);
  return items_.size();
}

uint64_t DescriptorCache::pinned() const {
  MutexLock lock(&mutex_);
  return items_.size() - idle_.size();
}

}  // namespace sluice
