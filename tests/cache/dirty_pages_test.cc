#include "cache/dirty_pages.h"

#include <string.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "cache/block_cache.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

struct Fixture {
  std::unique_ptr<BlockCache> cache = *BlockCache::create({.size_bytes = uint64_t{16} << 20});
  DirtyTotals totals;
  DirtyPages dirty{&cache->arena(), &totals};
  uint64_t free_before = frames_free();

  uint64_t frames_free() const { return cache->arena().stats().frames_free; }
  void put(PageRange range, char bytes = 'x') {
    PageRefs pages = cache->allocate(range.count);
    REQUIRE(pages.pages() == range.count);
    for (uint64_t i = 0; i < range.count; ++i) ::memset(cache->arena().address(pages.frame(i)), bytes, kPageSize);
    dirty.put(range, pages, std::chrono::nanoseconds{7});
  }
  std::optional<DirtyPages::Run> take(uint64_t pages_max = 100, uint64_t put_until = UINT64_MAX) {
    return dirty.take({{0, UINT64_MAX}, pages_max, put_until});
  }
  char byte_of(uint64_t page) {
    const auto runs = dirty.peek({page, 1});
    return runs.empty() ? '\0' : *cache->arena().address(runs.front().pages.frame(0));
  }
};

TEST_CASE("dirty pages: a page is kept from its put until an fsync that began after its write", "[cache][dirty]") {
  Fixture f;
  f.put({3, 2});
  CHECK(f.dirty.counts().dirty == 2);
  CHECK(f.dirty.dirty_since() == std::chrono::nanoseconds{7});
  const uint64_t too_early = f.dirty.written_count();
  auto run = f.take();
  REQUIRE(run);
  CHECK(run->range.first == 3);
  CHECK(run->range.count == 2);
  CHECK_FALSE(f.take());  // never two writes of a page
  f.dirty.written(*run);
  run.reset();
  CHECK(f.dirty.counts().unsynced == 2);
  CHECK_FALSE(f.dirty.dirty_since());
  f.dirty.synced(too_early);
  CHECK(f.dirty.counts().unsynced == 2);
  f.dirty.synced(f.dirty.written_count());
  CHECK(f.dirty.counts().kept() == 0);
  CHECK(f.totals.kept() == 0);
  CHECK(f.frames_free() == f.free_before);
}

TEST_CASE("dirty pages: a page put while an older version is on its way is written after it", "[cache][dirty]") {
  Fixture f;
  f.put({0, 1}, 'a');
  auto first = f.take();
  f.put({0, 1}, 'b');
  CHECK_FALSE(f.take());
  f.dirty.written(*first);
  CHECK(f.dirty.counts().dirty == 1);
  CHECK(f.dirty.counts().unsynced == 0);
  auto second = f.take();
  REQUIRE(second);
  CHECK(f.byte_of(0) == 'b');
  f.dirty.written(*second);
  CHECK(f.dirty.counts().unsynced == 1);
}

TEST_CASE("dirty pages: a write that failed is as old as what it was to bring", "[cache][dirty]") {
  Fixture f;
  f.put({0, 1}, 'a');
  const uint64_t until = f.dirty.now();
  auto first = f.take();
  f.put({0, 1}, 'b');
  CHECK(f.dirty.has_unwritten({0, 1}, until));  // it is on its way
  f.dirty.failed(*first);
  CHECK(f.dirty.has_unwritten({0, 1}, until));  // only the newer version can make that good
  auto second = f.take(100, until);
  REQUIRE(second);
  f.dirty.written(*second);
  CHECK_FALSE(f.dirty.has_unwritten({0, 1}));
}

TEST_CASE("dirty pages: what was put later does not delay who waits for what came before", "[cache][dirty]") {
  Fixture f;
  f.put({0, 1});
  const uint64_t until = f.dirty.now();
  f.put({1, 1});
  auto run = f.take(100, until);
  REQUIRE(run);
  CHECK(run->range.count == 1);
  f.dirty.written(*run);
  CHECK_FALSE(f.dirty.has_unwritten({0, 10}, until));
  CHECK(f.dirty.has_unwritten({0, 10}));
  // Written again before it reached the disk: the backing still lacks what came first.
  f.put({1, 1});
  CHECK(f.dirty.has_unwritten({0, 10}, until + 1));
}

