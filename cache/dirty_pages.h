// DirtyPages are the pages of one file that the backing does not surely have. It holds references on them, so they stay
// whatever the cache evicts; it writes nothing itself.
//
//   put       -> dirty     nobody but we has these bytes
//   take      -> on the way: given to a write of the backing; a page that is put meanwhile is dirty beside that
//   written   -> unsynced  the backing has accepted them, and may still lose them
//   synced    -> let go    after an fsync that began when they were unsynced already
//   sync_failed            all that is unsynced is dirty again: what an fsync could not keep must be written again
//
// Of one page never two writes are on their way, so the backing gets its versions in order. Each put has a number;
// whoever wants durable what was put so far waits for what bears a number up to that of now.
//
// Cost: some 80 bytes per page beside the page. Thread-safe. The mutex is a leaf lock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "cache/block.h"
#include "cache/mutex.h"
#include "cache/page_refs.h"

namespace sluice {

// Pages, of all files.
struct DirtyTotals {
  std::atomic<uint64_t> dirty{0};  // also those on their way
  std::atomic<uint64_t> unsynced{0};
  uint64_t kept() const { return dirty.load(std::memory_order_relaxed) + unsynced.load(std::memory_order_relaxed); }
};

class DirtyPages {
 public:
  DirtyPages(Arena* arena, DirtyTotals* totals) : arena_(*arena), totals_(*totals) {}
  DirtyPages(const DirtyPages&) = delete;
  DirtyPages& operator=(const DirtyPages&) = delete;
  ~DirtyPages();

  struct Run {  // adjacent pages
    PageRange range;
    PageRefs pages;
  };

  // Takes references of its own.
  void put(PageRange range, const PageRefs& pages, std::chrono::nanoseconds now);

  // The number of the last put.
  uint64_t now() const;
  // The first run of dirty pages at or after `from` in the range, put up to then and not on their way; `pages_max` at
  // most. It is on its way until `written` or `failed`.
  struct Wanted {
    PageRange range;
    uint64_t pages_max = 0;
    uint64_t put_until = UINT64_MAX;
  };
  std::optional<Run> take(const Wanted& wanted);
  void written(const Run& run);
  void failed(const Run& run);
  // Whether something in the range, put up to then, is dirty or on its way.
  bool has_unwritten(PageRange range, uint64_t put_until = UINT64_MAX) const;
  // Returns when nothing of that is on its way. The range must not be taken from meanwhile without end.
  void await_idle(PageRange range, uint64_t put_until = UINT64_MAX);

  // How many writes were accepted; to be asked before an fsync.
  uint64_t written_count() const;
  // An fsync that began at `count` succeeded.
  void synced(uint64_t count);
  void sync_failed();

  // What is in the range is no longer to be kept; what is on its way stays so. Returns how many dirty pages were lost.
  uint64_t discard(PageRange range);
  // Everything that is dirty, in order; nothing is kept any more.
  std::vector<Run> take_all();

  // What is kept in the range, in order.
  std::vector<Run> peek(PageRange range) const;

  struct Counts {
    uint64_t dirty = 0;     // pages, also on their way
    uint64_t unsynced = 0;  // pages
    uint64_t kept() const { return dirty + unsynced; }
  };
  Counts counts() const;
  // Since when the oldest of what is dirty, and of what is unsynced, is so; nothing when there is none. May be too
  // long ago after parts of it were written.
  std::optional<std::chrono::nanoseconds> dirty_since() const;

 private:
  enum class State : uint8_t { dirty, unsynced, discarded };
  struct Page {
    FrameNumber frame = kNoFrame;  // one reference; none when discarded
    State state = State::dirty;
    bool on_way = false;      // this version or one before it
    uint64_t put = 0;         // number of the oldest put that only this version, or what is on its way, has
    uint64_t on_way_put = 0;  // the same of what is on its way
    uint64_t written = 0;     // when unsynced: number of the write that was accepted
  };
  using Pages = std::map<uint64_t, Page>;

  static bool may_take(const Page& page, uint64_t put_until) {
    return page.state == State::dirty && !page.on_way && page.put <= put_until;
  }
  static bool is_unwritten(const Page& page, uint64_t put_until) {
    if (page.on_way && page.on_way_put <= put_until) return true;
    return page.state == State::dirty && page.put <= put_until;
  }
  void count(State state, int64_t change) REQUIRES(mutex_);
  void set_state(Page& page, State state) REQUIRES(mutex_);
  void let_go(Page& page) REQUIRES(mutex_);
  Pages::iterator drop(Pages::iterator item) REQUIRES(mutex_);
  void arrived(const Run& run, bool accepted);
  void note_if_clean() REQUIRES(mutex_);
  void add_to(std::vector<Run>& runs, uint64_t number, const Page& page) const;

  Arena& arena_;
  DirtyTotals& totals_;
  mutable Mutex mutex_;
  CondVar changed_;
  Pages pages_ GUARDED_BY(mutex_);
  Counts counts_ GUARDED_BY(mutex_);
  uint64_t puts_ GUARDED_BY(mutex_) = 0;
  uint64_t writes_ GUARDED_BY(mutex_) = 0;
  std::optional<std::chrono::nanoseconds> dirty_since_ GUARDED_BY(mutex_);
};

}  // namespace sluice
