#include "cache/dirty_pages.h"

#include <algorithm>
#include <utility>

#include "cache/assert.h"

namespace sluice {

DirtyPages::~DirtyPages() {
  MutexLock lock(&mutex_);
  for (auto item = pages_.begin(); item != pages_.end(); ++item) {
    let_go(item->second);
    count(item->second.state, -1);
  }
}

void DirtyPages::count(State state, int64_t change) {
  const auto pages = static_cast<uint64_t>(change);
  if (state == State::dirty) {
    counts_.dirty += pages;
    totals_.dirty += pages;
  } else if (state == State::unsynced) {
    counts_.unsynced += pages;
    totals_.unsynced += pages;
  }
}

void DirtyPages::set_state(Page& page, State state) {
  count(page.state, -1);
  count(state, 1);
  page.state = state;
}

void DirtyPages::let_go(Page& page) {
  if (page.frame != kNoFrame) arena_.release({std::exchange(page.frame, kNoFrame), 1});
}

DirtyPages::Pages::iterator DirtyPages::drop(Pages::iterator item) {
  let_go(item->second);
  set_state(item->second, State::discarded);
  return item->second.on_way ? std::next(item) : pages_.erase(item);
}

void DirtyPages::note_if_clean() {
  if (counts_.dirty == 0) dirty_since_.reset();
}

void DirtyPages::put(PageRange range, const PageRefs& pages, std::chrono::nanoseconds now) {
  ASSERT(pages.pages() == range.count);
  MutexLock lock(&mutex_);
  ++puts_;
  if (!dirty_since_) dirty_since_ = now;
  auto place = pages_.lower_bound(range.first);
  uint64_t number = range.first;
  for (const FrameRun run : pages.runs()) {
    arena_.reference(run);
    for (uint32_t i = 0; i < run.count; ++i, ++number, ++place) {
      if (place == pages_.end() || place->first != number) {
        place = pages_.emplace_hint(place, number, Page{});
        count(State::dirty, 1);
        place->second.put = puts_;
      } else {
        let_go(place->second);
        // Of a page that waits to be written the backing lacks what was put before as well.
        if (place->second.state != State::dirty || place->second.on_way) place->second.put = puts_;
        set_state(place->second, State::dirty);
      }
      place->second.frame = run.first + i;
    }
  }
}

uint64_t DirtyPages::now() const {
  MutexLock lock(&mutex_);
  return puts_;
}

std::optional<DirtyPages::Run> DirtyPages::take(const Wanted& wanted) {
  MutexLock lock(&mutex_);
  auto item = pages_.lower_bound(wanted.range.first);
  const auto end = pages_.lower_bound(wanted.range.end());
  while (item != end && !may_take(item->second, wanted.put_until)) ++item;
  if (item == end) return std::nullopt;
  Run run{{item->first, 0}, PageRefs(&arena_)};
  for (; item != end && run.range.count < wanted.pages_max; ++item) {
    Page& page = item->second;
    if (item->first != run.range.end() || !may_take(page, wanted.put_until)) break;
    page.on_way = true;
    page.on_way_put = page.put;
    arena_.reference({page.frame, 1});
    run.pages.append({page.frame, 1});
    ++run.range.count;
  }
  return run;
}

void DirtyPages::arrived(const Run& run, bool accepted) {
  MutexLock lock(&mutex_);
  ++writes_;
  auto item = pages_.lower_bound(run.range.first);
  for (uint64_t i = 0; i < run.range.count; ++i) {
    ASSERT(item != pages_.end() && item->first == run.range.first + i && item->second.on_way);
    Page& page = item->second;
    page.on_way = false;
    if (page.state == State::discarded) {
      item = pages_.erase(item);
      continue;
    }
    if (accepted && page.frame == run.pages.frame(i)) {
      set_state(page, State::unsynced);
      page.written = writes_;
    } else if (!accepted) {
      page.put = page.on_way_put;
    }
    ++item;
  }
  note_if_clean();
  changed_.notify_all();
}

void DirtyPages::written(const Run& run) {
  arrived(run, true);
}

void DirtyPages::failed(const Run& run) {
  arrived(run, false);
}

bool DirtyPages::has_unwritten(PageRange range, uint64_t put_until) const {
  MutexLock lock(&mutex_);
  for (auto item = pages_.lower_bound(range.first); item != pages_.end() && item->first < range.end(); ++item) {
    if (is_unwritten(item->second, put_until)) return true;
  }
  return false;
}

void DirtyPages::await_idle(PageRange range, uint64_t put_until) {
  MutexLock lock(&mutex_);
  for (auto item = pages_.lower_bound(range.first); item != pages_.end() && item->first < range.end();) {
    if (!item->second.on_way || item->second.on_way_put > put_until) {
      ++item;
      continue;
    }
    changed_.wait(mutex_);
    item = pages_.lower_bound(range.first);  // it may be another map now
  }
}

uint64_t DirtyPages::written_count() const {
  MutexLock lock(&mutex_);
  return writes_;
}

void DirtyPages::synced(uint64_t count) {
  MutexLock lock(&mutex_);
  if (counts_.unsynced == 0) return;
  for (auto item = pages_.begin(); item != pages_.end();) {
    const Page& page = item->second;
    item = page.state == State::unsynced && page.written <= count ? drop(item) : std::next(item);
  }
}

void DirtyPages::sync_failed() {
  MutexLock lock(&mutex_);
  for (auto& [number, page] : pages_) {
    if (page.state == State::unsynced) set_state(page, State::dirty);
  }
  if (counts_.dirty > 0 && !dirty_since_) dirty_since_ = std::chrono::nanoseconds{};
}

uint64_t DirtyPages::discard(PageRange range) {
  MutexLock lock(&mutex_);
  const uint64_t before = counts_.dirty;
  for (auto item = pages_.lower_bound(range.first); item != pages_.end() && item->first < range.end();)
    item = drop(item);
  note_if_clean();
  return before - counts_.dirty;
}

void DirtyPages::add_to(std::vector<Run>& runs, uint64_t number, const Page& page) const {
  if (runs.empty() || runs.back().range.end() != number) runs.push_back({{number, 0}, PageRefs(&arena_)});
  arena_.reference({page.frame, 1});
  runs.back().pages.append({page.frame, 1});
  ++runs.back().range.count;
}

std::vector<DirtyPages::Run> DirtyPages::take_all() {
  std::vector<Run> dirty;
  MutexLock lock(&mutex_);
  for (auto item = pages_.begin(); item != pages_.end(); item = drop(item)) {
    if (item->second.state == State::dirty) add_to(dirty, item->first, item->second);
  }
  note_if_clean();
  return dirty;
}

std::vector<DirtyPages::Run> DirtyPages::peek(PageRange range) const {
  std::vector<Run> runs;
  MutexLock lock(&mutex_);
  for (auto item = pages_.lower_bound(range.first); item != pages_.end() && item->first < range.end(); ++item) {
    if (item->second.state != State::discarded) add_to(runs, item->first, item->second);
  }
  return runs;
}

DirtyPages::Counts DirtyPages::counts() const {
  MutexLock lock(&mutex_);
  return counts_;
}

std::optional<std::chrono::nanoseconds> DirtyPages::dirty_since() const {
  MutexLock lock(&mutex_);
  return dirty_since_;
}

}  // namespace sluice
