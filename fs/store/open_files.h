// OpenFiles counts the opens of every file, whichever front end they come from, and remembers whom to tidy: a closed
// file keeps descriptors for a while, because the next open comes soon (a GET per request), and small writes leave
// pages in the PageCache.
//
// Thread-safe. Under the mutex only FileData's own is taken (needs_tidy).
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cache/mutex.h"
#include "fs/store/file_data.h"
#include "fs/store/types.h"

namespace sluice {

class OpenFiles {
 public:
  void opened(InodeNumber number, const std::shared_ptr<FileData>& data);
  // After FileData::close.
  void closed(InodeNumber number);
  // The inode is gone: lets go of its data, unless open.
  void forget(InodeNumber number);
  // Time moves by ticks, at least a second each: tidies files that ask for it, and forgets those that were closed more
  // than so many ticks ago.
  void tick(uint32_t closed_ticks);

  // The process is short of descriptors: closes those kept for files that are closed.
  void drop_idle();

  std::vector<std::shared_ptr<FileData>> list() const;  // that are open
  uint64_t opens() const;
  // Whether this file is open, or fewer than `files_max` are.
  bool has_room(InodeNumber number, uint64_t files_max) const;

 private:
  struct Item {
    std::shared_ptr<FileData> data;
    uint32_t opens = 0;
    uint32_t closed_at = 0;                         // tick
    std::list<InodeNumber>::iterator closed_place;  // valid while opens == 0
  };
  using Items = std::unordered_map<InodeNumber, Item>;

  std::shared_ptr<FileData> take_closed(Items::iterator item) REQUIRES(mutex_);

  mutable Mutex mutex_;
  Items items_ GUARDED_BY(mutex_);
  std::list<InodeNumber> closed_ GUARDED_BY(mutex_);                  // latest closed first
  std::vector<std::shared_ptr<FileData>> untidy_ GUARDED_BY(mutex_);  // when they were closed
  uint64_t opens_ GUARDED_BY(mutex_) = 0;
  uint32_t now_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice
