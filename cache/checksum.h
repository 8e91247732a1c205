// PageSums knows what the pages of the cache held when they became pages: 32 bits of XXH3 for each frame. A page is
// never written again once it is published, so a page whose bytes no longer give its sum changed by itself: a bit
// flipped in the memory, or somebody wrote where he should not.
//
//   allocated    no sum
//   filled       summed, by who puts it into the index, before; a page that is put in twice keeps the sum of the first
//   read         compared, under a reference
//   found bad    marked, so that of several who find it at once one counts it, and that nothing makes it good again
//
// Which thread sees which sum is settled by what settles it for the bytes: a sum is written where the page is, before
// the index shows the frame, and read by who holds a reference to a frame that the index showed. So the words are
// relaxed.
//
// Cost: 4 bytes per frame. A page takes some 0.2 us while its bytes are in the processor, 0.3 us else. One damaged page in 2^32 goes unseen.
// Thread-safe, without locks.
#pragma once

#include <atomic>
#include <cstdint>

#include "cache/arena.h"
#include "cache/lazy_array.h"

namespace sluice {

enum class ChecksumMode {
  off,
  scrub,   // pages are looked at now and then: BlockCache::scrub
  always,  // whenever a reader gets them
};

class PageSums {
 public:
  static constexpr uint64_t kBytesPerFrame = 4;

  // For the frames of an arena, numbers below `frames`.
  PageSums(const Arena* arena, size_t frames) : arena_(*arena), sums_(frames) {}

  void clear(FrameRun run);
  // Those that have none. By who holds the frames.
  void set(FrameRun run);
  // The page goes to another frame, with the sum that it had from the start.
  void copy(FrameNumber from, FrameNumber to) {
    word(to).store(word(from).load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  // Frames from there on are no more.
  void forget_from(FrameNumber frame) { sums_.forget_from(frame); }
  // True when the page is as it was summed.
  bool holds(FrameNumber frame) const;
  // From now on it does not hold. True for the first who says so.
  bool mark_bad(FrameNumber frame) { return word(frame).exchange(kBad, std::memory_order_relaxed) != kBad; }

 private:
  // Values that no sum has.
  static constexpr uint32_t kNone = 0;
  static constexpr uint32_t kBad = 1;

  std::atomic<uint32_t>& word(FrameNumber frame) { return sums_[frame]; }
  uint32_t sum_of(FrameNumber frame) const;

  const Arena& arena_;
  LazyArray<std::atomic<uint32_t>> sums_;
};

}  // namespace sluice
