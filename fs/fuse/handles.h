// HandleTable owns what the kernel has open. The number given to the kernel is the address of the handle; the
// table exists for the end of a session, when the kernel releases nothing any more.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "cache/assert.h"
#include "cache/mutex.h"
#include "fs/fuse/kernel_cache.h"
#include "fs/fuse/writers.h"
#include "fs/store/store.h"

namespace sluice {

// Shared with the reads and writes in flight.
struct FileHandle {
  std::shared_ptr<OpenFile> file;
  KernelCache::Open in_kernel_cache;
  Writers::Open as_writer;
};

// Shared with a reading that hangs, whose request was answered: then the kernel may release it.
struct DirectoryHandle {
  std::shared_ptr<OpenDirectory> directory;
};

template <typename Handle>
class HandleTable {
 public:
  uint64_t add(Handle handle) {
    auto owned = std::make_unique<Handle>(std::move(handle));
    const uint64_t number = reinterpret_cast<uint64_t>(owned.get());
    MutexLock lock(&mutex_);
    handles_.emplace(number, std::move(owned));
    return number;
  }
  // Trusts the kernel to send a number that it has not released.
  static Handle& get(uint64_t number) { return *reinterpret_cast<Handle*>(number); }
  // Closes; runs the handle's destructor without the lock.
  void remove(uint64_t number) {
    std::unique_ptr<Handle> removed;
    MutexLock lock(&mutex_);
    auto found = handles_.find(number);
    ASSERT(found != handles_.end());
    removed = std::move(found->second);
    handles_.erase(found);
  }
  void clear() {
    std::unordered_map<uint64_t, std::unique_ptr<Handle>> removed;
    MutexLock lock(&mutex_);
    removed.swap(handles_);
  }
  uint64_t size() const {
    MutexLock lock(&mutex_);
    return handles_.size();
  }

 private:
  mutable Mutex mutex_;  // Leaf lock.
  std::unordered_map<uint64_t, std::unique_ptr<Handle>> handles_ GUARDED_BY(mutex_);
};

}  // namespace sluice
