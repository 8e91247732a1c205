// Borrows is how a hit holds pages without counting them. A count per page is a cache line that travels between the
// cores with every read of a popular page: two threads on the hottest page are then slower than one. So a reader does
// not touch the page's count: it *borrows* the reference that the index holds, by writing which frames it reads to a
// slot that other threads seldom write, and looks whether the index still has them. Whoever takes frames out of the
// index *settles* before: it looks through the slots, and counts a reference for each holder that it finds.
//
//   reader                                     who drops a page from the index, in the lock of its shard
//     looks up the frames by version v           makes the version odd                          (c)
//     slot := frames                  (a)        in a slot? one reference more, slot says so    (d)
//     version still v?                (b)        releases the index's own reference
//     no: gives back, goes by lock               makes the version even
//     ...
//     slot := empty; what it says was counted is released
//
// a to d are sequentially consistent. So either (b) sees (c), or (d) sees (a). A slot whose holder is still before (b)
// may name frames that have long been given to somebody else. That is harmless: a settler counts only the frame that it
// is about to release, which has the index's reference, and the slot says which of its frames were counted.
//
// Cost: two atomic exchanges on a line of the thread's own for a hit. A settler reads 2 lines for each thread that ever
// borrowed, 32 at most, once per block. 2 KiB of slots. Counting each page in the lock of its shard, as longer reads
// do, takes about twice as long.
//
// Thread-safe, without locks.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <span>

#include "cache/assert.h"
#include "cache/block.h"

namespace sluice {

class Borrows {
 public:
  static constexpr uint32_t kFramesMax = 16;  // in one slot

  struct Slot {
    std::atomic<uint64_t> word{0};   // first frame, which of those from there on are borrowed, which are counted
    std::atomic<uint64_t> pages{0};  // ever noted by its holders, of whom there is one at a time
  };

  // Steps (a) and the giving back. No slot: the thread's own are all in use. At most kFramesMax adjacent frames.
  Slot* take(FrameRun run) {
    ASSERT(run.count > 0 && run.count <= kFramesMax);
    const uint64_t word = uint64_t{run.first} << 32 | ((uint64_t{1} << run.count) - 1);
    for (Slot& slot : stripes_[stripe_of_thread()].slots) {
      uint64_t empty = 0;
      if (slot.word.load(std::memory_order_relaxed) == 0 && slot.word.compare_exchange_strong(empty, word))
        return &slot;
    }
    return nullptr;
  }
  // Calls release(frame) for each frame that was counted meanwhile.
  template <typename Release>
  void give_back(Slot& slot, Release release) {
    const uint64_t word = slot.word.exchange(0);
    for (uint32_t counted = word >> kFramesMax & kMask; counted != 0; counted &= counted - 1) {
      release(static_cast<FrameNumber>(word >> 32) + static_cast<uint32_t>(std::countr_zero(counted)));
    }
  }

  // Step (d), for frames that the caller holds references of. Calls count(frame) before the slot says so, and
  // uncount(frame) when its holder was faster.
  template <typename Count, typename Uncount>
  void settle(std::span<const FrameNumber> frames, Count count, Uncount uncount);

  // How many pages readers found, by those who hold a slot and for all slots: a counter that needs no line of its own.
  static void note_pages(Slot& slot, uint64_t pages) {
    slot.pages.store(slot.pages.load(std::memory_order_relaxed) + pages, std::memory_order_relaxed);
  }
  uint64_t noted_pages() const;

 private:
  static constexpr uint32_t kStripes = 16;
  static constexpr uint32_t kMask = (1u << kFramesMax) - 1;
  struct alignas(128) Stripe {  // two lines: the processor fetches them in pairs
    std::array<Slot, 8> slots;
  };

  static uint32_t stripe_of_thread() {
    if (own_stripe == kNoStripe) own_stripe = next_stripe();
    return own_stripe;
  }
  static uint32_t next_stripe();
  static uint32_t stripes_used();
  // The bit of the frame among the borrowed ones of the word; 0 when it is not.
  static uint64_t borrowed_bit(uint64_t word, FrameNumber frame) {
    const uint64_t place = uint64_t{frame} - (word >> 32);
    return place < kFramesMax ? word & uint64_t{1} << place : 0;
  }

  static constexpr uint32_t kNoStripe = UINT32_MAX;
  static constinit thread_local uint32_t own_stripe;
  std::array<Stripe, kStripes> stripes_;
};

template <typename Count, typename Uncount>
void Borrows::settle(std::span<const FrameNumber> frames, Count count, Uncount uncount) {
  for (Stripe& stripe : std::span(stripes_).first(stripes_used())) {
    for (Slot& slot : stripe.slots) {
      uint64_t word = slot.word.load();
      if (word == 0) continue;
      for (const FrameNumber frame : frames) {
        if (borrowed_bit(word, frame) == 0) continue;
        count(frame);
        uint64_t bit;
        do {
          bit = borrowed_bit(word, frame);
        } while (bit != 0 && !slot.word.compare_exchange_weak(word, (word & ~bit) | bit << kFramesMax));
        if (bit == 0) uncount(frame);
      }
    }
  }
}

}  // namespace sluice