TEST_CASE("dirty pages: after an fsync that failed all that it was to keep is dirty again", "[cache][dirty]") {
  Fixture f;
  f.put({0, 4});
  auto run = f.take(2);
  f.dirty.written(*run);
  f.dirty.sync_failed();
  CHECK(f.dirty.counts().dirty == 4);
  CHECK(f.dirty.dirty_since());
  CHECK(f.take()->range.count == 4);
}

TEST_CASE("dirty pages: what is discarded on its way is let go when it arrives", "[cache][dirty]") {
  Fixture f;
  f.put({0, 4}, 'a');
  auto run = f.take(2);
  CHECK(f.dirty.discard({0, 3}) == 3);
  CHECK(f.dirty.counts().dirty == 1);
  f.put({1, 1}, 'b');  // beside the version on its way
  std::atomic<bool> idle = false;
  std::thread waiter([&] {
    f.dirty.await_idle({0, 2});
    idle = true;
  });
  CHECK_FALSE(idle);
  f.dirty.written(*run);
  waiter.join();
  run.reset();
  CHECK(f.byte_of(0) == '\0');
  CHECK(f.byte_of(1) == 'b');
  CHECK(f.dirty.counts().dirty == 2);
  const auto rest = f.dirty.take_all();
  REQUIRE(rest.size() == 2);
  CHECK(rest[0].range.first == 1);
  CHECK(rest[1].range.first == 3);
  CHECK(f.totals.kept() == 0);
}

// Against the plainest of models: per page the bytes that were put last, and of which versions the backing has heard.
TEST_CASE("dirty pages: in any order of events no version is lost, none comes after a newer one", "[cache][dirty]") {
  std::mt19937_64 random(test_seed());
  for (int schedule = 0; schedule < 300; ++schedule) {
    Fixture f;
    constexpr uint64_t kPages = 12;
    std::map<uint64_t, uint8_t> newest, disk, durable;
    uint8_t version = 0;
    std::vector<DirtyPages::Run> on_way;
    std::vector<uint64_t> syncs;
    for (int step = 0; step < 200; ++step) {
      switch (random() % 6) {
        case 0:
        case 1: {
          const uint64_t first = random() % kPages;
          const PageRange range{first, 1 + random() % (kPages - first)};
          ++version;
          f.put(range, static_cast<char>(version));
          for (uint64_t page = range.first; page < range.end(); ++page) newest[page] = version;
          break;
        }
        case 2:
          if (auto run = f.take(1 + random() % 5)) on_way.push_back(std::move(*run));
          break;
        case 3: {
          if (on_way.empty()) break;
          const size_t i = random() % on_way.size();
          const bool works = random() % 4 != 0;
          for (uint64_t n = 0; works && n < on_way[i].range.count; ++n) {
            const auto bytes = static_cast<uint8_t>(*f.cache->arena().address(on_way[i].pages.frame(n)));
            const uint64_t page = on_way[i].range.first + n;
            REQUIRE(bytes >= disk[page]);  // in order
            disk[page] = bytes;
          }
          works ? f.dirty.written(on_way[i]) : f.dirty.failed(on_way[i]);
          on_way.erase(on_way.begin() + static_cast<ptrdiff_t>(i));
          break;
        }
        case 4: {
          const uint64_t count = f.dirty.written_count();
          durable = disk;
          f.dirty.synced(count);
          break;
        }
        default:
          disk = durable;  // the backing loses what was not durable
          f.dirty.sync_failed();
          for (auto& [page, bytes] : disk) (void)bytes;
          break;
      }
      for (const auto& [page, bytes] : newest) {
        const char kept = f.byte_of(page);
        if (kept != '\0')
          REQUIRE(static_cast<uint8_t>(kept) == bytes);
        else
          REQUIRE(durable[page] == bytes);
      }
    }
    while (auto run = f.take()) on_way.push_back(std::move(*run));
    for (const auto& run : on_way) f.dirty.written(run);
  }
}

}  // namespace
}  // namespace sluice
