#include "fs/store/metadata_cache.h"

#include <utility>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr uint64_t kNodeBytes = 64;  // of list, hash table and malloc, beside the item

uint64_t bytes_of(const MetadataValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return text->capacity();
  if (const auto* listing = std::get_if<Listing>(&value)) return (*listing)->capacity();
  if (std::holds_alternative<SharedStatx>(value)) return sizeof(Statx) + 2 * sizeof(void*);
  return 0;
}

}  // namespace

size_t MetadataCache::Hash::operator()(const MetadataKey& key) const {
  const size_t text = std::hash<std::string_view>{}(key.text);
  return ((key.number << 3 | static_cast<size_t>(key.kind)) + text) * 0x9e3779b97f4a7c15;
}

MetadataCache::Look MetadataCache::look(std::initializer_list<ChangeKey> keys) const {
  Look look;
  look.begun_ = clock_.monotonic();
  look.total_ = changes_.total();
  for (const ChangeKey key : keys) {
    ASSERT(look.size_ + size_t{1} < look.dependencies_.size());
    look.dependencies_[look.size_++] = {key, changes_.of(key)};
  }
  return look;
}

bool MetadataCache::is_good(const Look& look) const {
  for (size_t i = 0; i < look.size_; i++) {
    const auto& [key, count] = look.dependencies_[i];
    if (changes_.of(key) != count) return false;
  }
  return true;
}

void MetadataCache::insert(const MetadataKey& key, MetadataValue value, Look look, std::optional<ChangeKey> found) {
  if (!enabled()) return;
  if (found) {
    look.dependencies_[look.size_++] = {*found, changes_.of(*found)};
    // A change counts in the total first. So if the total did not move, the count is that of the look.
    if (changes_.total() != look.total_) return;
  }
  if (!is_good(look)) return;
  const uint64_t bytes = sizeof(Item) + kNodeBytes + key.text.size() + bytes_of(value);
  MutexLock lock(&mutex_);
  if (const auto old = index_.find(key); old != index_.end()) {
    Item& item = **old;
    if (item.look.begun_ > look.begun_) return;  // a later look was faster
    bytes_ += bytes - item.bytes;
    item.value = std::move(value);
    item.look = look;
    item.bytes = bytes;
    items_.splice(items_.end(), items_, *old);
  } else {
    items_.push_back({key.kind, key.number, std::string(key.text), std::move(value), look, bytes});
    index_.insert(std::prev(items_.end()));
    bytes_ += bytes;
  }
  while (bytes_ > bytes_max_) erase(items_.begin());
}

std::optional<KnownMetadata> MetadataCache::find(const MetadataKey& key, std::chrono::nanoseconds age_max) {
  if (!enabled() || age_max.count() <= 0) return std::nullopt;
  const auto now = clock_.monotonic();
  {
    MutexLock lock(&mutex_);
    const auto found = index_.find(key);
    if (found != index_.end()) {
      const Item& item = **found;
      const auto age = now - item.look.begun_;
      if (age < age_max && is_good(item.look)) {
        hits_.fetch_add(1, std::memory_order_relaxed);
        return KnownMetadata{item.value, age};
      }
    }
  }
  misses_.fetch_add(1, std::memory_order_relaxed);
  return std::nullopt;
}

void MetadataCache::expire() {
  const auto now = clock_.monotonic();
  MutexLock lock(&mutex_);
  while (!items_.empty() && now - items_.front().look.begun_ >= longest_) erase(items_.begin());
}

void MetadataCache::clear() {
  MutexLock lock(&mutex_);
  while (!items_.empty()) erase(items_.begin());
}

void MetadataCache::erase(Items::iterator item) {
  bytes_ -= item->bytes;
  index_.erase(item);
  items_.erase(item);
}

MetadataCacheStats MetadataCache::stats() const {
  MutexLock lock(&mutex_);
  return {.items = items_.size(), .bytes = bytes_, .hits = hits_.load(), .misses = misses_.load()};
}

}  // namespace sluice
