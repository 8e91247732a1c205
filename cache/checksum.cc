#include "cache/checksum.h"

#include <xxhash.h>

#include <algorithm>

namespace sluice {

uint32_t PageSums::sum_of(FrameNumber frame) const {
  return std::max(static_cast<uint32_t>(XXH3_64bits(arena_.address(frame), kPageSize)), kBad + 1);
}

void PageSums::clear(FrameRun run) {
  for (FrameNumber frame = run.first; frame < run.first + run.count; frame++) {
    word(frame).store(kNone, std::memory_order_relaxed);
  }
}

void PageSums::set(FrameRun run) {
  for (FrameNumber frame = run.first; frame < run.first + run.count; frame++) {
    if (word(frame).load(std::memory_order_relaxed) != kNone) continue;
    word(frame).store(sum_of(frame), std::memory_order_relaxed);
  }
}

bool PageSums::holds(FrameNumber frame) const {
  return sums_[frame].load(std::memory_order_relaxed) == sum_of(frame);
}

}  // namespace sluice
