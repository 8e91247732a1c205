// MetadataCache remembers for a while what the backing said of files: attributes, names, listings, extended attributes,
// and what was found out at opens. All front ends share it.
//
// An item is good for a time that the reader names, and only as long as nothing it depends on was changed
// (change_counts.h). Whoever asks the backing makes a Look before, and hands it over with the answer: what changed
// meanwhile is not kept. Bounded: the items that were learnt first go first, as they will all be too old soon.
//
// Cost: about 450 bytes for the attributes of a file, 190 for a name. A hit takes the mutex for one look into a hash
// table. Thread-safe; the mutex is a leaf lock.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <variant>

#include "cache/clock.h"
#include "cache/mutex.h"
#include "cache/result.h"
#include "fs/store/change_counts.h"
#include "fs/store/path.h"
#include "fs/store/types.h"

namespace sluice {

enum class MetadataKind : uint8_t {
  attributes,  // number -> SharedStatx
  name,        // directory, name -> InodeNumber
  place,       // number -> nothing: the name it was last seen under still leads to it
  grant,       // number, caller and mode -> nothing: the caller may
  path,        // 0, caller and path -> InodeNumber, or Error
  listing,     // directory -> Listing
  xattr,       // number, name -> std::string, or Error. No name: the list of names
  target,      // symbolic link -> std::string
};

struct MetadataKey {
  MetadataKind kind;
  InodeNumber number = 0;
  std::string_view text = {};
};

using SharedStatx = std::shared_ptr<const Statx>;
using Listing = std::shared_ptr<const std::string>;  // as getdents64(2) gave it, from the first entry to the last
using MetadataValue = std::variant<std::monostate, SharedStatx, InodeNumber, std::string, Error, Listing>;

struct KnownMetadata {
  MetadataValue value;
  std::chrono::nanoseconds age{};
};

struct MetadataCacheStats {
  uint64_t items = 0;
  uint64_t bytes = 0;
  uint64_t hits = 0;
  uint64_t misses = 0;
  friend MetadataCacheStats operator+(const MetadataCacheStats& a, const MetadataCacheStats& b) {
    return {a.items + b.items, a.bytes + b.bytes, a.hits + b.hits, a.misses + b.misses};
  }
};

class MetadataCache {
 public:
  // `longest`: no reader asks for anything older.
  MetadataCache(uint64_t bytes_max, std::chrono::nanoseconds longest, const Clock* clock)
      : bytes_max_(bytes_max), longest_(longest), clock_(*clock) {}

  class Look {
   private:
    friend class MetadataCache;
    struct Dependency {
      ChangeKey key = 0;
      uint32_t count = 0;
    };
    std::chrono::nanoseconds begun_{};
    uint64_t total_ = 0;
    std::array<Dependency, 3> dependencies_;
    uint8_t size_ = 0;
  };
  // The backing is about to be asked. The answer depends on these; at most two.
  Look look(std::initializer_list<ChangeKey> keys) const;

  // `found`: on this, too, the answer depends, as it turned out; then nothing at all may have changed since the look.
  // Anything that is already known under the key is replaced.
  void insert(const MetadataKey& key, MetadataValue value, Look look, std::optional<ChangeKey> found = std::nullopt);
  // What is known and no older than that.
  std::optional<KnownMetadata> find(const MetadataKey& key, std::chrono::nanoseconds age_max);

  // Drops what is too old for everybody.
  void expire();
  void clear();

  bool enabled() const { return bytes_max_ > 0; }
  // What is too large to be kept, although it would be of use.
  uint64_t value_bytes_max() const { return bytes_max_ / 8; }
  ChangeCounts& changes() { return changes_; }
  MetadataCacheStats stats() const;

 private:
  struct Item {
    MetadataKind kind;
    InodeNumber number;
    std::string text;
    MetadataValue value;
    Look look;
    uint64_t bytes;

    MetadataKey key() const { return {kind, number, text}; }
  };
  using Items = std::list<Item>;  // first learnt first
  // Not noexcept: then libstdc++ keeps the hash beside the item, and does not look at the items of other keys.
  struct Hash {
    using is_transparent = void;
    size_t operator()(const MetadataKey& key) const;
    size_t operator()(const Items::iterator& item) const { return (*this)(item->key()); }
  };
  struct Equal {
    using is_transparent = void;
    static bool same(const MetadataKey& a, const MetadataKey& b) {
      return a.kind == b.kind && a.number == b.number && a.text == b.text;
    }
    bool operator()(const Items::iterator& a, const Items::iterator& b) const { return same(a->key(), b->key()); }
    bool operator()(const Items::iterator& a, const MetadataKey& b) const { return same(a->key(), b); }
    bool operator()(const MetadataKey& a, const Items::iterator& b) const { return same(a, b->key()); }
  };

  bool is_good(const Look& look) const;
  void erase(Items::iterator item) REQUIRES(mutex_);

  const uint64_t bytes_max_;
  const std::chrono::nanoseconds longest_;
  const Clock& clock_;
  ChangeCounts changes_;
  std::atomic<uint64_t> hits_{0};
  std::atomic<uint64_t> misses_{0};

  mutable Mutex mutex_;
  Items items_ GUARDED_BY(mutex_);
  std::unordered_set<Items::iterator, Hash, Equal> index_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice
