// PageRefs holds one reference on each page of a read: while it lives, the pages keep their bytes. Cached pages are
// never written again once published (writers publish fresh pages), so what it shows is one moment's content.
// Move-only; belongs to one thread at a time.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cache/arena.h"

namespace sluice {

class PageRefs {
 public:
  PageRefs() = default;
  explicit PageRefs(Arena* arena) : arena_(arena) {}
  PageRefs(PageRefs&& other) noexcept
      : arena_(other.arena_), runs_(std::exchange(other.runs_, {})), pages_(std::exchange(other.pages_, 0)) {}
  PageRefs& operator=(PageRefs&& other) noexcept;
  ~PageRefs() { reset(); }

  // Takes over one reference on each frame of the run.
  void append(FrameRun run);
  void append(PageRefs&& more);
  // The first `pages`, which leave this one; no more than there are.
  PageRefs take_front(uint64_t pages);
  void reset();  // gives all references back

  // Frame of the n-th page.
  FrameNumber frame(uint64_t page) const;
  uint64_t pages() const { return pages_; }
  std::span<const FrameRun> runs() const { return runs_; }
  Arena* arena() const { return arena_; }

  // Appends bytes [skip, skip + length) as iovecs.
  void append_iovecs(uint64_t skip, uint64_t length, std::vector<iovec>& iovecs) const;
  // Marks the pages that hold bytes [skip, skip + length) as lent; see Arena.
  void mark_lent(uint64_t skip, uint64_t length) const;

 private:
  Arena* arena_ = nullptr;
  std::vector<FrameRun> runs_;
  uint64_t pages_ = 0;
};

}  // namespace sluice
