// Scrubber is the thread behind ChecksumMode::scrub: it looks at the whole cache once in a period, a little at a time,
// and never for more than a hundredth of its own time, however short the period and large the cache.
#pragma once

#include <chrono>
#include <cstdint>
#include <thread>

#include "cache/block_cache.h"
#include "cache/clock.h"
#include "cache/mutex.h"

namespace sluice {

struct ScrubberOptions {
  std::chrono::nanoseconds period = std::chrono::hours(6);
  const Clock* clock = &system_clock();
};

class Scrubber {
 public:
  // The cache outlives it.
  Scrubber(BlockCache* cache, const ScrubberOptions& options);
  ~Scrubber();  // after the step under way, some milliseconds
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  void start();  // the thread, once; without it somebody else calls step
  // Looks at what is due. Returns how long to wait before the next one.
  std::chrono::nanoseconds step();

 private:
  void run();

  BlockCache* const cache_;
  const ScrubberOptions options_;
  std::chrono::nanoseconds last_;  // step
  uint64_t places_ = 0;            // that a pass takes, as the cache said last
  double due_ = 0;                 // places

  Mutex mutex_;  // leaf
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice
