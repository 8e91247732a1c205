// Random schedules of everything that can happen to the cache, against a model: reads, writes, drops, readahead, pins,
// another size, pages that cannot be read, reads that hang, and a file that shrinks and grows again behind the cache's
// back; with checksums also bits that flip in cached pages. One thread runs them, so a seed tells everything.
//
//   every page that is served shows one stamp, the newest that was complete when the read was asked or one since
//   a read of what is all there is served at once, whatever hangs
//   a read fails only for a page that could not be read, in the MiB of one that was cut off while it was under way, or
//   for pages that went bad more than kRepairsMax times
//   in the end, with nothing hanging, every read has its answer
//
// The suite runs some thousands of short schedules. A campaign: SLUICE_SCHEDULES=1000000 test_cache "[schedules]".
#include <chrono>
#include <memory>
#include <numeric>
#include <random>
#include <set>

#include "cache/block_cache.h"
#include "tests/support/captured_stderr.h"
#include "tests/support/catch.h"
#include "tests/support/fake_disk.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr uint64_t kFilePages = 4096;  // twice and a half what the cache holds, until it is resized
constexpr uint64_t kSizeMax = 3 * kCacheSizeMin;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kSchedules = 100;  // some 20 times as slow
#else
constexpr uint64_t kSchedules = 2000;
#endif

class Schedule {
 public:
  Schedule(uint64_t seed, const char* policy, ChecksumMode checksum)
      : random_(seed), checksum_(checksum), newest_(kFilePages, 0) {
    const uint64_t large_file = one_in(3) ? uint64_t{1} << 20 : 0;
    cache_ = *BlockCache::create({.size_bytes = kCacheSizeMin,
                                  .size_max_bytes = kSizeMax,
                                  .policy = policy,
                                  .large_file_bytes = large_file,
                                  .clock = &clock_,
                                  .checksum = checksum});
    file_ = cache_->add_file(42);
  }
  ~Schedule() {
    source_->release_hung();
    source_->run_all();
  }

  void run(int steps) {
    for (step_ = 0; step_ < steps; step_++) {
      step();
      source_->take_bytes_of(one_in(2) ? FakeSource::BytesOf::submission : FakeSource::BytesOf::completion);
      // Readers that are served keep their pages meanwhile: others may find no memory, and must neither spin nor be
      // lost.
      if (reads_.size() > 40) source_->run_all(random_);
      judge();
    }
    source_->release_hung();
    while (!reads_.empty()) {
      const size_t before = reads_.size();
      source_->run_all(random_);
      judge();
      REQUIRE(reads_.size() < before);
    }
    source_->run_all();  // readahead that nobody waits for
    // With nobody holding anything all memory that is too much goes back. The supply's thread needs its time.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (cache_->finish_resize() > 0) REQUIRE(std::chrono::steady_clock::now() < deadline);
    const CacheStats stats = cache_->stats();
    REQUIRE(stats.arena.slabs * kSlabSize + stats.metadata_bytes <= stats.size_bytes);
    REQUIRE(stats.resident_bytes <= stats.arena.frames_max * kPageSize);
    CHECK(cache_->stats().pages_bad <= flips_in({0, kFilePages}));
  }

 private:
  struct Read {
    PageRange range;
    std::vector<uint64_t> oldest_right;
    uint64_t flips;  // in these pages, before it
    std::shared_ptr<std::optional<Result<PageRefs>>> box;
  };

  bool one_in(uint64_t n) { return random_() % n == 0; }
  uint64_t pages() const { return source_->size() / kPageSize; }
  PageRange some_pages(uint64_t most) {
    // Mostly hits, where these are what must find a bad page.
    const bool hot = checksum_ != ChecksumMode::off && !one_in(4);
    const uint64_t first = random_() % (hot ? 500 : pages());
    return {first, std::min(1 + random_() % most, pages() - first)};
  }
  CacheRead request(PageRange range) {
    return {.file = file_.get(), .generation = 1, .size = source_->size(), .pages = range, .source = source_};
  }

  void step() {
    if (checksum_ == ChecksumMode::always && one_in(10)) return flip_or_scrub();
    const uint64_t dice = random_() % 100;
    if (dice < 58) return read(some_pages(dice < 10 ? 512 : 20));
    if (dice < 68) return write(some_pages(40));
    if (dice < 73) return cache_->prefetch(request(some_pages(300)));
    if (dice < 74) return one_in(2) ? cache_->unpin(*file_) : pin();
    if (dice < 76) return fail_or_heal(random_() % kFilePages);
    if (dice < 77) return one_in(3) ? source_->hang(some_pages(64)) : source_->release_hung();
    if (dice < 78) return shrink_or_grow();
    if (dice < 79) return resize();
    source_->run_one(random_);
  }

