// Another size while the cache serves.
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/cache_fixture.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// A cache of 16 MiB, which may grow to 64.
struct Resizable : CacheFixture {
  explicit Resizable(const char* policy = "s3fifo")
      : CacheFixture(64 * kMiB, {.size_bytes = 16 * kMiB, .size_max_bytes = 64 * kMiB, .policy = policy}) {}

  void read_all(uint64_t first, uint64_t pages) {
    for (uint64_t page = first; page < first + pages; page += 16) {
      const PageRange range{page, 16};
      REQUIRE(shows(*read(range), range, 0));
    }
  }
  uint64_t resident(uint64_t first, uint64_t pages) const {
    uint64_t count = 0;
    for (uint64_t page = first; page < first + pages; page++) count += cache->peek(*file, 1, page).pages();
    return count;
  }
  void wait_for_memory_to_go() const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (cache->finish_resize() > 0) REQUIRE(std::chrono::steady_clock::now() < deadline);
  }
  void check_budget(uint64_t size) const {
    const CacheStats stats = cache->stats();
    CHECK(stats.size_bytes == size);
    CHECK(stats.arena.slabs * kSlabSize + stats.metadata_bytes <= size);
    CHECK(stats.resident_bytes <= stats.arena.frames_max * kPageSize);
  }
};

TEST_CASE("block cache: a larger size is room at once, and what was there stays", "[cache][resize]") {
  for (const char* policy : {"s3fifo", "lru", "midpoint", "arc"}) {
    Resizable f(policy);
    f.read_all(0, 2048);
    REQUIRE(f.cache->resize(64 * kMiB));
    CHECK(f.resident(0, 2048) == 2048);
    f.read_all(2048, 12'000);
    CHECK(f.resident(0, 14'048) == 14'048);
    CHECK(f.cache->stats().evictions == 0);
    f.check_budget(64 * kMiB);
  }
}

TEST_CASE("block cache: a smaller size keeps what the policy would, and gives the rest back", "[cache][resize]") {
  for (const char* policy : {"s3fifo", "lru", "midpoint", "arc"}) {
    INFO(policy);
    Resizable f(policy);
    REQUIRE(f.cache->resize(64 * kMiB));
    f.read_all(0, 14'000);
    f.clock.advance(std::chrono::seconds(2));
    for (int round = 0; round < 3; round++) {
      f.read_all(0, 1500);  // the hot ones
      f.read_all(3000, 320);
    }
    REQUIRE(f.cache->resize(16 * kMiB));
    CHECK(f.resident(0, 1500) == 1500);
    CHECK(f.cache->stats().resident_bytes > 13 * kMiB);
    f.wait_for_memory_to_go();
    f.check_budget(16 * kMiB);
    CHECK(f.source->read_count() == 14'000 / 16);
    f.read_all(0, 14'000);
    f.check_budget(16 * kMiB);
  }
}

TEST_CASE("block cache: many small blocks keep their pages when their ids must change", "[cache][resize]") {
  Resizable f;
  REQUIRE(f.cache->resize(64 * kMiB));
  std::vector<std::shared_ptr<CachedFile>> files;
  const auto read_file = [&](uint64_t number) {
    CacheRead read = f.request({number % 16'000, 1});
    read.file = files[number].get();
    auto box = std::make_shared<std::optional<Result<PageRefs>>>();
    f.cache->read(read, [box](Result<PageRefs> result) { box->emplace(std::move(result)); });
    f.source->run_all();
    REQUIRE((box->has_value() && **box));
    REQUIRE(f.shows(***box, read.pages, 0));
  };
  for (uint64_t number = 0; number < 14'000; number++) {
    files.push_back(f.cache->add_file(1000 + number));
    read_file(number);
  }
  for (int round = 0; round < 3; round++) {
    for (uint64_t number = 10'000; number < 13'000; number++) read_file(number);
  }
  REQUIRE(f.cache->resize(16 * kMiB));
  const uint64_t reads = f.source->read_count();
  for (uint64_t number = 10'000; number < 13'000; number++) read_file(number);
  CHECK(f.source->read_count() == reads);
  // What is dropped is gone, whatever its id was.
  for (uint64_t number = 12'000; number < 13'000; number++) f.cache->drop(*files[number], 1, {0, UINT64_MAX});
  for (uint64_t number = 12'000; number < 13'000; number++) read_file(number);
  CHECK(f.source->read_count() == reads + 1000);
  f.wait_for_memory_to_go();
  f.check_budget(16 * kMiB);
}

TEST_CASE("block cache: a size that cannot be changes nothing", "[cache][resize]") {
  Resizable f;
  REQUIRE(f.cache->pin(*f.file, 6 * kMiB));
  f.read_all(0, 1536);
  CHECK(f.cache->resize(kCacheSizeMin - 1).error().number == EINVAL);
  CHECK(f.cache->resize(65 * kMiB).error().number == ERANGE);
  CHECK(f.cache->resize(12 * kMiB).error().number == ENOSPC);
  CHECK(f.cache->stats().size_bytes == 16 * kMiB);
  CHECK(f.resident(0, 1536) == 1536);
  REQUIRE(f.cache->resize(48 * kMiB));
  const std::shared_ptr<CachedFile> pinned = std::exchange(f.file, f.cache->add_file(43));
  f.read_all(1536, 8000);
  f.file = pinned;
  REQUIRE(f.cache->resize(16 * kMiB));
  CHECK(f.resident(0, 1536) == 1536);
}

TEST_CASE("block cache: who holds pages keeps them through a resize, and their memory goes after them",
          "[cache][resize]") {
  Resizable f;
  REQUIRE(f.cache->resize(64 * kMiB));
  f.read_all(0, 14'000);
  std::vector<PageRefs> held;
  for (uint64_t page = 0; page < 14'000; page += 160) held.push_back(std::move(*f.read({page, 16})));
  auto late = f.start({15'000, 16});
  REQUIRE(f.cache->resize(16 * kMiB));
  CHECK(f.cache->finish_resize() > 0);
  f.source->run_all();
  REQUIRE(**late);
  CHECK(f.shows(***late, {15'000, 16}, 0));
  for (size_t i = 0; i < held.size(); i++) CHECK(f.shows(held[i], {i * 160, 16}, 0));
  held.clear();
  late->reset();
  f.wait_for_memory_to_go();
  f.check_budget(16 * kMiB);
}

TEST_CASE("block cache: readers see the right bytes while the size changes all the time", "[cache][resize][threads]") {
  Resizable f;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> wrong = 0;
  std::vector<std::thread> readers;
  f.read_all(0, 3000);
  for (uint64_t t = 0; t < 2; t++) {
    readers.emplace_back([&, t] {
      std::mt19937_64 random(test_seed() + t);
      while (!stop) {
        const PageRange range{random() % 3000, 1 + random() % 40};
        const std::optional<PageRefs> pages = f.cache->read_resident(f.request(range));
        if (pages && !f.shows(*pages, range, 0)) wrong++;
      }
    });
  }
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 60; round++) {
    REQUIRE(f.cache->resize(kCacheSizeMin + random() % (40 * kMiB)));
    f.read_all(random() % 2000, 800);
    f.cache->finish_resize();
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace sluice
