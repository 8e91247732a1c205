// FakeSource is a backing file that exists only as a formula, for tests of everything above the disk. Reads queue up
// until the test runs them, so the test decides what overtakes what:
//
//   FakeSource source({.size = 10 * kPageSize + 7});
//   cache->read({... .source = ...}, [&](Result<PageRefs> pages) { ... });
//   REQUIRE(source.pending() == 1);
//   source.run_all();
//   CHECK(source.stamp_shown(0, bytes, kPageSize) == 0);
//
// A byte is f(seed, stamp of its page, offset). Stamps start at 0; change() gives pages the next stamp, as a
// write to the backing would. So from bytes alone a test can say which moment they show, and torn pages show none.
// Thread-safe; completions run in run_*() (or in read(), after run_immediately) with no lock held.
#pragma once

#include <string.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "cache/assert.h"
#include "cache/block.h"
#include "cache/block_source.h"
#include "cache/mutex.h"

namespace sluice {

struct FakeSourceOptions {
  uint64_t size = 0;  // bytes
  uint64_t seed = 1;  // files of different seeds share no bytes
};

struct FakeRead {  // what was asked of the source
  uint64_t offset = 0;
  uint64_t length = 0;
  IoClass io_class = IoClass::demand;
  friend bool operator==(const FakeRead&, const FakeRead&) = default;
};

class FakeSource final : public BlockSource {
 public:
  // A real disk may read a page at any moment between submission and completion. The test picks one.
  enum class BytesOf { submission, completion };

  explicit FakeSource(const FakeSourceOptions& options) : seed_(options.seed), size_(options.size) {}
  // Reads still pending are forgotten: their `done` is destroyed without a call.
  ~FakeSource() override = default;

  void read(uint64_t offset, std::vector<iovec> buffers, IoClass io_class,
            Callback<void(Result<size_t>)> done) override {
    ASSERT(offset % kPageSize == 0);
    Pending read{{offset, 0, io_class}, std::move(buffers), std::move(done), {}};
    for (const iovec& buffer : read.buffers) {
      ASSERT(reinterpret_cast<uintptr_t>(buffer.iov_base) % kPageSize == 0);
      ASSERT(buffer.iov_len % kPageSize == 0);
      read.asked.length += buffer.iov_len;
    }
    {
      MutexLock lock(&mutex_);
      reads_.push_back(read.asked);
      bytes_read_ += read.asked.length;
      if (bytes_of_ == BytesOf::submission) read.stamps = stamps_of(read.asked);
      if (!immediate_ || hung(read.asked)) {
        pending_.push_back(std::move(read));
        return;
      }
    }
    complete(std::move(read));
  }

  // Runs the oldest pending read that does not hang. False: there is none.
  bool run_one() {
    return run_if([](size_t) { return size_t{0}; });
  }
  // The same for any of them, drawn from `random`.
  bool run_one(std::mt19937_64& random) {
    return run_if([&random](size_t ready) { return static_cast<size_t>(random() % ready); });
  }
  // The same for the read at place `n`, oldest first.
  bool run_nth(size_t n) {
    return run_if([n](size_t) { return n; });
  }
  // Until nothing is left but what hangs, reads that completions add included. Returns how many ran.
  size_t run_all() {
    size_t count = 0;
    while (run_one()) ++count;
    return count;
  }
  size_t run_all(std::mt19937_64& random) {
    size_t count = 0;
    while (run_one(random)) ++count;
    return count;
  }
  // From now on reads complete inside the call. What is pending stays pending.
  void run_immediately(bool immediate = true) {
    MutexLock lock(&mutex_);
    immediate_ = immediate;
  }

