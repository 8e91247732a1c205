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

RunList& RunList::operator=(RunList&& other) noexcept {
  few_ = other.few_;
  many_ = std::move(other.many_);
  count_ = std::exchange(other.count_, 0);
  return *this;
}

void RunList::push_back(FrameRun run) {
  if (many_.empty() && count_ < few_.size()) {
    few_[count_++] = run;
    return;
  }
  if (many_.empty()) many_.assign(few_.begin(), few_.end());
  many_.push_back(run);
  count_++;
}

void RunList::erase_front(size_t count) {
  std::ranges::copy(runs().subspan(count), runs().begin());
  count_ -= count;
  if (!many_.empty()) many_.resize(count_);
}

PageRefs& PageRefs::operator=(PageRefs&& other) noexcept {
  if (this == &other) return *this;
  reset();
  arena_ = other.arena_;
  slot_ = std::exchange(other.slot_, nullptr);
  runs_ = std::move(other.runs_);
  pages_ = std::exchange(other.pages_, 0);
  return *this;
}

void PageRefs::append(FrameRun run) {
  ASSERT(arena_ != nullptr);
  if (run.count == 0) return;
  count_borrowed();
  pages_ += run.count;
  if (!runs().empty() && adjacent(runs().back(), run)) {
    runs_.runs().back().count += run.count;
  } else {
    runs_.push_back(run);
  }
}

void PageRefs::append(PageRefs&& more) {
  if (more.pages_ == 0) return;
  if (arena_ == nullptr) arena_ = more.arena_;
  ASSERT(arena_ == more.arena_);
  more.count_borrowed();
  for (const FrameRun run : more.runs()) append(run);
  more.runs_.clear();
  more.pages_ = 0;
}

PageRefs PageRefs::take_front(uint64_t pages) {
  ASSERT(pages <= pages_);
  count_borrowed();
  pages_ -= pages;
  PageRefs front(arena_);
  const std::span<FrameRun> all = runs_.runs();
  auto run = all.begin();
  for (; pages > 0 && run->count <= pages; ++run) {
    front.append(*run);
    pages -= run->count;
  }
  if (pages > 0) {
    const auto count = static_cast<uint32_t>(pages);
    front.append({run->first, count});
    *run = {run->first + count, run->count - count};
  }
  runs_.erase_front(static_cast<size_t>(run - all.begin()));
  return front;
}

// What is borrowed is held as a whole; parts need counts.
void PageRefs::count_borrowed() {
  if (slot_ == nullptr) return;
  for (const FrameRun run : runs()) arena_->reference(run);
  arena_->give_back(*std::exchange(slot_, nullptr));
}

void PageRefs::reset() {
  if (pages_ == 0) return;
  release();
  slot_ = nullptr;
  runs_.clear();
  pages_ = 0;
}

void PageRefs::release() {
  if (slot_ != nullptr) {
    arena_->give_back(*slot_);
  } else {
    for (const FrameRun run : runs()) arena_->release(run);
  }
  arena_->tell_release();
}

FrameNumber PageRefs::frame(uint64_t page) const {
  for (const FrameRun run : runs()) {
    if (page < run.count) return run.first + static_cast<uint32_t>(page);
    page -= run.count;
  }
  ASSERT(page < pages_);
  return kNoFrame;
}

void PageRefs::append_iovecs(uint64_t skip, uint64_t length, std::vector<iovec>& iovecs) const {
  for_each_part(runs(), skip, length, [&](FrameRun run, uint64_t offset, uint64_t bytes) {
    iovecs.push_back({arena_->address(run.first) + offset, bytes});
  });
}

void PageRefs::mark_lent(uint64_t skip, uint64_t length) const {
  for_each_part(runs(), skip, length, [&](FrameRun run, uint64_t offset, uint64_t bytes) {
    const PageRange pages = pages_of(offset, bytes);
    arena_->mark_lent({run.first + static_cast<uint32_t>(pages.first), static_cast<uint32_t>(pages.count)});
  });
}

}  // namespace sluice
