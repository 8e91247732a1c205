#include "cache/slab_supply.h"

#include <algorithm>

#include "cache/assert.h"
#include "cache/release_test.h"

namespace sluice {

SlabSupply::SlabSupply(SlabMemory* memory, const SlabSupplyOptions& options)
    : memory_(memory), options_(options), thread_([this] { run(); }) {}

SlabSupply::~SlabSupply() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

Result<SlabSupply::Slab> SlabSupply::take() {
  uint32_t slab;
  {
    MutexLock lock(&mutex_);
    slab = taken_;
  }
  ASSERT(slab < options_.slabs_max);
  TRY(touch_up_to(slab));
  {
    MutexLock lock(&mutex_);
    taken_++;
  }
  changed_.notify_one();
  return Slab{.number = slab, .guarded = options_.guards && !unguarded_.load(std::memory_order_relaxed)};
}

Result<> SlabSupply::touch_up_to(uint32_t slab) {
  if (slab < touched_.load(std::memory_order_acquire)) return {};
  MutexLock lock(&touch_mutex_);
  if (slab < touched_.load(std::memory_order_relaxed)) return {};
  TRY(memory_->touch(slab));
  if (options_.guards && !install_guard(memory_->address(slab))) unguarded_.store(true, std::memory_order_relaxed);
  touched_.store(slab + 1, std::memory_order_release);
  return {};
}

// The first slab is everybody's; the second says that the cache grows.
bool SlabSupply::wants_more() const {
  const uint32_t touched = touched_.load(std::memory_order_relaxed);
  return taken_ > 1 && touched < std::min(options_.slabs_max, taken_ + options_.ready_max);
}

void SlabSupply::run() {
  for (;;) {
    {
      MutexLock lock(&mutex_);
      while (!stopping_ && !wants_more()) changed_.wait(mutex_);
      if (stopping_) return;
    }
    // Who takes the next slab meets the refusal itself and says so.
    if (!touch_up_to(touched_.load(std::memory_order_relaxed))) return;
  }
}

}  // namespace sluice
