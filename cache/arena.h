// Arena is the cache's memory: anonymous 2 MiB slabs of huge pages, given out as 4 KiB frames in runs as long as
// the free space allows. Frames are reference counted, like the kernel's struct page: whoever uses a frame holds a
// reference, the last release gives it back.
//
// Lending. A frame whose bytes went to the kernel by reference (vmsplice) is marked lent before. When its
// last reference goes it does not become free but *cools*: the kernel may still read it. It becomes free again
// only by proof:
//   collapse  the release test: the last page of each slab is a guard page, and MADV_COLLAPSE on the slab then
//             fails with EAGAIN while any page of the slab is referenced by the kernel, with EINVAL when none
//             is (10-20 us per 2 MiB). Nothing moves.
//   replace   MADV_DONTNEED of exactly the cooling pages: the reader keeps the old pages, we get fresh ones. Exact and
//             expensive; also the last resort under `collapse`, when memory is needed and nothing has cooled. What
//             readers keep comes on top of the arena: who lends bounds how much that can be.
// Slabs are taken one by one as they are needed, some touched ahead (slab_supply.h). They go back to the system when
// the limit is lowered: those beyond it *retire*. Their free frames are given to nobody any more, and a slab of which
// all frames are free is returned. To empty them is the business of those who hold frames.
//
// Cost: 4 bytes of metadata per frame, and one guard page per slab (0.2 %).
// Thread-safe. The mutex is a leaf lock.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cache/block.h"
#include "cache/borrows.h"
#include "cache/result.h"

namespace sluice {

enum class ReleaseProof { collapse, replace };

struct ArenaOptions {
  uint32_t slabs_max = 0;                      // hard limit of the arena, in slabs of 2 MiB
  uint32_t limit = 0;                          // slabs that may be used, until set_limit says otherwise; 0: all
  ReleaseProof proof = ReleaseProof::replace;  // by `probe_release_proof`, once at start
};

struct ArenaStats {
  uint64_t frames_max = 0;      // usable frames when every slab below the limit is there
  uint64_t frames_free = 0;     // of the slabs taken so far and those still to come
  uint64_t frames_cooling = 0;  // lent, unused by us, not yet proven released
  uint64_t slabs = 0;           // taken so far, those that retire included
  uint64_t slabs_retiring = 0;  // beyond the limit, and their memory not yet the system's
  uint64_t frames_given = 0;    // ever, to those who allocate
  uint64_t runs_given = 0;      // ... in so many runs
  uint64_t release_tests = 0;
  uint64_t release_tests_busy = 0;  // ... that said EAGAIN
  uint64_t frames_replaced = 0;
};

class Arena {
 public:
  // Errors: ENOMEM when the address space or the first slab is refused.
  static Result<std::unique_ptr<Arena>> create(ArenaOptions options);
  virtual ~Arena() = default;

  // Appends up to `wanted` frames to `runs`, each frame with one reference that the caller owns, in as few runs as
  // possible. Frames hold arbitrary bytes. Uses free frames, then a new slab, then cooled frames by release test,
  // then replaces cooling ones. Never waits. Returns how many frames were given; fewer than wanted means that
  // everything else is referenced.
  virtual uint32_t allocate(uint32_t wanted, std::vector<FrameRun>& runs) = 0;

  virtual void reference(FrameRun run) = 0;
  // Gives back one reference on each frame. The last one frees or cools the frame.
  virtual void release(FrameRun run) = 0;

  // A reference without a count, for frames of the index: see borrows.h. No slot: count instead.
  Borrows::Slot* borrow(FrameRun run) { return borrows_.take(run); }
  void give_back(Borrows::Slot& slot) {
    borrows_.give_back(slot, [this](FrameNumber frame) { release({frame, 1}); });
  }
  // Before the index gives its references on these frames back: who borrowed them gets references of their own.
  void settle(std::span<const FrameNumber> frames) {
    borrows_.settle(
        frames,
        [this](FrameNumber frame) {
          reference({frame, 1});
        },
        [this](FrameNumber frame) {
          release({frame, 1});
        });
  }
  const Borrows& borrows() const { return borrows_; }

  // Call before the kernel gets the run by reference, while holding references on it.
  virtual void mark_lent(FrameRun run) = 0;

  // While `waiting` is not 0, `listener` runs whenever a PageRefs gave pages back, on that thread, no lock held. Set
  // once, before use.
  void on_release(const std::atomic<uint64_t>* waiting, std::function<void()> listener) {
    waiting_ = waiting;
    release_listener_ = std::move(listener);
  }
  void tell_release() const {
    if (waiting_ != nullptr && waiting_->load() != 0) [[unlikely]]
      release_listener_();
  }

  // From now on only the first `slabs` slabs are used, at least one and at most slabs_max: frames below
  // `slabs * kFramesPerSlab`. Any thread.
  virtual void set_limit(uint32_t slabs) = 0;
  // Proves what it can of the lent frames in retiring slabs released. For a thread that waits for these to go.
  virtual void cool_retiring() = 0;

  virtual char* address(FrameNumber frame) const = 0;
  virtual ArenaStats stats() const = 0;

 private:
  const std::atomic<uint64_t>* waiting_ = nullptr;
  std::function<void()> release_listener_;
  Borrows borrows_;
};

// Lends a page of a scratch slab to a pipe of our own and looks whether the release test sees it, and sees it return;
// otherwise `replace`. Also true to its word where vmsplice copies: then nothing is ever lent in fact.
ReleaseProof probe_release_proof();

}  // namespace sluice
