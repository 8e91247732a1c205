#include "fs/fuse/kernel_cache.h"

#include "cache/assert.h"

namespace sluice {

KernelCache::Opened KernelCache::opened(InodeNumber number, const FileVersion* version) {
  if (size_max_ == 0) return {};
  MutexLock lock(&mutex_);
  const auto [found, is_new] = items_.try_emplace(number);
  Item& item = found->second;
  if (item.opens == 0) {
    if (!is_new) closed_.erase(item.place);
    item.cached = version != nullptr && version->stamp.size <= size_max_;
  }
  ++item.opens;
  if (!item.cached || version == nullptr) return {Open(this, number), item.cached, false};
  const bool keeps_pages = version->trustworthy && item.stamp == version->stamp;
  item.stamp = version->trustworthy ? version->stamp : Stamp{};  // else what is read now may be older than the stamp
  return {Open(this, number), true, keeps_pages};
}

void KernelCache::closed(InodeNumber number) {
  MutexLock lock(&mutex_);
  const auto found = items_.find(number);
  ASSERT(found != items_.end());
  if (--found->second.opens > 0) return;
  if (!found->second.cached) {
    items_.erase(found);
    return;
  }
  found->second.place = closed_.insert(closed_.begin(), number);
  if (closed_.size() <= kRememberedMax) return;
  items_.erase(closed_.back());
  closed_.pop_back();
}

}  // namespace sluice
