// Flight and ParkedRead collapse concurrent misses ("single flight"). A Flight is one disk read of a run of missing
// pages, registered in its shard before the disk is asked; readers of the same pages wait on it and share its result or
// its error. A ParkedRead is a reader that waits for one flight or several; no thread waits with it.
#pragma once

#include <atomic>
#include <bitset>
#include <memory>
#include <vector>

#include "cache/block.h"
#include "cache/block_cache.h"
#include "cache/mutex.h"
#include "cache/page_refs.h"

namespace sluice {

class FileBlocks;

class ParkedRead {
 public:
  ParkedRead(CacheRead read, Arena* arena, Callback<void(Result<PageRefs>)> done)
      : read(std::move(read)), arena_(arena), done_(std::move(done)), frames_(this->read.pages.count, kNoFrame) {}
  ~ParkedRead() { reset(); }

  // This page of the range is there: takes over one reference. Each page once.
  void supply(uint64_t page, FrameNumber frame) { frames_[page - read.pages.first] = frame; }
  FrameNumber frame(uint64_t page) const { return frames_[page - read.pages.first]; }
  // Memory was short or a page bad: gives every page back, tells nobody, and may start over. Only when nothing is
  // expected any more.
  void reset();

  void expect_one() { pending_.fetch_add(1, std::memory_order_relaxed); }
  // By the issuer, before its own arrival: flights are still to land.
  bool expects_others() const { return pending_.load(std::memory_order_relaxed) > 1; }
  // One of the expected is through; `error` 0 when it went well. True for the last one, who must then `finish`.
  bool arrive(int error);
  bool failed() const { return error_.load(std::memory_order_relaxed) != 0; }
  // Runs `done` with all pages in order or the first error.
  void finish();

  const CacheRead read;
  // Set by the issuer before its own arrival.
  bool start_over = false;  // memory was short
  bool alone = false;       // ... for a retry, which held nothing beyond its own turn
  uint32_t repairs = 0;     // times that it started over for a bad page
  uint64_t hits = 0;        // counted for it

 private:
  Arena* const arena_;
  Callback<void(Result<PageRefs>)> done_;
  std::vector<FrameNumber> frames_;   // distinct elements may be set by several threads
  std::atomic<uint32_t> pending_{1};  // flights waited for, and the issuer
  std::atomic<int> error_{0};
};

struct Flight {
  struct Waiter {
    std::shared_ptr<ParkedRead> parked;
    PageRange pages;  // which this flight supplies
  };

  struct Failure {
    PageRange pages;
    int error = 0;
  };

  FileBlocks* file = nullptr;  // kept alive by `source` or by the reader
  uint32_t generation = 0;
  uint64_t size = 0;
  PageRange pages;  // inside one group
  IoClass io_class = IoClass::demand;
  std::shared_ptr<BlockSource> source;
  PageRefs memory;

  // Reading. What cannot be read as a whole is read in parts, so that a bad page is told from its neighbours.
  std::atomic<uint32_t> parts_under_way{0};
  uint64_t part_pages = 0;  // how long they are at most
  Mutex mutex;              // leaf
  std::vector<Failure> failed GUARDED_BY(mutex);

  // Guarded by the shard's mutex while the flight is registered there.
  bool registered = true;  // false: a change began over its pages; the result is for those who wait, not for the index
  std::vector<Waiter> waiters;
  std::bitset<256> asked;  // pages that a reader waits for

  bool covers(const FileBlocks& of, uint32_t of_generation, uint64_t page) const {
    return file == &of && generation == of_generation && page >= pages.first && page < pages.end();
  }
};

}  // namespace sluice