  void read(PageRange range) {
    PageRefs there(&cache_->arena());  // held meanwhile: giving pages back wakes reads that evict others
    const bool looks = checksum_ == ChecksumMode::off || one_in(2);  // which finds bad pages before the read does
    for (uint64_t page = range.first; looks && page < range.end(); page++) {
      there.append(cache_->peek(*file_, 1, page));
    }
    auto box = std::make_shared<std::optional<Result<PageRefs>>>();
    if (checksum_ != ChecksumMode::off && one_in(2)) {
      if (auto resident = cache_->read_resident(request(range))) box->emplace(std::move(*resident));
    }
    if (!box->has_value()) {
      cache_->read(request(range), [box](Result<PageRefs> result) { box->emplace(std::move(result)); });
    }
    INFO("step " << step_ << ", pages " << range.first << " + " << range.count);
    if (there.pages() == range.count) REQUIRE((box->has_value() && **box));
    reads_.push_back(
        {range, {newest_.begin() + range.first, newest_.begin() + range.end()}, flips_in(range), std::move(box)});
  }

  void write(PageRange range) {
    PageRefs fresh = cache_->allocate(range.count);
    cache_->begin_change(*file_, range);
    const uint64_t stamp = source_->change(range);
    for (uint64_t i = 0; i < fresh.pages(); i++) {
      source_->fill((range.first + i) * kPageSize, cache_->arena().address(fresh.frame(i)), kPageSize, stamp);
    }
    if (fresh.pages() == range.count && !one_in(4)) {
      cache_->publish(*file_, 1, range, fresh);
    } else {
      cache_->drop(*file_, 1, range);
    }
    for (uint64_t page = range.first; page < range.end(); page++) newest_[page] = stamp;
  }

  // A bit of a cached page, if the one that was drawn is cached; sometimes in neighbours as well.
  void flip_or_scrub() {
    if (one_in(8)) {
      cache_->scrub(random_() % 200);
      return;
    }
    const PageRange range = some_pages(one_in(4) ? 300 : 1);
    for (uint64_t page = range.first; page < range.end(); page++) {
      const PageRefs cached = cache_->peek(*file_, 1, page);
      if (cached.pages() == 0 || (range.count > 1 && !one_in(20))) continue;
      cache_->arena().address(cached.frame(0))[random_() % kPageSize] ^= static_cast<char>(1 << random_() % 8);
      flips_[page]++;
    }
  }

  void pin() { (void)cache_->pin(*file_, random_() % cache_->stats().pinned_max_bytes); }

  void resize() {
    const uint64_t size = kCacheSizeMin + random_() % (kSizeMax - kCacheSizeMin + 1);
    const Result<void> resized = cache_->resize(size);
    const CacheStats stats = cache_->stats();
    REQUIRE((resized ? stats.size_bytes == size : resized.error().number == ENOSPC));
    const bool within = stats.resident_bytes + stats.metadata_bytes <= stats.size_bytes;
    INFO("step " << step_ << ", " << stats.size_bytes << " bytes, resident " << stats.resident_bytes);
    // Pages that readers or flights hold may leave no frame to move others to: then those follow later.
    if (reads_.empty()) REQUIRE(within);
    if (one_in(2)) (void)cache_->finish_resize();
  }

  void fail_or_heal(uint64_t page) {
    const bool fails = one_in(2);
    source_->fail_page(page, fails ? EIO : 0);
    if (fails) ever_bad_.insert(page);
  }

  // As somebody else would do it; the cache is told when the file is whole again, as the store tells it.
  void shrink_or_grow() {
    if (pages() == kFilePages) {
      source_->resize((kFilePages - 1 - random_() % 500) * kPageSize);
      cut_from_ = std::min(cut_from_, pages());
      return;
    }
    const PageRange back{pages(), kFilePages - pages()};
    cache_->begin_change(*file_, back);
    const uint64_t stamp = source_->change(back);
    source_->resize(kFilePages * kPageSize);
    cache_->drop(*file_, 1, back);
    for (uint64_t page = back.first; page < back.end(); page++) newest_[page] = stamp;
  }

  // ---- judging ----

  void judge() {
    std::erase_if(reads_, [&](Read& read) {
      if (!read.box->has_value()) return false;
      if (**read.box) {
        judge_pages(read, ***read.box);
      } else {
        judge_error(read, (**read.box).error().number);
      }
      return true;
    });
    if (reads_.empty() && source_->pending() == 0) cut_from_ = pages();
  }

  void judge_pages(const Read& read, const PageRefs& served) {
    REQUIRE(served.pages() == read.range.count);
    for (uint64_t i = 0; i < read.range.count; i++) {
      const uint64_t page = read.range.first + i;
      const char* bytes = cache_->arena().address(served.frame(i));
      bool right = false;
      for (uint64_t stamp = newest_[page]; !right && stamp + 1 > read.oldest_right[i]; stamp--) {
        right = source_->shows(page * kPageSize, bytes, kPageSize, stamp);
        if (stamp == 0) break;
      }
      if (right) continue;
      INFO("page " << page << " step " << step_);
      REQUIRE(right);
    }
  }

  void judge_error(const Read& read, int error) {
    INFO("step " << step_ << ", pages " << read.range.first << " + " << read.range.count << ", error " << error);
    if (error == ESTALE) REQUIRE(end_of_group(read.range) > cut_from_);
    if (error != ESTALE) REQUIRE((error == EIO && (may_be_bad(read.range) || went_bad_often(read))));
  }

  uint64_t flips_in(PageRange range) const {
    return std::accumulate(flips_.begin() + range.first, flips_.begin() + range.end(), uint64_t{0});
  }

  // Each time but the first for a bit that flipped while it waited.
  bool went_bad_often(const Read& read) const { return flips_in(read.range) - read.flips >= kRepairsMax; }

  static uint64_t end_of_group(PageRange range) { return (range.end() + 255) / 256 * 256; }

  // It has a bad page, or lies in a run of several blocks that are all bad, which are not told apart.
  bool may_be_bad(PageRange range) const {
    if (has_bad_page(range)) return true;
    uint64_t bad_blocks = 0;
    bool overlaps = false;
    for (uint64_t page = range.first / 256 * 256; page < end_of_group(range); page += kPagesPerBlock) {
      const PageRange block{page, kPagesPerBlock};
      const bool goes_on = page % 256 != 0 && has_bad_page(block);
      bad_blocks = goes_on ? bad_blocks + 1 : has_bad_page(block);
      overlaps = (goes_on && overlaps) || (has_bad_page(block) && block.overlaps(range));
      if (overlaps && bad_blocks > 4) return true;
    }
    return false;
  }
  bool has_bad_page(PageRange range) const {
    const auto bad = ever_bad_.lower_bound(range.first);
    return bad != ever_bad_.end() && *bad < range.end();
  }

  std::mt19937_64 random_;
  const ChecksumMode checksum_;
  ManualClock clock_;
  std::shared_ptr<FakeSource> source_ =
      std::make_shared<FakeSource>(FakeSourceOptions{.size = kFilePages * kPageSize, .seed = 7});
  std::unique_ptr<BlockCache> cache_;
  std::shared_ptr<CachedFile> file_;
  std::vector<uint64_t> newest_;                                     // by page: the last stamp
  std::vector<uint64_t> flips_ = std::vector<uint64_t>(kFilePages);  // by page
  std::set<uint64_t> ever_bad_;
  uint64_t cut_from_ = kFilePages;  // the least that the file had since nothing was under way
  std::vector<Read> reads_;
  int step_ = 0;
};

// Tells how to run one of them alone.
template <typename Run>
void for_each_seed(uint64_t schedules, Run run) {
  const char* given = std::getenv("SLUICE_SCHEDULES");
  if (given != nullptr) schedules = std::strtoull(given, nullptr, 0);
  const char* const policies[] = {"s3fifo", "lru", "midpoint", "arc"};
  for (uint64_t i = 0; i < schedules; i++) {
    const uint64_t seed = test_seed() + i;
    INFO("alone: SLUICE_SCHEDULES=1 SLUICE_SEED=" << seed);
    run(seed, policies[seed % 4], i % 100 == 0 ? 2000 : 100);
  }
}

TEST_CASE("schedules: only bytes that were true are served, and every read ends", "[cache][random][schedules]") {
  for_each_seed(kSchedules, [](uint64_t seed, const char* policy, int steps) {
    Schedule(seed, policy, ChecksumMode::off).run(steps);
  });
}

TEST_CASE("schedules: with checksums this holds although bits flip in cached pages",
          "[cache][random][schedules][checksum]") {
  const CapturedStderr log;  // it is about bad memory, and nobody should be alarmed
  for_each_seed(kSchedules / 4, [](uint64_t seed, const char* policy, int steps) {
    Schedule(seed, policy, ChecksumMode::always).run(steps);
  });
}

}  // namespace
}  // namespace sluice
