#include "fs/store/change_watch.h"

#include <algorithm>

#include "cache/assert.h"

namespace sluice {

void ChangeWatches::Watch::touch(const ByteRange& bytes) {
  if (bytes.empty()) return;
  offset_.store(std::min(offset_.load(std::memory_order_relaxed), bytes.offset), std::memory_order_release);
  end_.store(std::max(end_.load(std::memory_order_relaxed), bytes.end), std::memory_order_release);
}

void ChangeWatches::add(Watch* watch) {
  for (const ByteRange& bytes : under_way_) watch->touch(bytes);
  watches_.push_back(watch);
}

void ChangeWatches::remove(Watch* watch) {
  const auto place = std::find(watches_.begin(), watches_.end(), watch);
  ASSERT(place != watches_.end());
  *place = watches_.back();
  watches_.pop_back();
}

void ChangeWatches::begin(const ByteRange& bytes) {
  under_way_.push_back(bytes);
  for (Watch* watch : watches_) watch->touch(bytes);
}

void ChangeWatches::end(const ByteRange& bytes) {
  const auto place = std::find_if(under_way_.begin(), under_way_.end(), [&bytes](const ByteRange& change) {
    return change.offset == bytes.offset && change.end == bytes.end;
  });
  ASSERT(place != under_way_.end());
  *place = under_way_.back();
  under_way_.pop_back();
}

void ChangeWatches::touch_all() {
  for (Watch* watch : watches_) watch->touch(kAllBytes);
}

}  // namespace sluice
