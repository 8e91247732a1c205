// PageRefs holds one reference on each page of a read: while it lives, the pages keep their bytes. Cached pages are
// never written again once published (writers publish fresh pages), so what it shows is one moment's content.
// Move-only; belongs to one thread at a time.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cache/arena.h"

namespace sluice {

// A sequence of runs that allocates only from the third on: most reads have one, or two where slabs meet.
class RunList {
 public:
  RunList() = default;
  explicit RunList(FrameRun run) : few_{run}, count_(1) {}
  RunList(RunList&& other) noexcept
      : few_(other.few_), many_(std::move(other.many_)), count_(std::exchange(other.count_, 0)) {}
  RunList& operator=(RunList&& other) noexcept;

  std::span<FrameRun> runs() { return {many_.empty() ? few_.data() : many_.data(), count_}; }
  std::span<const FrameRun> runs() const { return {many_.empty() ? few_.data() : many_.data(), count_}; }
  void push_back(FrameRun run);
  void erase_front(size_t count);
  void clear() { erase_front(count_); }

 private:
  std::array<FrameRun, 2> few_{};
  std::vector<FrameRun> many_;  // all of them, once there were more
  size_t count_ = 0;
};

class PageRefs {
 public:
  PageRefs() = default;
  explicit PageRefs(Arena* arena) : arena_(arena) {}
  // The frames of the run, held by a slot that was taken for them and is given back in the end.
  PageRefs(Arena* arena, FrameRun run, Borrows::Slot* slot)
      : arena_(arena), slot_(slot), runs_(run), pages_(run.count) {}
  PageRefs(PageRefs&& other) noexcept
      : arena_(other.arena_),
        slot_(std::exchange(other.slot_, nullptr)),
        runs_(std::move(other.runs_)),
        pages_(std::exchange(other.pages_, 0)) {}
  PageRefs& operator=(PageRefs&& other) noexcept;
  ~PageRefs() {
    if (pages_ != 0) release();
  }

  // Takes over one reference on each frame of the run.
  void append(FrameRun run);
  void append(PageRefs&& more);
  // The first `pages`, which leave this one; no more than there are.
  PageRefs take_front(uint64_t pages);
  void reset();  // gives all references back

  // Frame of the n-th page.
  FrameNumber frame(uint64_t page) const;
  uint64_t pages() const { return pages_; }
  std::span<const FrameRun> runs() const { return runs_.runs(); }
  Arena* arena() const { return arena_; }

  // Appends bytes [skip, skip + length) as iovecs.
  void append_iovecs(uint64_t skip, uint64_t length, std::vector<iovec>& iovecs) const;
  // Marks the pages that hold bytes [skip, skip + length) as lent; see Arena.
  void mark_lent(uint64_t skip, uint64_t length) const;

 private:
  void count_borrowed();
  void release();

  Arena* arena_ = nullptr;
  Borrows::Slot* slot_ = nullptr;  // of all pages; none: each is counted
  RunList runs_;
  uint64_t pages_ = 0;
};

}  // namespace sluice
