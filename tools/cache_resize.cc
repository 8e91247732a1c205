#include "tools/cache_resize.h"

#include <errno.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "cache/log.h"
#include "tools/option_values.h"

namespace sluice {
namespace {

// Memory that clients hold is looked at so often. A look is a walk over the cache's blocks.
constexpr std::chrono::milliseconds kLookPeriod{100};

tl::unexpected<Complaint> refusal(const CacheStats& stats, uint64_t size_bytes, int error) {
  switch (error) {
    case EINVAL: return complain("a cache has at least {}", format_size(kCacheSizeMin));
    case ERANGE:
      return complain(
          "{} is more than this gateway can have, {}: the machine's memory when it started, or its own --cache-size "
          "where address space is limited; start it again with a larger --cache-size",
          format_size(size_bytes), format_size_rounded(stats.size_max_bytes));
    case ENOSPC:
      return complain("pinned files need more than half of {}: unpin some, or choose a larger size",
                      format_size(size_bytes));
    default: return complain("the cache cannot have {}: {}", format_size(size_bytes), error_text(error));
  }
}

}  // namespace

CacheResize::CacheResize(BlockCache* cache, std::function<void(uint64_t size_bytes)> follow)
    : cache_(*cache), follow_(std::move(follow)), thread_([this] { run(); }) {}

CacheResize::~CacheResize() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

Checked<> CacheResize::set_size(uint64_t size_bytes) {
  MutexLock resizing(&resizing_mutex_);
  const CacheStats before = cache_.stats();
  if (size_bytes >= kCacheSizeMin && size_bytes < before.size_bytes) follow_(size_bytes);
  const Result<void> resized = cache_.resize(size_bytes);
  follow_(cache_.stats().size_bytes);
  if (!resized) return refusal(before, size_bytes, resized.error().number);
  unfinished_ = cache_.finish_resize();
  MutexLock lock(&mutex_);
  begun_ = true;
  changed_.notify_one();
  return {};
}

void CacheResize::run() {
  for (;;) {
    {
      MutexLock lock(&mutex_);
      while (!begun_ && !stopping_) changed_.wait(mutex_);
      begun_ = false;
    }
    do {
      {
        MutexLock lock(&mutex_);
        if (!stopping_) changed_.wait_for(mutex_, kLookPeriod);
        if (stopping_) return;
      }
      unfinished_ = cache_.finish_resize();
    } while (unfinished_ > 0);
  }
}

}  // namespace sluice
