#include "cache/block_cache.h"

#include <string.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/cache_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

struct Fixture : CacheFixture {
  explicit Fixture(uint64_t file_size, uint64_t cache_size = kCacheSizeMin, const char* policy = "s3fifo",
                   uint64_t large_file = 0)
      : CacheFixture(file_size, {.size_bytes = cache_size, .policy = policy, .large_file_bytes = large_file}) {}
};

TEST_CASE("block cache: a second read of the same pages asks the disk nothing", "[cache]") {
  Fixture f(1 << 20);
  REQUIRE(f.shows(*f.read({3, 20}), {3, 20}, 0));
  const uint64_t reads = f.source->read_count();
  REQUIRE(f.shows(*f.read({3, 20}), {3, 20}, 0));
  CHECK(f.source->read_count() == reads);
  CHECK(f.cache->stats().hits == 20);
  CHECK(f.cache->stats().misses == 20);
}

TEST_CASE("block cache: a random page of a cold file reads one page", "[cache]") {
  Fixture f(64 << 20);
  f.read({1000, 1});
  CHECK(f.source->bytes_read() == kPageSize);
}

TEST_CASE("block cache: adjacent missing pages are one read, across blocks", "[cache]") {
  Fixture f(4 << 20);
  f.read({0, 256});
  CHECK(f.source->reads() == std::vector<FakeRead>{{0, 1 << 20, IoClass::demand}});
}

TEST_CASE("block cache: only the gap is read when its neighbours are there", "[cache]") {
  Fixture f(4 << 20);
  f.read({0, 4});
  f.read({8, 4});
  f.read({0, 12});
  CHECK(f.source->reads().back() == FakeRead{4 * kPageSize, 4 * kPageSize, IoClass::demand});
}

TEST_CASE("block cache: many readers of a missing page share one disk read", "[cache][flight]") {
  Fixture f(1 << 20);
  std::vector<std::shared_ptr<std::optional<Result<PageRefs>>>> boxes;
  for (int i = 0; i < 50; i++) boxes.push_back(f.start({5, 3}));
  CHECK(f.source->pending() == 1);
  f.source->run_all();
  for (auto& box : boxes) CHECK(f.shows(***box, {5, 3}, 0));
}

TEST_CASE("block cache: all who wait share the error, and the next read tries again", "[cache][flight]") {
  Fixture f(1 << 20);
  f.source->fail_page(6, EIO);
  auto first = f.start({5, 3});
  auto second = f.start({6, 1});
  f.source->run_all();
  CHECK((*first)->error() == Error{EIO});
  CHECK((*second)->error() == Error{EIO});
  f.source->fail_page(6, 0);
  CHECK(f.shows(*f.read({5, 3}), {5, 3}, 0));
}

TEST_CASE("block cache: a bad page fails those who ask for it, and nobody else", "[cache][flight]") {
  Fixture f(1 << 20);
  f.source->fail_page(100, EIO);
  auto all = f.start({0, 256});
  auto before = f.start({0, 100});
  auto bad = f.start({100, 1});
  auto after = f.start({101, 155});
  f.source->run_all();
  CHECK((*all)->error() == Error{EIO});
  CHECK((*bad)->error() == Error{EIO});
  CHECK(f.shows(***before, {0, 100}, 0));
  CHECK(f.shows(***after, {101, 155}, 0));
  CHECK(f.source->read_count() == 1 + 16 + 16);

  f.read({90, 10});  // cached, as all but the bad one
  CHECK(f.source->read_count() == 1 + 16 + 16);
  CHECK(f.cache->peek(*f.file, 1, 100).pages() == 0);
  f.source->fail_page(100, 0);
  CHECK(f.shows(*f.read({99, 3}), {99, 3}, 0));
}

TEST_CASE("block cache: a bad page in what is read ahead costs only itself", "[cache][flight][readahead]") {
  Fixture f(1 << 20);
  f.source->fail_page(3, EIO);
  f.source->fail_page(40, EIO);
  f.cache->prefetch(f.request({0, 64}));
  f.source->run_all();
  CHECK(f.cache->stats().resident_bytes == 62 * kPageSize);
}

TEST_CASE("block cache: many bad pages fail nobody but who asks for them", "[cache][flight]") {
  Fixture f(1 << 20);
  for (uint64_t page = 3; page < 240; page += kPagesPerBlock) f.source->fail_page(page, EIO);  // in 15 of 16 blocks
  CHECK(f.read({0, 256}).error() == Error{EIO});
  CHECK(f.cache->stats().resident_bytes == (256 - 15) * kPageSize);
  CHECK(f.source->read_count() == 1 + 16 + 15 * 16);
}

TEST_CASE("block cache: a disk that reads nothing at all is not asked page by page", "[cache][flight]") {
  Fixture f(1 << 20);
  for (uint64_t page = 0; page < 256; page++) f.source->fail_page(page, EIO);
  CHECK(f.read({0, 256}).error() == Error{EIO});
  CHECK(f.source->read_count() == 1 + 16);
  CHECK(f.cache->stats().resident_bytes == 0);
}

TEST_CASE("block cache: other errors than the medium's are not asked for again", "[cache][flight]") {
  Fixture f(1 << 20);
  f.source->fail_page(7, ENOMEM);
  CHECK(f.read({0, 256}).error() == Error{ENOMEM});
  CHECK(f.source->read_count() == 1);
}

TEST_CASE("block cache: bytes past the end of the file are zeros", "[cache]") {
  Fixture f(2 * kPageSize + 100);
  const auto pages = *f.read({0, 3});
  const std::string all = f.bytes(pages, 3 * kPageSize);
  CHECK(f.source->shows(0, all.data(), f.source->size(), 0));
  CHECK(all.substr(f.source->size()) == std::string(kPageSize - 100, '\0'));
}

TEST_CASE("block cache: a file that ends early gives ESTALE and caches nothing", "[cache]") {
  Fixture f(10 * kPageSize);
  auto request = f.request({0, 10});
  f.source->resize(5 * kPageSize);
  std::optional<Result<PageRefs>> result;
  f.cache->read(request, [&](Result<PageRefs> r) { result.emplace(std::move(r)); });
  f.source->run_all();
  CHECK(result->error() == Error{ESTALE});
  CHECK(f.file->blocks() == 0);
}

TEST_CASE("block cache: generations never meet", "[cache]") {
  Fixture f(1 << 20);
  f.read({0, 16}, 1);
  f.source->change({0, 16});
  CHECK(f.shows(*f.read({0, 16}, 2), {0, 16}, 1));
  CHECK(f.shows(*f.read({0, 16}, 1), {0, 16}, 0));
}

TEST_CASE("block cache: a fill that a change overtook serves its readers but does not enter the cache", "[cache]") {
  Fixture f(1 << 20);
  f.source->take_bytes_of(FakeSource::BytesOf::submission);
  auto before = f.start({0, 16});
  f.cache->begin_change(*f.file, {4, 4});
  const uint64_t stamp = f.source->change({4, 4});
  f.cache->publish(*f.file, 1, {4, 4}, f.written({4, 4}, stamp));
  f.source->run_all();
  CHECK(f.shows(***before, {0, 16}, 0));  // asked before the write: the old bytes are right
  const auto after = *f.read({4, 4});
  CHECK(f.shows(after, {4, 4}, stamp));
}

TEST_CASE("block cache: a reader that comes after a write does not join a fill from before it", "[cache]") {
  Fixture f(1 << 20);
  f.source->take_bytes_of(FakeSource::BytesOf::submission);
  auto before = f.start({0, 16});
  f.cache->begin_change(*f.file, {0, 16});
  const uint64_t stamp = f.source->change({0, 16});
  f.cache->drop(*f.file, 1, {0, 16});
  auto after = f.start({0, 16});
  CHECK(f.source->pending() == 2);
  f.source->run_all();
  CHECK(f.shows(***before, {0, 16}, 0));
  CHECK(f.shows(***after, {0, 16}, stamp));
  CHECK(f.shows(*f.read({0, 16}), {0, 16}, stamp));
}

TEST_CASE("block cache: references keep their bytes through a write and through eviction", "[cache]") {
  Fixture f(64 << 20);
  const auto held = *f.read({0, 16});
  f.cache->begin_change(*f.file, {0, 16});
  const uint64_t stamp = f.source->change({0, 16});
  f.cache->publish(*f.file, 1, {0, 16}, f.written({0, 16}, stamp));
  for (uint64_t page = 256; page < 10000; page += 256) f.read({page, 256});
  CHECK(f.cache->stats().evictions > 0);
  CHECK(f.shows(held, {0, 16}, 0));
}

TEST_CASE("block cache: the budget holds, metadata included", "[cache]") {
  Fixture f(256 << 20);
  for (uint64_t page = 0; page < 65536; page += 256) {
    f.read({page, 256});
    const CacheStats stats = f.cache->stats();
    REQUIRE(stats.arena.slabs * kSlabSize + stats.metadata_bytes <= stats.size_bytes);
    REQUIRE(stats.resident_bytes <= stats.arena.frames_max * kPageSize);
  }
  CHECK(f.cache->stats().resident_bytes > kCacheSizeMin / 2);
}

TEST_CASE("block cache: 50,000 files of 4 KiB stay in 256 MiB", "[cache]") {
  Fixture f(kPageSize, 256 << 20);
  f.source->run_immediately();
  std::vector<std::shared_ptr<CachedFile>> files;
  auto read_all = [&] {
    for (auto& file : files) {
      CacheRead read = f.request({0, 1});
      read.file = file.get();
      f.cache->read(read, [](Result<PageRefs> pages) { REQUIRE(pages); });
    }
  };
  for (uint64_t i = 0; i < 50000; i++) files.push_back(f.cache->add_file(1000 + i));
  read_all();
  const uint64_t reads = f.source->read_count();
  read_all();
  CHECK(f.source->read_count() == reads);
  CHECK(f.cache->stats().evictions == 0);
}

TEST_CASE("block cache: a read that finds no memory waits for pages to come back, not for ever", "[cache]") {
  Fixture f(64 << 20);
  f.source->run_immediately();
  std::vector<PageRefs> held;
  while (true) {  // take everything
    PageRefs pages = f.cache->allocate(64);
    if (pages.pages() == 0) pages = f.cache->allocate(1);
    if (pages.pages() == 0) break;
    held.push_back(std::move(pages));
  }
  auto one = f.start({0, 40});
  auto other = f.start({500, 40});
  CHECK_FALSE(one->has_value());
  CHECK_FALSE(other->has_value());
  held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(held.size() / 2));
  REQUIRE(one->has_value());
  REQUIRE(other->has_value());
  CHECK(f.shows(***one, {0, 40}, 0));
  CHECK(f.shows(***other, {500, 40}, 0));
}

TEST_CASE("block cache: reads that find no memory ask the disk for nothing while they wait", "[cache]") {
  Fixture f(64 << 20);
  auto held = f.start({0, 480});
  auto more = f.start({480, 480});
  f.source->run_all();
  const uint64_t before = f.source->bytes_read();
  std::vector<std::shared_ptr<std::optional<Result<PageRefs>>>> starving;
  for (uint64_t i = 0; i < 4; i++) starving.push_back(f.start({900 + i * 300, 512}));  // the first overlaps `more`
  f.source->run_all();
  CHECK(f.source->bytes_read() - before <= 512 * kPageSize);  // at most one of the four had room
  held.reset();
  more.reset();
  for (auto& box : starving) {
    f.source->run_all();
    REQUIRE(box->has_value());
    box.reset();
  }
}

TEST_CASE("block cache: threads that hold their pages and want more than there are all get their turn",
          "[cache][threads]") {
  Fixture f(uint64_t{64} << 20);
  f.source->run_immediately();
  std::vector<std::thread> threads;
  std::atomic<int> lost{0};
  for (uint64_t t = 0; t < 6; t++) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(test_seed() + t);
      for (int i = 0; i < 150 && lost == 0; i++) {
        std::binary_semaphore served(0);
        std::optional<PageRefs> pages;
        f.cache->read(f.request({random() % 15000, 300 + random() % 212}), [&](Result<PageRefs> got) {
          pages.emplace(std::move(*got));
          served.release();
        });
        if (!served.try_acquire_for(std::chrono::seconds(60))) {
          lost++;
          served.acquire();
        }
        std::this_thread::yield();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(lost == 0);
}

TEST_CASE("block cache: readahead is counted as used once and as wasted when dropped unused", "[cache][readahead]") {
  Fixture f(1 << 20);
  f.cache->prefetch(f.request({0, 32}));
  f.source->run_all();
  CHECK(f.cache->stats().readahead_issued_bytes == 32 * kPageSize);
  f.read({0, 8});
  f.read({0, 8});
  CHECK(f.cache->stats().readahead_used_bytes == 8 * kPageSize);
  f.cache->drop(*f.file, 1, {0, 64});
  CHECK(f.cache->stats().readahead_wasted_bytes == 24 * kPageSize);
  CHECK(f.file->blocks() == 0);
}

TEST_CASE("block cache: a reader joins readahead that is still on its way", "[cache][readahead]") {
  Fixture f(1 << 20);
  f.cache->prefetch(f.request({0, 32}));
  auto box = f.start({8, 8});
  CHECK(f.source->pending() == 1);
  f.source->run_all();
  CHECK(f.shows(***box, {8, 8}, 0));
  CHECK(f.cache->stats().readahead_used_bytes == 8 * kPageSize);
}

TEST_CASE("block cache: dropping part of a block keeps the rest", "[cache]") {
  Fixture f(1 << 20);
  f.read({0, 48});
  f.cache->drop(*f.file, 1, {20, 5});
  CHECK(f.cache->peek(*f.file, 1, 19).pages() == 1);
  CHECK(f.cache->peek(*f.file, 1, 20).pages() == 0);
  CHECK(f.cache->peek(*f.file, 1, 24).pages() == 0);
  CHECK(f.cache->peek(*f.file, 1, 25).pages() == 1);
}

TEST_CASE("block cache: a stream through a large file takes a small share of an empty cache", "[cache]") {
  const uint64_t size = uint64_t{64} << 20;
  const uint64_t large = GENERATE(uint64_t{64} << 20, (uint64_t{64} << 20) + 1, uint64_t{0});
  Fixture f(size, uint64_t{16} << 20, "lru", large);
  for (uint64_t page = 0; page < size / kPageSize; page += 64) f.read({page, 64});
  const uint64_t resident = f.cache->stats().resident_bytes;
  if (large == size) CHECK(resident <= 2 << 20);
  if (large != size) CHECK(resident > 12 << 20);
}

TEST_CASE("block cache: a file that is written until it is large keeps a small share", "[cache]") {
  Fixture f(uint64_t{64} << 20, uint64_t{16} << 20, "s3fifo", 4 << 20);
  for (uint64_t page = 0; page < (16 << 20) / kPageSize; page += 64) {
    f.cache->begin_change(*f.file, {page, 64});
    f.cache->publish(*f.file, 1, {page, 64}, f.written({page, 64}, 1));
  }
  CHECK(f.cache->stats().resident_bytes <= 6 << 20);  // what was written while the file was small, and the share
}

TEST_CASE("block cache: what is wanted of a large file stays, and streams through it pass by as before", "[cache]") {
  Fixture f(uint64_t{64} << 20, uint64_t{16} << 20, "s3fifo", 1 << 20);
  const auto stream = [&](uint64_t first, uint64_t end) {
    for (uint64_t page = first; page < end; page += 64) f.read({page, 64});
  };
  const PageRange wanted{0, 1024};  // twice the share, of which the end is in the queue already
  stream(256, wanted.end());
  for (uint64_t page = wanted.first; page < wanted.end(); page += 256) {
    f.cache->want(*f.file, 1, {page, 256});
    f.read({page, 256});
    f.cache->want_no_more(*f.file);
  }
  stream(wanted.end(), (uint64_t{64} << 20) / kPageSize);
  for (uint64_t page = wanted.first; page < wanted.end(); page++) CHECK(f.cache->peek(*f.file, 1, page).pages() == 1);
  CHECK(f.cache->stats().resident_bytes <= wanted.count * kPageSize + (2 << 20));
}

TEST_CASE("block cache: a large file that was pinned is the policy's to keep, and later streams are not",
          "[cache][pin]") {
  Fixture f(uint64_t{64} << 20, uint64_t{16} << 20, "s3fifo", 1 << 20);
  REQUIRE(f.cache->pin(*f.file, 4 << 20));
  for (uint64_t page = 0; page < 1024; page += 256) f.read({page, 256});
  f.cache->unpin(*f.file);
  for (uint64_t page = 1024; page < (uint64_t{64} << 20) / kPageSize; page += 64) f.read({page, 64});
  CHECK(f.cache->stats().resident_bytes >= 4 << 20);
  CHECK(f.cache->stats().resident_bytes <= 6 << 20);
}

TEST_CASE("block cache: a pinned file stays, whatever else is read", "[cache][pin]") {
  const char* policy = GENERATE("lru", "midpoint", "s3fifo", "arc");
  const uint64_t large = GENERATE(uint64_t{0}, uint64_t{1} << 20);
  Fixture f(uint64_t{64} << 20, uint64_t{16} << 20, policy, large);
  const auto pinned = f.cache->add_file(43);
  const auto read_pinned = [&](PageRange pages) {
    CacheRead read = f.request(pages);
    read.file = pinned.get();
    read.size = 3 << 20;
    f.cache->read(read, [](Result<PageRefs> got) { REQUIRE(got); });
    f.source->run_all();
  };
  read_pinned({0, 256});
  REQUIRE(f.cache->pin(*pinned, 3 << 20));
  read_pinned({256, 512});
  CHECK(f.cache->stats().pinned_bytes == 3 << 20);
  const auto stream = [&] {
    for (uint64_t page = 0; page < (uint64_t{64} << 20) / kPageSize; page += 64) f.read({page, 64});
  };
  stream();
  CHECK(pinned->blocks() == 48);
  f.cache->clear();
  CHECK(f.cache->stats().resident_bytes == 3 << 20);
  f.cache->drop(*pinned, 1, {0, 16});
  CHECK(f.cache->stats().pinned_bytes == (3 << 20) - (64 << 10));

  f.cache->unpin(*pinned);
  CHECK(f.cache->stats().pinned_bytes == 0);
  f.cache->clear();
  CHECK(f.cache->stats().resident_bytes == 0);
}

TEST_CASE("block cache: pins are promised half of the cache and no more", "[cache][pin]") {
  Fixture f(uint64_t{64} << 20);
  const uint64_t half = f.cache->stats().pinned_max_bytes;
  const auto one = f.cache->add_file(43);
  auto other = f.cache->add_file(44);
  CHECK(f.cache->pin(*one, half + 1).error().number == ENOSPC);
  CHECK(f.cache->pin(*one, half - kPageSize));
  CHECK(f.cache->pin(*other, 2 * kPageSize).error().number == ENOSPC);
  CHECK(f.cache->pin(*other, kPageSize));
  other.reset();  // gives its promise back
  CHECK(f.cache->pin(*one, half));
  CHECK(f.cache->pin(*one, kPageSize));

  // What it grows to beyond the half is evicted like anything else.
  CacheRead read = f.request({0, 512});
  read.file = one.get();
  for (; read.pages.first < 8192; read.pages.first += 512) {
    f.cache->read(read, [](Result<PageRefs> got) { REQUIRE(got); });
    f.source->run_all();
  }
  CHECK(f.cache->stats().pinned_bytes <= half);
  CHECK(f.cache->stats().pinned_bytes > half / 2);
}

TEST_CASE("block cache: pinned blocks that fill up do not take more than half of the cache", "[cache][pin]") {
  Fixture f(uint64_t{64} << 20);
  const uint64_t half = f.cache->stats().pinned_max_bytes;
  REQUIRE(f.cache->pin(*f.file, kPageSize));
  for (uint64_t block = 0; block < 700; block++) f.read({block * kPagesPerBlock, 1});
  for (uint64_t block = 0; block < 700; block++) f.read({block * kPagesPerBlock, kPagesPerBlock});
  CHECK(f.cache->stats().pinned_bytes <= half);
  CHECK(f.cache->stats().pinned_bytes > half / 2);
  f.cache->unpin(*f.file);
  f.cache->clear();
  CHECK(f.cache->stats().resident_bytes == 0);
  CHECK(f.cache->stats().pinned_bytes == 0);
}

TEST_CASE("block cache: what a pinned file grows by is not taken from what others were promised", "[cache][pin]") {
  Fixture f(uint64_t{64} << 20);
  const uint64_t half = f.cache->stats().pinned_max_bytes;
  const auto other = f.cache->add_file(43);
  const auto read_all = [&](const std::shared_ptr<CachedFile>& file, uint64_t pages) {
    CacheRead read = f.request({0, 16});
    read.file = file.get();
    for (; read.pages.first < pages; read.pages.first += 16) {
      f.cache->read(read, [](Result<PageRefs> got) { REQUIRE(got); });
      f.source->run_all();
    }
  };
  REQUIRE(f.cache->pin(*f.file, kPageSize));
  SECTION("promised before") {
    REQUIRE(f.cache->pin(*other, half / 2));
    read_all(f.file, 8192);
    CHECK(f.cache->stats().pinned_bytes <= half / 2);
    read_all(other, half / 2 / kPageSize);
    f.cache->clear();
    CHECK(other->blocks() * kPagesPerBlock >= half / 2 / kPageSize);
  }
  SECTION("asked for later") {
    read_all(f.file, 8192);
    CHECK(f.cache->stats().pinned_bytes > half / 2);
    CHECK(f.cache->pin(*other, half / 2).error().number == ENOSPC);
  }
  CHECK(f.cache->stats().pinned_bytes <= half);
  f.cache->unpin(*f.file);
  f.cache->unpin(*other);
  f.cache->clear();
  CHECK(f.cache->stats().resident_bytes == 0);
  CHECK(f.cache->stats().pinned_bytes == 0);
}

TEST_CASE("block cache: a file that goes leaves no block behind", "[cache]") {
  Fixture f(1 << 20);
  f.read({0, 100});
  CHECK(f.cache->stats().blocks == 7);
  f.file.reset();
  CHECK(f.cache->stats().blocks == 0);
  CHECK(f.cache->stats().resident_bytes == 0);
  f.file = f.cache->add_file(43);
}

TEST_CASE("block cache: a hit keeps its bytes when its pages are overwritten, dropped and evicted", "[cache]") {
  Fixture f(uint64_t{16} << 20);
  f.source->run_immediately();
  for (const PageRange range : {PageRange{35, 1}, PageRange{32, 16}, PageRange{40, 20}}) {
    INFO(range.first << " + " << range.count);
    REQUIRE(f.read({32, 32}));
    const auto held = f.cache->read_resident(f.request(range));
    REQUIRE(held);
    auto also_held = f.cache->read_resident(f.request(range));
    PageRefs front = also_held->take_front(1);  // parts of a hit are references like any others
    also_held.reset();
    f.cache->publish(*f.file, 1, {36, 1}, f.written({36, 1}, 5));
    f.cache->drop(*f.file, 1, {32, 4});
    for (uint64_t page = 64; page < 4096; page += 64) f.read({page, 64});
    CHECK_FALSE(f.cache->read_resident(f.request({35, 1})));
    CHECK(f.shows(*held, range, 0));
    CHECK(f.shows(front, {range.first, 1}, 0));
  }
  f.cache->drop(*f.file, 1, {0, 4096});
  const ArenaStats arena = f.cache->stats().arena;
  CHECK(arena.frames_free == arena.frames_max);
}

TEST_CASE("block cache: hits are counted, whichever way they go", "[cache]") {
  Fixture f(uint64_t{1} << 20);
  f.source->run_immediately();
  f.read({0, 64});
  const uint64_t before = f.cache->stats().hits;
  const auto one = f.cache->read_resident(f.request({3, 1}));
  const auto block = f.cache->read_resident(f.request({16, 16}));
  const auto across = f.cache->read_resident(f.request({10, 40}));
  CHECK_FALSE(f.cache->read_resident(f.request({60, 5})));
  CHECK(f.cache->stats().hits == before + 1 + 16 + 40);
}

TEST_CASE("block cache: more hits at once than a thread has slots for are hits all the same", "[cache]") {
  Fixture f(uint64_t{1} << 20);
  f.source->run_immediately();
  f.read({0, 1});
  std::vector<PageRefs> held;
  for (int i = 0; i < 100; i++) {
    auto pages = f.cache->read_resident(f.request({0, 1}));
    REQUIRE(pages);
    held.push_back(std::move(*pages));
  }
  f.cache->drop(*f.file, 1, {0, 1});
  for (const PageRefs& pages : held) CHECK(f.shows(pages, {0, 1}, 0));
  held.clear();
  const ArenaStats arena = f.cache->stats().arena;
  CHECK(arena.frames_free == arena.frames_max);
}

TEST_CASE("block cache: threads that hit what others evict, write and drop see whole pages", "[cache][threads]") {
  Fixture f(uint64_t{16} << 20);  // twice the cache
  f.source->run_immediately();
  const uint64_t hot_pages = 64;
  std::atomic<int> torn{0};
  std::atomic<bool> stop{false};
  const auto read_hot = [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    while (!stop) {
      const uint64_t first = random() % hot_pages;
      const PageRange range{first, 1 + random() % (kPagesPerBlock - first % kPagesPerBlock)};
      const auto pages = f.cache->read_resident(f.request(range));
      if (!pages) f.cache->read(f.request(range), [](const Result<PageRefs>&) {});
      if (pages && !f.shows(*pages, range, 0)) torn++;
    }
  };
  std::thread first(read_hot, test_seed()), second(read_hot, test_seed() + 1);
  for (uint64_t i = 0; i < 300; i++) {
    f.cache->read(f.request({hot_pages + i % 16 * 240, 240}), [](const Result<PageRefs>&) {});
    const PageRange changed{i % hot_pages, 1};
    if (i % 2 == 0) f.cache->publish(*f.file, 1, changed, f.written(changed, 0));
    if (i % 3 == 0) f.cache->drop(*f.file, 1, {i % hot_pages, 20});
  }
  stop = true;
  first.join();
  second.join();
  CHECK(torn == 0);
  f.cache->drop(*f.file, 1, {0, 4096});
  const ArenaStats arena = f.cache->stats().arena;
  CHECK(arena.frames_free == arena.frames_max);
}

TEST_CASE("block cache: threads that read, write and drop at once see whole pages", "[cache][threads]") {
  Fixture f(uint64_t{4} << 20);
  f.source->run_immediately();
  const uint64_t file_pages = f.source->size() / kPageSize;
  std::vector<std::thread> threads;
  std::atomic<int> torn{0};
  for (int t = 0; t < 3; t++) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(test_seed() + static_cast<uint64_t>(t));
      for (int i = 0; i < 1500; i++) {
        const uint64_t first = random() % (file_pages - 32);
        const PageRange range{first, 1 + random() % 32};
        if (t == 0 && i % 3 == 0) {
          f.cache->begin_change(*f.file, range);
          PageRefs pages = f.cache->allocate(range.count);
          for (uint64_t p = 0; p < pages.pages(); p++) {
            f.source->fill((range.first + p) * kPageSize, f.cache->arena().address(pages.frame(p)), kPageSize, 0);
          }
          if (pages.pages() == range.count) f.cache->publish(*f.file, 1, range, pages);
          if (i % 9 == 0) f.cache->drop(*f.file, 1, range);
          continue;
        }
        f.cache->read(f.request(range), [&, range](Result<PageRefs> pages) {
          if (!pages || !f.shows(*pages, range, 0)) torn++;
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(torn == 0);
}

}  // namespace
}  // namespace sluice
