#include "fs/store/listing_cache.h"

#include <utility>

namespace sluice {

uint64_t ListingCache::bytes_of(const Item& item) {
  constexpr uint64_t kNodeBytes = 96;  // of list, hash table and malloc, beside the item
  return sizeof(Item) + kNodeBytes + item.listing->capacity();
}

Listing ListingCache::find(InodeNumber directory, const Stamp& stamp) {
  const auto now = clock_.monotonic();
  MutexLock lock(&mutex_);
  const auto found = index_.find(directory);
  if (found != index_.end() && found->second->stamp == stamp) {
    ++hits_;
    found->second->used_at = now;
    items_.splice(items_.end(), items_, found->second);
    return found->second->listing;
  }
  ++misses_;
  if (found != index_.end()) erase(found->second);
  return nullptr;
}

void ListingCache::insert(InodeNumber directory, const Stamp& stamp, Listing listing) {
  Item item{directory, stamp, std::move(listing), clock_.monotonic()};
  const uint64_t bytes = bytes_of(item);
  if (bytes > value_bytes_max()) return;
  MutexLock lock(&mutex_);
  if (const auto old = index_.find(directory); old != index_.end()) erase(old->second);
  bytes_ += bytes;
  index_.emplace(directory, items_.insert(items_.end(), std::move(item)));
  while (bytes_ > bytes_max_) erase(items_.begin());
}

void ListingCache::expire() {
  const auto now = clock_.monotonic();
  MutexLock lock(&mutex_);
  while (!items_.empty() && now - items_.front().used_at >= kIdleMax) erase(items_.begin());
}

void ListingCache::clear() {
  MutexLock lock(&mutex_);
  while (!items_.empty()) erase(items_.begin());
}

void ListingCache::erase(Items::iterator item) {
  bytes_ -= bytes_of(*item);
  index_.erase(item->directory);
  items_.erase(item);
}

MetadataCacheStats ListingCache::stats() const {
  MutexLock lock(&mutex_);
  return {.items = items_.size(), .bytes = bytes_, .hits = hits_, .misses = misses_};
}

}  // namespace sluice