  // Reads that touch the page fail with `error` when run; 0 heals it.
  void fail_page(uint64_t page, int error) {
    MutexLock lock(&mutex_);
    if (error == 0) {
      errors_.erase(page);
    } else {
      errors_[page] = error;
    }
  }
  // Reads that touch these pages do not complete, whatever runs, before release_hung().
  void hang(PageRange pages) {
    MutexLock lock(&mutex_);
    hung_.push_back(pages);
  }
  void release_hung() {
    MutexLock lock(&mutex_);
    hung_.clear();
  }
  // The pages get new bytes. Returns their stamp, one more than any before.
  uint64_t change(PageRange pages) {
    MutexLock lock(&mutex_);
    ++stamp_max_;
    for (uint64_t page = pages.first; page < pages.end(); ++page) stamps_[page] = stamp_max_;
    return stamp_max_;
  }
  void resize(uint64_t size) {
    MutexLock lock(&mutex_);
    size_ = size;
  }
  void take_bytes_of(BytesOf moment) {
    MutexLock lock(&mutex_);
    bytes_of_ = moment;
  }

  size_t pending() const {
    MutexLock lock(&mutex_);
    return pending_.size();
  }
  // Every read ever asked for, in order of submission.
  std::vector<FakeRead> reads() const {
    MutexLock lock(&mutex_);
    return reads_;
  }
  uint64_t read_count() const {
    MutexLock lock(&mutex_);
    return reads_.size();
  }
  uint64_t bytes_read() const {  // asked for, not transferred
    MutexLock lock(&mutex_);
    return bytes_read_;
  }
  uint64_t size() const {
    MutexLock lock(&mutex_);
    return size_;
  }
  uint64_t stamp(uint64_t page) const {
    MutexLock lock(&mutex_);
    return stamp_of(page);
  }

  // Fills `bytes` with what the file holds at `offset` when its pages have `stamp`. What a writer would publish.
  void fill(uint64_t offset, char* bytes, size_t length, uint64_t stamp) const {
    for_each_piece(offset, length, stamp, [&](size_t at, const char* piece, size_t count) {
      ::memcpy(bytes + at, piece, count);
      return true;
    });
  }
  bool shows(uint64_t offset, const char* bytes, size_t length, uint64_t stamp) const {
    return for_each_piece(offset, length, stamp, [&](size_t at, const char* piece, size_t count) {
      return ::memcmp(bytes + at, piece, count) == 0;
    });
  }
  // The one stamp that all these bytes show; none: they are torn or not from here. Needs more than a few bytes to be
  // sure.
  std::optional<uint64_t> stamp_shown(uint64_t offset, const char* bytes, size_t length) const {
    for (uint64_t stamp = 0; stamp <= stamp_max(); ++stamp) {
      if (shows(offset, bytes, length, stamp)) return stamp;
    }
    return std::nullopt;
  }

 private:
  struct Pending {
    FakeRead asked;
    std::vector<iovec> buffers;
    Callback<void(Result<size_t>)> done;
    std::vector<uint64_t> stamps;  // of its pages at submission; empty: as of completion
  };

  uint64_t stamp_max() const {
    MutexLock lock(&mutex_);
    return stamp_max_;
  }
  uint64_t stamp_of(uint64_t page) const REQUIRES(mutex_) {
    const auto found = stamps_.find(page);
    return found == stamps_.end() ? 0 : found->second;
  }
  std::vector<uint64_t> stamps_of(const FakeRead& read) const REQUIRES(mutex_) {
    std::vector<uint64_t> stamps;
    const PageRange pages = pages_of(read.offset, read.length);
    for (uint64_t page = pages.first; page < pages.end(); ++page) stamps.push_back(stamp_of(page));
    return stamps;
  }
  bool hung(const FakeRead& read) const REQUIRES(mutex_) {
    const PageRange pages = pages_of(read.offset, read.length);
    return std::any_of(hung_.begin(), hung_.end(), [&](const PageRange& range) { return range.overlaps(pages); });
  }

