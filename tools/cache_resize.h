// `sluice cache resize`, the gateway's side: changes the cache's size, tells those whose limits depend on it, and sees
// to it that memory which readers and clients held goes back when they let it go, however long that takes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

#include "cache/block_cache.h"
#include "cache/mutex.h"
#include "tools/complaint.h"

namespace sluice {

class CacheResize {
 public:
  // `follow` is called with each new size, before a smaller one and after a larger one takes effect. The cache outlives
  // this.
  CacheResize(BlockCache* cache, std::function<void(uint64_t size_bytes)> follow);
  ~CacheResize();
  CacheResize(const CacheResize&) = delete;
  CacheResize& operator=(const CacheResize&) = delete;

  // Complaints change nothing. Any thread; takes up to a second per GiB that goes.
  Checked<> set_size(uint64_t size_bytes);
  // Bytes that are still to go back to the system after set_size.
  uint64_t unfinished() const { return unfinished_.load(); }

 private:
  void run();

  BlockCache& cache_;
  const std::function<void(uint64_t)> follow_;
  std::atomic<uint64_t> unfinished_{0};

  Mutex resizing_mutex_;  // before mutex_
  Mutex mutex_;           // leaf
  CondVar changed_;
  bool begun_ GUARDED_BY(mutex_) = false;  // set_size was called since the thread looked last
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice
