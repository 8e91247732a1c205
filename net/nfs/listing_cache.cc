#include "net/nfs/listing_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sluice {
namespace {

// A reply of names alone has no files.
size_t entries_of(const NfsListing& listing) {
  constexpr size_t kEntryBytes = 256;
  return std::max(listing.seen.size(), listing.bytes.size() / kEntryBytes);
}

}  // namespace

size_t NfsListingCache::Hash::operator()(const NfsListingKey& key) const {
  const uint64_t flags = (key.has_files ? 1U : 0U) | (key.shows_files ? 2U : 0U);
  uint64_t hash = 0;
  for (const uint64_t word : {key.directory, key.cookie, key.bytes_max << 2 | flags, key.names_max})
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  return hash ^ hash >> 32;
}

std::shared_ptr<const NfsListing> NfsListingCache::find(const NfsListingKey& key) {
  std::shared_ptr<const NfsListing> listing;
  {
    MutexLock lock(&mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    listing = found->second->listing;
  }
  if (clock_.monotonic() < listing->good_until && store_.unchanged(listing->seen)) return listing;
  drop(key, listing.get());
  return nullptr;
}

void NfsListingCache::drop(const NfsListingKey& key, const NfsListing* listing) {
  Items gone;
  MutexLock lock(&mutex_);
  const auto found = index_.find(key);
  if (found != index_.end() && found->second->listing.get() == listing) erase(found->second, gone);
}

void NfsListingCache::insert(const NfsListingKey& key, NfsListing listing) {
  if (entries_of(listing) > entries_max_) return;
  Items gone;
  auto shared = std::make_shared<const NfsListing>(std::move(listing));
  MutexLock lock(&mutex_);
  if (const auto found = index_.find(key); found != index_.end()) erase(found->second, gone);
  entries_ += entries_of(*shared);
  items_.push_back({key, std::move(shared)});
  index_.emplace(key, std::prev(items_.end()));
  while (entries_ > entries_max_) erase(items_.begin(), gone);
}

// The files' references go when no lock is held.
void NfsListingCache::erase(Items::iterator item, Items& gone) {
  entries_ -= entries_of(*item->listing);
  index_.erase(item->key);
  gone.splice(gone.end(), items_, item);
}

void NfsListingCache::drop_directory(InodeNumber directory) {
  Items gone;
  MutexLock lock(&mutex_);
  for (auto item = items_.begin(); item != items_.end();) {
    const auto next = std::next(item);
    if (item->key.directory == directory) erase(item, gone);
    item = next;
  }
}

size_t NfsListingCache::entries() const {
  MutexLock lock(&mutex_);
  return entries_;
}

void NfsListingCache::clear() {
  Items gone;
  MutexLock lock(&mutex_);
  index_.clear();
  gone.swap(items_);
  entries_ = 0;
}

}  // namespace sluice
