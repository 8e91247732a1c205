#include "cache/page_refs.h"

#include <algorithm>

#include "cache/assert.h"

namespace sluice {
namespace {

// Calls visit(FrameRun, bytes to skip in it, bytes to take) for each run that holds bytes [skip, skip + length).
template <typename Visit>
void for_each_part(std::span<const FrameRun> runs, uint64_t skip, uint64_t length, Visit visit) {
  for (const FrameRun run : runs) {
    if (length == 0) return;
    const uint64_t bytes = uint64_t{run.count} * kPageSize;
    if (skip >= bytes) {
      skip -= bytes;
      continue;
    }
    const uint64_t taken = std::min(length, bytes - skip);
    visit(run, skip, taken);
    length -= taken;
    skip = 0;
  }
  ASSERT(length == 0);  // more bytes asked for than there are pages
}

bool adjacent(FrameRun left, FrameRun right) {
  return left.first + left.count == right.first && left.first / kFramesPerSlab == right.first / kFramesPerSlab;
}

}  // namespace

PageRefs& PageRefs::operator=(PageRefs&& other) noexcept {
  if (this == &other) return *this;
  reset();
  arena_ = other.arena_;
  runs_ = std::exchange(other.runs_, {});
  pages_ = std::exchange(other.pages_, 0);
  return *this;
}

void PageRefs::append(FrameRun run) {
  ASSERT(arena_ != nullptr);
  if (run.count == 0) return;
  pages_ += run.count;
  if (!runs_.empty() && adjacent(runs_.back(), run)) {
    runs_.back().count += run.count;
  } else {
    runs_.push_back(run);
  }
}

void PageRefs::append(PageRefs&& more) {
  if (more.pages_ == 0) return;
  if (arena_ == nullptr) arena_ = more.arena_;
  ASSERT(arena_ == more.arena_);
  for (const FrameRun run : more.runs_) append(run);
  more.runs_.clear();
  more.pages_ = 0;
}

PageRefs PageRefs::take_front(uint64_t pages) {
  ASSERT(pages <= pages_);
  pages_ -= pages;
  PageRefs front(arena_);
  auto run = runs_.begin();
  for (; pages > 0 && run->count <= pages; ++run) {
    front.append(*run);
    pages -= run->count;
  }
  if (pages > 0) {
    const auto count = static_cast<uint32_t>(pages);
    front.append({run->first, count});
    *run = {run->first + count, run->count - count};
  }
  runs_.erase(runs_.begin(), run);
  return front;
}

void PageRefs::reset() {
  if (pages_ == 0) return;
  for (const FrameRun run : runs_) arena_->release(run);
  runs_.clear();
  pages_ = 0;
  arena_->tell_release();
}

FrameNumber PageRefs::frame(uint64_t page) const {
  for (const FrameRun run : runs_) {
    if (page < run.count) return run.first + static_cast<uint32_t>(page);
    page -= run.count;
  }
  ASSERT(page < pages_);
  return kNoFrame;
}

void PageRefs::append_iovecs(uint64_t skip, uint64_t length, std::vector<iovec>& iovecs) const {
  for_each_part(runs_, skip, length, [&](FrameRun run, uint64_t offset, uint64_t bytes) {
    iovecs.push_back({arena_->address(run.first) + offset, bytes});
  });
}

void PageRefs::mark_lent(uint64_t skip, uint64_t length) const {
  for_each_part(runs_, skip, length, [&](FrameRun run, uint64_t offset, uint64_t bytes) {
    const PageRange pages = pages_of(offset, bytes);
    arena_->mark_lent({run.first + static_cast<uint32_t>(pages.first), static_cast<uint32_t>(pages.count)});
  });
}

}  // namespace sluice
