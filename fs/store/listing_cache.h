// ListingCache keeps what directories of a local file system had in them, with the stamp that each bore then. A
// directory's stamp moves with every name that comes, goes or changes in it, so a listing is good for as long as the
// directory bears the same stamp: one statx(2) in place of getdents64(2), which takes two thirds of the work of a
// listing.
//
// Not for network and FUSE file systems, whose directories may bear any times: there listings are relied on for a time
// (MetadataCache). Bounded: what was used longest ago goes first. Thread-safe; the mutex is a leaf lock.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "cache/clock.h"
#include "cache/mutex.h"
#include "fs/store/metadata_cache.h"
#include "fs/store/types.h"
#include "fs/store/version.h"

namespace sluice {

class ListingCache {
 public:
  static constexpr std::chrono::minutes kIdleMax{5};  // what nobody asks for any more

  ListingCache(uint64_t bytes_max, const Clock* clock) : bytes_max_(bytes_max), clock_(*clock) {}

  // `stamp`: as the directory bears it now. Null: not known, or it is another one by now.
  Listing find(InodeNumber directory, const Stamp& stamp);
  // `stamp` must have been trustworthy before the first entry was read, and the same after the last.
  void insert(InodeNumber directory, const Stamp& stamp, Listing listing);
  // Drops what was not used for kIdleMax.
  void expire();
  void clear();

  // What is too large to be kept.
  uint64_t value_bytes_max() const { return bytes_max_ / 2; }
  MetadataCacheStats stats() const;

 private:
  struct Item {
    InodeNumber directory;
    Stamp stamp;
    Listing listing;
    std::chrono::nanoseconds used_at;
  };
  using Items = std::list<Item>;  // used longest ago first

  static uint64_t bytes_of(const Item& item);
  void erase(Items::iterator item) REQUIRES(mutex_);

  const uint64_t bytes_max_;
  const Clock& clock_;
  mutable Mutex mutex_;
  Items items_ GUARDED_BY(mutex_);
  std::unordered_map<InodeNumber, Items::iterator> index_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t hits_ GUARDED_BY(mutex_) = 0;
  uint64_t misses_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice
