// NfsListingCache keeps pieces of directories as READDIR and READDIRPLUS told them, for clients that list again what
// did not change: looking up 50,000 names takes a third of a second, to see that none of the files has changed 1 ms.
//
// A piece is good as long as neither its directory nor one of its files changed (Store::unchanged), and what was learnt
// of them is not too old. It holds references of its files, so that a change of theirs is always heard of. Bounded by
// entries (256 bytes of reply count as one); what was learnt first goes. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/mutex.h"
#include "fs/store/store.h"
#include "net/nfs/file_table.h"

namespace sluice {

struct NfsListingKey {
  InodeNumber directory = 0;
  uint64_t cookie = 0;
  uint64_t bytes_max = 0;
  uint64_t names_max = 0;
  bool has_files = false;  // READDIRPLUS
  bool shows_files = false;
  bool operator==(const NfsListingKey&) const = default;
};

struct NfsListing {
  std::string bytes;                      // of the reply, from the first entry on
  std::vector<SeenInode> seen;            // the directory, and the files
  std::vector<NfsFileRef> files;          // of `seen`
  std::chrono::nanoseconds good_until{};  // by the monotonic clock
};

class NfsListingCache {
 public:
  NfsListingCache(Store* store, size_t entries_max, const Clock* clock)
      : store_(*store), entries_max_(entries_max), clock_(*clock) {}

  // Null: none that is good.
  std::shared_ptr<const NfsListing> find(const NfsListingKey& key);
  void insert(const NfsListingKey& key, NfsListing listing);
  // A name of this directory is gone: its file must not be held on to.
  void drop_directory(InodeNumber directory);
  void clear();
  size_t entries() const;  // kept

 private:
  struct Hash {
    size_t operator()(const NfsListingKey& key) const;
  };
  struct Item {
    NfsListingKey key;
    std::shared_ptr<const NfsListing> listing;
  };
  using Items = std::list<Item>;  // learnt first: first
  void erase(Items::iterator item, Items& gone) REQUIRES(mutex_);
  void drop(const NfsListingKey& key, const NfsListing* listing);

  Store& store_;
  const size_t entries_max_;
  const Clock& clock_;
  mutable Mutex mutex_;  // leaf
  Items items_ GUARDED_BY(mutex_);
  std::unordered_map<NfsListingKey, Items::iterator, Hash> index_ GUARDED_BY(mutex_);
  size_t entries_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice
