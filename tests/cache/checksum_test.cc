#include "cache/checksum.h"

#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cache/scrubber.h"
#include "tests/support/cache_fixture.h"
#include "tests/support/captured_stderr.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

struct Fixture : CacheFixture {
  explicit Fixture(ChecksumMode mode, uint64_t file_size = 4 << 20, uint64_t size_max = 0)
      : CacheFixture(file_size, {.size_bytes = kCacheSizeMin, .size_max_bytes = size_max, .checksum = mode}) {}

  // As the store reads.
  PageRefs read_as_store(PageRange pages) {
    if (auto resident = cache->read_resident(request(pages))) return std::move(*resident);
    auto result = read(pages);
    REQUIRE(result);
    return std::move(*result);
  }
  // Of a page in the index.
  void flip(uint64_t page, uint32_t bit = 12345) {
    const PageRefs pages = cache->peek(*file, 1, page);
    REQUIRE(pages.pages() == 1);
    cache->arena().address(pages.frame(0))[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
  uint64_t bad() const { return cache->stats().pages_bad; }
  uint64_t verified() const { return cache->stats().pages_verified; }

  CapturedStderr log;  // it is about bad memory, and nobody should be alarmed
};

TEST_CASE("checksum: a bit that flips in a page is found by whatever hit, and the page is read again, alone",
          "[cache][checksum]") {
  const PageRange range = GENERATE(PageRange{5, 1}, PageRange{0, 16}, PageRange{3, 40}, PageRange{0, 300});
  const uint32_t bit = GENERATE(0, 32767);
  Fixture f(ChecksumMode::always);
  REQUIRE(f.read({0, 300}));
  const uint64_t reads = f.source->read_count();
  f.flip(5, bit);
  CHECK_FALSE(f.cache->read_resident(f.request(range)));
  CHECK(f.bad() == 1);
  CHECK(f.shows(f.read_as_store(range), range));
  CHECK(f.source->read_count() == reads + 1);
  CHECK(f.source->reads().back() == FakeRead{5 * kPageSize, kPageSize, IoClass::demand});
  CHECK(f.cache->read_resident(f.request(range)));
  CHECK(f.source->read_count() == reads + 1);
  CHECK(f.bad() == 1);
  CHECK(f.cache->stats().resident_bytes == 300 * kPageSize);
}

TEST_CASE("checksum: a read that was parked gives nothing that went bad while it waited", "[cache][checksum]") {
  Fixture f(ChecksumMode::always);
  REQUIRE(f.read({0, 20}));
  const uint64_t reads = f.source->read_count();
  const uint64_t hits = f.cache->stats().hits;
  SECTION("before it came") {
    f.flip(7);
    CHECK(f.shows(*f.read({0, 40}), {0, 40}));
  }
  SECTION("while it waited") {
    const auto box = f.start({0, 40});
    f.flip(7);
    f.source->run_all();
    CHECK(f.shows(***box, {0, 40}));
  }
  SECTION("and had left the index") {
    const auto box = f.start({0, 40});
    f.flip(7);
    f.cache->publish(*f.file, 1, {7, 1}, f.written({7, 1}, 0));
    f.source->run_all();
    CHECK(f.shows(***box, {0, 40}));
    CHECK(f.bad() == 1);
    CHECK(f.source->read_count() == reads + 1);  // what was published is good
    return;
  }
  CHECK(f.bad() == 1);
  CHECK(f.source->read_count() == reads + 2);
  CHECK(f.source->reads().back() == FakeRead{7 * kPageSize, kPageSize, IoClass::demand});
  CHECK(f.cache->stats().hits == hits + 19);
  CHECK(f.cache->stats().misses == 20 + 21);
}

TEST_CASE("checksum: of two flights that a read waits for, the first one's pages may go bad before the second comes",
          "[cache][checksum][flight]") {
  Fixture f(ChecksumMode::always);
  REQUIRE(f.read({10, 1}));
  const auto box = f.start({0, 20});
  REQUIRE(f.source->pending() == 2);
  const uint64_t landed = f.source->reads()[f.source->read_count() - 2].offset / kPageSize;
  f.source->run_one();
  f.flip(landed + 3);
  f.source->run_all();
  CHECK(f.shows(***box, {0, 20}));
  CHECK(f.bad() == 1);
}

TEST_CASE("checksum: memory that goes bad again and again is an error, not a loop", "[cache][checksum]") {
  Fixture f(ChecksumMode::always);
  REQUIRE(f.read({0, 2}));
  const auto box = f.start({0, 3});
  int rounds = 0;
  for (; !box->has_value() && rounds < 100; rounds++) {
    f.flip(rounds % 2);
    REQUIRE(f.source->run_one());
  }
  REQUIRE(box->has_value());
  CHECK((*box)->error() == Error{EIO});
  CHECK(rounds < 20);
  CHECK(f.source->pending() == 0);
  f.source->run_all();
  CHECK(f.shows(*f.read({0, 3}), {0, 3}));
}

TEST_CASE("checksum: what a writer publishes is summed, and keeps its sum when it is published again",
          "[cache][checksum]") {
  Fixture f(ChecksumMode::always);
  REQUIRE(f.read({0, 16}));
  f.cache->begin_change(*f.file, {3, 2});
  REQUIRE(f.source->change({3, 2}) == 1);
  const PageRefs pages = f.written({3, 2}, 1);
  f.cache->publish(*f.file, 1, {3, 2}, pages);
  CHECK(f.shows(*f.cache->read_resident(f.request({3, 2})), {3, 2}, 1));
  f.flip(4);
  SECTION("unseen meanwhile") {}
  SECTION("found meanwhile") {
    CHECK_FALSE(f.cache->read_resident(f.request({3, 2})));
  }
  f.cache->publish(*f.file, 1, {3, 2}, pages);
  CHECK(f.shows(f.read_as_store({3, 2}), {3, 2}, 1));
  CHECK(f.bad() == 1);
}

TEST_CASE("checksum: a bad page is not given to who makes a new page of it", "[cache][checksum]") {
  Fixture f(GENERATE(ChecksumMode::always, ChecksumMode::scrub));
  REQUIRE(f.read({0, 16}));
  f.flip(4);
  CHECK(f.cache->peek(*f.file, 1, 4).pages() == 0);
  CHECK(f.cache->peek(*f.file, 1, 5).pages() == 1);
  CHECK(f.bad() == 1);
}

TEST_CASE("checksum: a bad page of a pinned file leaves the counts right", "[cache][checksum][pin]") {
  const bool by_scrub = GENERATE(false, true);
  Fixture f(ChecksumMode::always);
  REQUIRE(f.cache->pin(*f.file, 1 << 20));
  REQUIRE(f.read({0, 17}));
  CHECK(f.cache->stats().pinned_bytes == 17 * kPageSize);
  f.flip(16);  // alone in its block
  f.flip(3);
  if (by_scrub) {
    f.cache->scrub(1000);
  } else {
    CHECK_FALSE(f.cache->read_resident(f.request({0, 17})));
  }
  CHECK(f.cache->stats().pinned_bytes == 15 * kPageSize);
  CHECK(f.cache->stats().resident_bytes == 15 * kPageSize);
  CHECK(f.cache->stats().blocks == 1);
  CHECK(f.shows(*f.read({0, 17}), {0, 17}));
  CHECK(f.cache->stats().pinned_bytes == 17 * kPageSize);
  f.cache->unpin(*f.file);
  f.cache->clear();
  CHECK(f.cache->stats().resident_bytes == 0);
  const ArenaStats arena = f.cache->stats().arena;
  CHECK(arena.frames_free == arena.frames_max);
}

TEST_CASE("checksum: a bad page that was read ahead and never asked for is wasted", "[cache][checksum][readahead]") {
  Fixture f(ChecksumMode::always);
  f.cache->prefetch(f.request({0, 32}));
  f.source->run_all();
  f.flip(20);
  f.cache->scrub(1000);
  CHECK(f.cache->stats().readahead_wasted_bytes == kPageSize);
  CHECK(f.shows(f.read_as_store({0, 32}), {0, 32}));
  CHECK(f.cache->stats().readahead_used_bytes == 31 * kPageSize);
}

TEST_CASE("checksum: what a hit held when its page was found bad is given back", "[cache][checksum]") {
  Fixture f(ChecksumMode::always);
  REQUIRE(f.read({0, 16}));
  auto held = f.cache->read_resident(f.request({4, 1}));
  auto also_held = f.cache->read_resident(f.request({0, 16}));
  f.flip(4);
  CHECK_FALSE(f.cache->read_resident(f.request({4, 1})));
  held.reset();
  also_held.reset();
  f.cache->drop(*f.file, 1, {0, 16});
  const ArenaStats arena = f.cache->stats().arena;
  CHECK(arena.frames_free == arena.frames_max);
}

TEST_CASE("checksum: a scrub finds each bad page in one round, and once", "[cache][checksum][scrub]") {
  Fixture f(ChecksumMode::scrub);
  REQUIRE(f.read({0, 500}));
  const uint64_t blocks = f.cache->scrub(0);
  CHECK(blocks == 32);
  CHECK(f.verified() == 0);
  for (const uint64_t page : {0, 17, 18, 499}) f.flip(page);
  const uint64_t by_peek = f.verified();
  f.cache->scrub(blocks / 2);
  f.cache->scrub(blocks / 2);
  CHECK(f.bad() == 4);
  CHECK(f.verified() == by_peek + 500);
  f.cache->scrub(blocks);
  CHECK(f.bad() == 4);
  CHECK(f.verified() == by_peek + 996);
  const uint64_t reads = f.source->read_count();
  CHECK(f.shows(*f.read({0, 500}), {0, 500}));
  CHECK(f.source->read_count() == reads + 3);  // 17 and 18 are neighbours
}

TEST_CASE("checksum: a scrub goes past places whose blocks are gone", "[cache][checksum][scrub]") {
  Fixture f(ChecksumMode::scrub);
  CHECK(f.cache->scrub(10) == 0);
  REQUIRE(f.read({0, 256}));
  f.cache->drop(*f.file, 1, {32, 100});
  f.flip(255);
  f.cache->scrub(16);
  CHECK(f.bad() == 1);
  f.cache->clear();
  CHECK(f.cache->scrub(100) == 16);
}

TEST_CASE("checksum: with scrub, hits are served as they are", "[cache][checksum][scrub]") {
  Fixture f(ChecksumMode::scrub);
  REQUIRE(f.read({0, 16}));
  f.flip(3);
  const uint64_t verified = f.verified();
  CHECK(f.cache->read_resident(f.request({0, 16})));
  CHECK(f.verified() == verified);
}

TEST_CASE("checksum: off means nothing", "[cache][checksum]") {
  Fixture f(ChecksumMode::off);
  REQUIRE(f.read({0, 40}));
  f.flip(3);
  CHECK(f.cache->scrub(1000) == 0);
  CHECK(f.cache->read_resident(f.request({0, 16})));
  CHECK(f.cache->read_resident(f.request({0, 40})));
  CHECK(f.cache->peek(*f.file, 1, 3).pages() == 1);
  CHECK(f.bad() == 0);
  CHECK(f.verified() == 0);
}

TEST_CASE("checksum: every page that a reader gets is counted as verified", "[cache][checksum]") {
  Fixture f(ChecksumMode::always);
  REQUIRE(f.read({0, 40}));
  CHECK(f.verified() == 0);  // they were summed that moment
  CHECK(f.cache->read_resident(f.request({0, 1})));
  CHECK(f.cache->read_resident(f.request({16, 16})));
  CHECK(f.cache->read_resident(f.request({0, 40})));
  CHECK(f.verified() == 57);
  REQUIRE(f.read({30, 20}));
  CHECK(f.verified() == 67);
  f.flip(2);
  const uint64_t before = f.verified();
  CHECK_FALSE(f.cache->read_resident(f.request({2, 1})));
  CHECK(f.verified() == before + 1);
}

TEST_CASE("checksum: the sums are part of the budget", "[cache][checksum]") {
  const uint64_t size = uint64_t{64} << 20;
  const CacheStats off = (*BlockCache::create({.size_bytes = size}))->stats();
  const CacheStats always = (*BlockCache::create({.size_bytes = size, .checksum = ChecksumMode::always}))->stats();
  const uint64_t slabs_off = off.arena.frames_max / (kFramesPerSlab - 1);
  const uint64_t slabs = always.arena.frames_max / (kFramesPerSlab - 1);
  CHECK(slabs * kSlabSize + always.metadata_bytes <= size);
  CHECK(always.metadata_bytes / slabs >= off.metadata_bytes / slabs_off + kFramesPerSlab * 4);
}

TEST_CASE("checksum: pages that move when the cache shrinks keep their sums, and bad ones do not move",
          "[cache][checksum][resize]") {
  const bool flips = GENERATE(false, true);
  Fixture f(ChecksumMode::always, uint64_t{16} << 20, 3 * kCacheSizeMin);
  REQUIRE(f.cache->resize(3 * kCacheSizeMin));
  const uint64_t pages = f.source->size() / kPageSize;
  for (uint64_t page = 0; page < pages; page += 64) f.read({page, 64});
  REQUIRE(f.cache->stats().resident_bytes == f.source->size());
  for (uint64_t page = 7; flips && page < pages; page += 16) f.flip(page);
  REQUIRE(f.cache->resize(kCacheSizeMin));
  CHECK(f.cache->stats().resident_bytes > 1 << 20);
  CHECK((f.bad() > 0) == flips);
  for (const PageRange& kept : f.cache->used_pages(*f.file, 1)) {
    for (uint64_t page = kept.first; page < kept.end(); page++) {
      CHECK(f.shows(f.read_as_store({page, 1}), {page, 1}));
    }
  }
  while (f.cache->finish_resize() > 0) std::this_thread::yield();
  REQUIRE(f.cache->resize(2 * kCacheSizeMin));
  const uint64_t bad = f.bad();
  f.read({0, 256});
  CHECK(f.shows(*f.cache->read_resident(f.request({0, 256})), {0, 256}));
  CHECK(f.bad() == bad);
}

TEST_CASE("checksum: bad memory is told once a minute", "[cache][checksum]") {
  Fixture f(ChecksumMode::always);
  f.read({0, 16});
  for (uint64_t page = 0; page < 3; page++) {
    f.flip(page);
    f.cache->scrub(1);
  }
  f.clock.advance(std::chrono::minutes(1));
  f.flip(3);
  f.cache->scrub(1);
  CHECK(f.log.text() ==
        "sluice: error: memory of the cache changed by itself: a page was dropped and is read again (1 since the "
        "start); check the machine's memory\n"
        "sluice: error: memory of the cache changed by itself: a page was dropped and is read again (4 since the "
        "start); check the machine's memory\n");
}

TEST_CASE("checksum: threads that read, write, drop and scrub at once find nothing bad where nothing is",
          "[cache][checksum][threads]") {
  Fixture f(ChecksumMode::always, uint64_t{16} << 20);  // twice the cache
  f.source->run_immediately();
  const uint64_t file_pages = f.source->size() / kPageSize;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(test_seed() + static_cast<uint64_t>(t));
      for (int i = 0; i < 1500; i++) {
        const uint64_t first = random() % (i % 4 == 0 ? file_pages - 32 : 64);
        const PageRange range{first, 1 + random() % 32};
        if (t == 0 && i % 3 == 0) {
          f.cache->begin_change(*f.file, range);
          const PageRefs pages = f.written(range, 0);
          f.cache->publish(*f.file, 1, range, pages);
          if (i % 6 == 0) f.cache->publish(*f.file, 1, range, pages);
          if (i % 9 == 0) f.cache->drop(*f.file, 1, range);
        }
        if (t == 1 && i % 3 == 0) f.cache->scrub(5);
        if (const auto pages = f.cache->read_resident(f.request(range))) wrong += !f.shows(*pages, range);
        f.cache->read(f.request(range),
                      [&, range](Result<PageRefs> pages) { wrong += !pages || !f.shows(*pages, range); });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(f.bad() == 0);
  CHECK(f.verified() > 0);
}

TEST_CASE("checksum: several who find a page bad at once count it once, and all get good bytes",
          "[cache][checksum][threads]") {
  Fixture f(ChecksumMode::always);
  f.source->run_immediately();
  constexpr PageRange range{0, 8};
  uint64_t flipped = 0;
  std::atomic<int> wrong{0};
  for (int round = 0; round < 100; round++) {
    f.read(range);
    f.flip(round % 8);
    flipped++;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; t++) {
      threads.emplace_back([&] {
        if (const auto pages = f.cache->read_resident(f.request(range))) wrong += !f.shows(*pages, range);
        f.cache->read(f.request(range), [&](Result<PageRefs> pages) { wrong += !pages || !f.shows(*pages, range); });
      });
    }
    for (auto& thread : threads) thread.join();
  }
  CHECK(wrong == 0);
  CHECK(f.bad() == flipped);
}

// ---- the scrubber ----

TEST_CASE("scrubber: the whole cache is looked at once in a period", "[cache][checksum][scrub]") {
  Fixture f(ChecksumMode::scrub);
  REQUIRE(f.read({0, 320}));  // 20 blocks
  Scrubber scrubber(f.cache.get(), {.period = std::chrono::hours(1), .clock = &f.clock});
  CHECK(scrubber.step() == std::chrono::seconds(1));  // learns how much there is
  for (int quarter = 1; quarter <= 8; quarter++) {
    for (int i = 0; i < 15 * 60; i++) {
      f.clock.advance(std::chrono::seconds(1));
      scrubber.step();
    }
    CHECK(f.verified() >= static_cast<uint64_t>(quarter) * 80 - kPagesPerBlock);
    CHECK(f.verified() <= static_cast<uint64_t>(quarter) * 80);
  }
}

TEST_CASE("scrubber: what it could not do in time is not made up for", "[cache][checksum][scrub]") {
  Fixture f(ChecksumMode::scrub);
  REQUIRE(f.read({0, 320}));
  Scrubber scrubber(f.cache.get(), {.period = std::chrono::hours(1), .clock = &f.clock});
  scrubber.step();
  f.clock.advance(std::chrono::hours(100));
  scrubber.step();
  CHECK(f.verified() == 320);
}

TEST_CASE("scrubber: a step looks at some blocks, and rests for 99 times as long", "[cache][checksum][scrub]") {
  struct SlowClock final : Clock {  // each look at it takes 30 ms
    std::chrono::nanoseconds monotonic() const override { return now += std::chrono::milliseconds(30); }
    std::chrono::nanoseconds realtime() const override { return monotonic(); }
    mutable std::chrono::nanoseconds now{};
  } clock;
  Fixture f(ChecksumMode::scrub, uint64_t{128} << 20);
  for (uint64_t block = 0; block < 1100; block++) f.read({block * kPagesPerBlock, 1});
  Scrubber scrubber(f.cache.get(), {.period = std::chrono::nanoseconds(0), .clock = &clock});
  CHECK(scrubber.step() == std::chrono::milliseconds(99 * 30));
  CHECK(f.verified() == 0);
  CHECK(scrubber.step() == std::chrono::milliseconds(99 * 30));
  CHECK(f.verified() == 1024);
}

TEST_CASE("scrubber: its thread works and ends at once", "[cache][checksum][scrub]") {
  Fixture f(ChecksumMode::scrub);
  Scrubber scrubber(f.cache.get(), {});
  scrubber.start();
}

}  // namespace
}  // namespace sluice
