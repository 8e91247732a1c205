#include "fs/store/change_counts.h"

#include "cache/assert.h"

namespace sluice {

thread_local ChangeCounts::Followed* ChangeCounts::followed_ = nullptr;

ChangeCounts::Followed::Followed(const ChangeCounts& counts, std::span<const ChangeKey> keys) : counts_(counts) {
  ASSERT(followed_ == nullptr);
  ASSERT(keys.size() <= keys_.size());
  for (const ChangeKey key : keys) keys_[size_++] = {key, index(key), counts.of(key)};
  followed_ = this;
}

void ChangeCounts::Followed::note(size_t slot) {
  for (Key& key : std::span(keys_).first(size_)) key.begun += key.slot == slot ? 1 : 0;
}

bool ChangeCounts::Followed::changed_by_others(size_t i) const {
  const Key& key = keys_[i];
  return counts_.of(key.key) - key.before != 2 * key.begun;
}

}  // namespace sluice
