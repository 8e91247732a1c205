// SlabSupply hands out the arena's slabs, touched and guarded. The first touch of a slab takes some 200 us, and
// milliseconds in a virtual machine whose host has to find the memory: as long as the disk needs to fill it. So once
// the cache has begun to grow a thread keeps a few slabs ready ahead of the demand; a cache that stays small never
// takes their memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "cache/mutex.h"
#include "cache/result.h"
#include "cache/slab_memory.h"

namespace sluice {

struct SlabSupplyOptions {
  uint32_t slabs_max = 0;
  uint32_t ready_max = 8;  // touched ahead, from the second slab on
  bool guards = false;     // the last page of each slab becomes its guard
};

class SlabSupply {
 public:
  struct Slab {
    uint32_t number;  // 0, 1, 2 ...
    bool guarded;
  };

  // `memory` outlives it.
  SlabSupply(SlabMemory* memory, const SlabSupplyOptions& options);
  ~SlabSupply();
  SlabSupply(const SlabSupply&) = delete;
  SlabSupply& operator=(const SlabSupply&) = delete;

  // At most slabs_max times, one thread at a time. Touches the slab itself when none is ready. Errors: ENOMEM.
  Result<Slab> take();

 private:
  void run();
  Result<> touch_up_to(uint32_t slab);
  bool wants_more() const REQUIRES(mutex_);

  SlabMemory* const memory_;
  const SlabSupplyOptions options_;

  Mutex touch_mutex_;                   // before mutex_; held for as long as a touch takes
  std::atomic<uint32_t> touched_{0};    // slabs, changed under touch_mutex_
  std::atomic<bool> unguarded_{false};  // a guard was refused

  Mutex mutex_;  // leaf
  CondVar changed_;
  uint32_t taken_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice
