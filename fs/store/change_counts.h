// ChangeCounts lets whoever looked at the backing find out later whether what was seen may have changed since: every
// change, our own and those we are told of, counts up what it concerns, before it begins and after it ended.
//
// A key is anything with a number: a file, a name in a directory, or one of the sums below. Keys share counters, so a
// count may move although nothing happened to its key; never the other way round. Thread-safe, no locks.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "fs/store/types.h"

namespace sluice {

using ChangeKey = uint64_t;

// A file's content and attributes, a directory's entries.
constexpr ChangeKey change_key(InodeNumber number) {
  return number << 2;
}
// What a name in a directory leads to.
inline ChangeKey change_key(InodeNumber directory, std::string_view name) {
  return (std::hash<std::string_view>{}(name)*0x9e3779b97f4a7c15 + directory) << 2 | 1;
}
inline constexpr ChangeKey kAnyDirectory = 2;  // any directory was moved, removed, or given other permissions
inline constexpr ChangeKey kAnyRemoval = 6;    // any name was removed or replaced
inline constexpr ChangeKey kAnyCreation = 10;  // any name appeared

class ChangeCounts {
 public:
  // The total first: see MetadataCache::insert.
  void count(ChangeKey key) {
    total_.fetch_add(1);
    slot(key).fetch_add(1);
  }
  // The same, for the first of the two counts of a change of our own.
  void count_begin(ChangeKey key) {
    if (followed_ != nullptr) followed_->note(index(key));
    count(key);
  }
  // Anything may have changed.
  void count_all() {
    total_.fetch_add(1);
    for (auto& slot : slots_) slot.fetch_add(1);
  }
  uint32_t of(ChangeKey key) const { return slot(key).load(); }
  uint64_t total() const { return total_.load(); }

  // Tells whether what concerns a few keys was changed by nobody but the calling thread, as long as it lives.
  class Followed {
   public:
    Followed(const ChangeCounts& counts, std::span<const ChangeKey> keys);
    ~Followed() { followed_ = nullptr; }
    Followed(const Followed&) = delete;
    Followed& operator=(const Followed&) = delete;

    // By others, the i-th key; also what others began before it and ended after that. Every change that this thread
    // began has ended.
    bool changed_by_others(size_t i) const;

   private:
    friend class ChangeCounts;
    void note(size_t slot);

    struct Key {
      ChangeKey key = 0;
      size_t slot = 0;
      uint32_t before = 0;
      uint32_t begun = 0;  // by this thread
    };
    const ChangeCounts& counts_;
    std::array<Key, 4> keys_{};
    size_t size_ = 0;
  };

 private:
  static constexpr unsigned kSlotBits = 14;

  static size_t index(ChangeKey key) { return (key * 0x9e3779b97f4a7c15) >> (64 - kSlotBits); }
  std::atomic<uint32_t>& slot(ChangeKey key) { return slots_[index(key)]; }
  const std::atomic<uint32_t>& slot(ChangeKey key) const { return slots_[index(key)]; }

  static constinit thread_local Followed* followed_;  // at most one

  std::array<std::atomic<uint32_t>, size_t{1} << kSlotBits> slots_{};
  alignas(64) std::atomic<uint64_t> total_{0};
};

// A change of our own, from before it begins until after it ended.
class OwnChange {
 public:
  OwnChange(ChangeCounts* counts, std::initializer_list<ChangeKey> keys) : counts_(*counts) {
    for (const ChangeKey key : keys) add(key);
  }
  ~OwnChange() { count(); }
  OwnChange(const OwnChange&) = delete;
  OwnChange& operator=(const OwnChange&) = delete;

  void add(ChangeKey key) {
    keys_[size_++] = key;
    counts_.count_begin(key);
  }

 private:
  void count() {
    for (size_t i = 0; i < size_; i++) counts_.count(keys_[i]);
  }

  ChangeCounts& counts_;
  std::array<ChangeKey, 8> keys_{};
  size_t size_ = 0;
};

}  // namespace sluice
