// KeyNumbers gives each distinct key a number, from 0 on in order of appearance: a hash table with open addressing, at
// most half full, 12 bytes per place. Millions of requests pass through it, one cache miss each.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cache/block.h"

namespace sluice {

class KeyNumbers {
 public:
  uint32_t count() const { return count_; }

  // kNoBlock when there are as many keys as numbers.
  BlockId number_of(uint64_t key) {
    size_t place = find(key);
    if (numbers_[place] != kNoBlock || count_ == kNoBlock) return numbers_[place];
    if (count_ >= numbers_.size() / 2) {
      grow();
      place = find(key);
    }
    keys_[place] = key;
    return numbers_[place] = count_++;
  }

 private:
  // The place of the key, or the empty one where it belongs.
  size_t find(uint64_t key) const {
    const size_t mask = numbers_.size() - 1;
    size_t place = (key * 0x9e3779b97f4a7c15 >> 24) & mask;
    while (numbers_[place] != kNoBlock && keys_[place] != key) place = (place + 1) & mask;
    return place;
  }

  void grow() {
    const std::vector<uint64_t> keys = std::exchange(keys_, std::vector<uint64_t>(keys_.size() * 2));
    const std::vector<BlockId> numbers = std::exchange(numbers_, std::vector<BlockId>(numbers_.size() * 2, kNoBlock));
    for (size_t i = 0; i < keys.size(); i++) {
      if (numbers[i] == kNoBlock) continue;
      const size_t place = find(keys[i]);
      keys_[place] = keys[i];
      numbers_[place] = numbers[i];
    }
  }

  static constexpr size_t kPlacesAtFirst = size_t{1} << 16;
  std::vector<uint64_t> keys_ = std::vector<uint64_t>(kPlacesAtFirst);
  std::vector<BlockId> numbers_ = std::vector<BlockId>(kPlacesAtFirst, kNoBlock);  // kNoBlock: empty
  uint32_t count_ = 0;
};

}  // namespace sluice
