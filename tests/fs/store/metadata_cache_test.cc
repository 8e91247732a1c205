#include "fs/store/metadata_cache.h"

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seed.h"

using namespace sluice;
using namespace std::chrono_literals;

namespace {

struct Fixture {
  explicit Fixture(uint64_t bytes_max = 1 << 20) : cache(bytes_max, 10s, &clock) {}

  void learn(InodeNumber number, std::string_view text) {
    cache.insert({MetadataKind::target, number}, std::string(text), cache.look({change_key(number)}));
  }
  std::string told(InodeNumber number, std::chrono::nanoseconds age_max = 10s) {
    const auto found = cache.find({MetadataKind::target, number}, age_max);
    return found ? std::get<std::string>(found->value) : "?";
  }

  ManualClock clock;
  MetadataCache cache;
};

}  // namespace

TEST_CASE("metadata: what was learnt is known until it is too old for who asks", "[store][metadata]") {
  Fixture fixture;
  fixture.learn(1, "a");
  CHECK(fixture.told(1) == "a");
  fixture.clock.advance(3s);
  CHECK(fixture.told(1) == "a");
  CHECK(fixture.cache.find({MetadataKind::target, 1}, 10s)->age == 3s);
  CHECK(fixture.told(1, 3s) == "?");
  CHECK(fixture.told(1, 0s) == "?");
  CHECK(fixture.told(2) == "?");
  CHECK_FALSE(fixture.cache.find({MetadataKind::listing, 1}, 10s));
  CHECK_FALSE(fixture.cache.find({MetadataKind::target, 1, "x"}, 10s));
  CHECK(fixture.cache.stats().hits == 3);
  CHECK(fixture.cache.stats().misses == 4);
}

TEST_CASE("metadata: a change ends what depends on it", "[store][metadata]") {
  Fixture fixture;
  fixture.learn(1, "a");
  fixture.learn(2, "b");
  fixture.cache.changes().count(change_key(1));
  CHECK(fixture.told(1) == "?");
  CHECK(fixture.told(2) == "b");
  fixture.learn(1, "c");
  CHECK(fixture.told(1) == "c");
  fixture.cache.changes().count_all();
  CHECK(fixture.told(1) == "?");
  CHECK(fixture.told(2) == "?");
}

TEST_CASE("metadata: what changes during a look is not learnt by it", "[store][metadata]") {
  Fixture fixture;
  const MetadataKey key{MetadataKind::target, 1};
  SECTION("a change of what it depends on") {
    const auto look = fixture.cache.look({change_key(1)});
    fixture.cache.changes().count(change_key(1));
    fixture.cache.insert(key, std::string("old"), look);
    CHECK(fixture.told(1) == "?");
  }
  SECTION("an own change that ends after it") {
    {
      const OwnChange change(&fixture.cache.changes(), {change_key(1)});
      fixture.learn(1, "old");
      CHECK(fixture.told(1) == "old");  // of two at the same time either may be first
    }
    CHECK(fixture.told(1) == "?");
  }
  SECTION("whatever change, when it is found only by the look what it depends on") {
    const auto look = fixture.cache.look({});
    fixture.cache.changes().count(change_key(2));
    fixture.cache.insert(key, std::string("old"), look, change_key(1));
    CHECK(fixture.told(1) == "?");
  }
  SECTION("no change") {
    fixture.cache.insert(key, std::string("new"), fixture.cache.look({}), change_key(1));
    CHECK(fixture.told(1) == "new");
    fixture.cache.changes().count(change_key(1));
    CHECK(fixture.told(1) == "?");
  }
}

TEST_CASE("metadata: of two looks the later one wins", "[store][metadata]") {
  Fixture fixture;
  const MetadataKey key{MetadataKind::target, 1};
  const auto early = fixture.cache.look({});
  fixture.clock.advance(1s);
  fixture.learn(1, "late");
  fixture.cache.insert(key, std::string("early"), early);
  CHECK(fixture.told(1) == "late");
}

TEST_CASE("metadata: memory is bounded, and given back when nobody asks", "[store][metadata]") {
  Fixture fixture(100'000);
  for (InodeNumber number = 1; number < 2000; ++number) {
    fixture.learn(number, std::string(number % 300, 'x'));
    REQUIRE(fixture.cache.stats().bytes <= 100'000);
  }
  CHECK(fixture.told(1) == "?");
  CHECK(fixture.told(1999) == std::string(1999 % 300, 'x'));
  CHECK(fixture.cache.stats().bytes > 90'000);
  fixture.clock.advance(9s);
  fixture.learn(2000, "young");
  fixture.clock.advance(1s);
  fixture.cache.expire();
  CHECK(fixture.cache.stats().items == 1);
  CHECK(fixture.told(2000) == "young");
  fixture.clock.advance(9s);
  fixture.cache.expire();
  CHECK(fixture.cache.stats().items == 0);
  CHECK(fixture.cache.stats().bytes == 0);

  Fixture off(0);
  off.learn(1, "a");
  CHECK(off.told(1) == "?");
}

// Writers change a number, and tell so before and after; whoever finds something in the cache later than a change that
// was complete before must not find what was there before it.
TEST_CASE("metadata: nobody is told what was changed before they asked", "[store][metadata][threads]") {
  Fixture fixture;
  constexpr InodeNumber kFiles = 8;
  constexpr int kRounds = 20'000;
  std::array<std::atomic<uint64_t>, kFiles> backing{};
  std::array<std::atomic<uint64_t>, kFiles> complete{};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> stale{0}, hits{0};
  const auto write = [&](uint32_t seed) {
    std::mt19937 random(seed);
    for (int round = 0; round < kRounds || hits < 1000; ++round) {
      const InodeNumber file = random() % kFiles;
      uint64_t written;
      {
        const OwnChange change(&fixture.cache.changes(), {change_key(file)});
        written = backing[file].fetch_add(1) + 1;
      }
      uint64_t before = complete[file].load();
      while (before < written && !complete[file].compare_exchange_weak(before, written)) {
      }
    }
  };
  const auto read = [&](uint32_t seed) {
    std::mt19937 random(seed);
    while (!stop) {
      const InodeNumber file = random() % kFiles;
      const MetadataKey key{MetadataKind::name, file};
      const uint64_t least = complete[file].load();
      if (const auto found = fixture.cache.find(key, 10s)) {
        hits++;
        if (std::get<InodeNumber>(found->value) < least) stale++;
      } else if (random() % 2 == 0) {
        const auto look = fixture.cache.look({change_key(file)});
        fixture.cache.insert(key, InodeNumber{backing[file].load()}, look);
      } else {
        const auto look = fixture.cache.look({});
        fixture.cache.insert(key, InodeNumber{backing[file].load()}, look, change_key(file));
      }
    }
  };
  const uint32_t seed = static_cast<uint32_t>(test_seed());
  std::vector<std::thread> threads;
  threads.emplace_back(read, seed);
  threads.emplace_back(read, seed + 1);
  std::thread writers[] = {std::thread(write, seed + 2), std::thread(write, seed + 3)};
  for (std::thread& writer : writers) writer.join();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(stale == 0);
}
