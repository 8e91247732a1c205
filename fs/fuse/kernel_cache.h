// KernelCache decides which opens of a file go through the kernel's page cache, and whether it may keep the pages that
// it has. Off, none do: our cache stands in for it, and memory is used once. With a size, files up to it are read
// through the kernel: a hit there costs no request, at the price of keeping these bytes twice.
//
// All opens of a file at one time go the same way, for a write past the page cache and a read through it at the same
// moment could leave old bytes in it. The first open decides. New files go past it, as nobody knows how they will grow.
// Pages are kept from one open to the next when the file bears the stamp that it had at the last one, and could be
// trusted then.
//
// Thread-safe; the mutex is a leaf lock.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>

#include "cache/mutex.h"
#include "fs/fuse/counted_open.h"
#include "fs/store/file_data.h"
#include "fs/store/types.h"

namespace sluice {

class KernelCache {
 public:
  explicit KernelCache(uint64_t size_max) : size_max_(size_max) {}

  using Open = CountedOpen<KernelCache>;
  struct Opened {
    Open open;
    bool cached = false;
    bool keeps_pages = false;
  };
  // `version` is null for a file that was just created.
  Opened opened(InodeNumber number, const FileVersion* version);

  static constexpr size_t kRememberedMax = 65536;  // closed files; their pages are dropped at the next open after that

 private:
  friend Open;
  void closed(InodeNumber number);

  struct Item {
    uint32_t opens = 0;
    bool cached = false;
    Stamp stamp;                               // at the last open through the page cache; none: not to be trusted
    std::list<InodeNumber>::iterator place{};  // in closed_, valid while opens == 0
  };

  const uint64_t size_max_;
  mutable Mutex mutex_;
  std::unordered_map<InodeNumber, Item> items_ GUARDED_BY(mutex_);
  std::list<InodeNumber> closed_ GUARDED_BY(mutex_);  // latest first
};

}  // namespace sluice