  template <typename Choose>
  bool run_if(Choose choose) {
    Pending read;
    {
      MutexLock lock(&mutex_);
      std::vector<size_t> ready;
      for (size_t i = 0; i < pending_.size(); ++i) {
        if (!hung(pending_[i].asked)) ready.push_back(i);
      }
      if (ready.empty()) return false;
      const size_t chosen = choose(ready.size());
      if (chosen >= ready.size()) return false;
      const auto place = pending_.begin() + static_cast<std::ptrdiff_t>(ready[chosen]);
      read = std::move(*place);
      pending_.erase(place);
    }
    complete(std::move(read));
    return true;
  }

  void complete(Pending read) {
    const Result<size_t> result = transfer(read);
    read.done(result);
  }

  Result<size_t> transfer(const Pending& read) {
    MutexLock lock(&mutex_);
    const uint64_t end = std::min(read.asked.offset + read.asked.length, size_);
    const uint64_t length = end > read.asked.offset ? end - read.asked.offset : 0;
    const PageRange pages = pages_of(read.asked.offset, length);
    const auto error = errors_.lower_bound(pages.first);
    if (error != errors_.end() && error->first < pages.end()) return fail(error->second);
    const std::vector<uint64_t> stamps = read.stamps.empty() ? stamps_of(read.asked) : read.stamps;
    uint64_t moved = 0;
    for (const iovec& buffer : read.buffers) {
      const uint64_t part = std::min<uint64_t>(buffer.iov_len, length - moved);
      for (uint64_t i = 0; i < part; i += kPageSize) {
        fill(read.asked.offset + moved + i, static_cast<char*>(buffer.iov_base) + i,
             std::min<uint64_t>(kPageSize, part - i), stamps[(moved + i) / kPageSize]);
      }
      moved += part;
    }
    return length;
  }

  // Calls visit(place in the range, bytes, how many) for each aligned piece of the file that the range touches, until
  // it returns false. True when it never did.
  template <typename Visit>
  bool for_each_piece(uint64_t offset, size_t length, uint64_t stamp, Visit visit) const {
    std::array<uint64_t, kPieceBytes / 8> piece;
    uint64_t page = UINT64_MAX, page_word = 0;
    for (size_t at = 0; at < length;) {
      const uint64_t here = offset + at;
      if (here / kPageSize != page) {
        page = here / kPageSize;
        page_word = word_of_page(page, stamp);
      }
      uint64_t place = here % kPageSize / kPieceBytes * piece.size() * kWordStep;
      for (uint64_t& word : piece) word = page_word ^ std::exchange(place, place + kWordStep);
      const size_t skip = here % kPieceBytes;
      const size_t count = std::min<size_t>(kPieceBytes - skip, length - at);
      if (!visit(at, reinterpret_cast<const char*>(piece.data()) + skip, count)) return false;
      at += count;
    }
    return true;
  }
  static constexpr size_t kPieceBytes = 512;
  static constexpr uint64_t kWordStep = 0xd1342543de82ef95;

  // splitmix64 of what identifies the page's content.
  uint64_t word_of_page(uint64_t page, uint64_t stamp) const {
    uint64_t x = (page + 1) * 0x9e3779b97f4a7c15 + stamp * 0xd1342543de82ef95 + seed_ * 0xaf251af3b0f025b5;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  const uint64_t seed_;
  mutable Mutex mutex_;
  uint64_t size_ GUARDED_BY(mutex_);
  uint64_t stamp_max_ GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, uint64_t> stamps_ GUARDED_BY(mutex_);  // pages that have changed
  std::map<uint64_t, int> errors_ GUARDED_BY(mutex_);
  std::vector<PageRange> hung_ GUARDED_BY(mutex_);
  std::vector<Pending> pending_ GUARDED_BY(mutex_);
  std::vector<FakeRead> reads_ GUARDED_BY(mutex_);
  uint64_t bytes_read_ GUARDED_BY(mutex_) = 0;
  BytesOf bytes_of_ GUARDED_BY(mutex_) = BytesOf::completion;
  bool immediate_ GUARDED_BY(mutex_) = false;
};

}  // namespace sluice
