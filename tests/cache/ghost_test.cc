#include <algorithm>
#include <deque>
#include <random>

#include "cache/ghost_lists.h"
#include "cache/ghost_table.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

TEST_CASE("ghost table: is a queue that forgets what is farther back than the span", "[cache][ghosts]") {
  GhostTable ghosts({.ghosts_max = 1000, .span = 100});
  for (uint64_t hash = 0; hash < 200; hash++) ghosts.add(hash, 2);
  CHECK(ghosts.take(199, 2, 100));
  CHECK(ghosts.take(150, 2, 100));
  CHECK_FALSE(ghosts.take(149, 2, 100));
  CHECK_FALSE(ghosts.take(199, 2, 100));  // it was taken
  CHECK_FALSE(ghosts.take(200, 2, 100));
}

TEST_CASE("ghost table: those who came back make room for others where that is asked for", "[cache][ghosts]") {
  GhostTable ghosts({.ghosts_max = 1000, .span = 100, .taken_make_room = true});
  for (uint64_t hash = 0; hash < 100; hash++) ghosts.add(hash, 2);
  CHECK_FALSE(ghosts.take(49, 2, 100));  // 2 x 50 are newer
  for (uint64_t hash = 60; hash < 100; hash++) CHECK(ghosts.take(hash, 2, 100));
  for (uint64_t hash = 100; hash < 140; hash++) ghosts.add(hash, 2);
  CHECK(ghosts.take(50, 2, 100));
  ghosts.add(140, 2);
  ghosts.add(141, 2);
  CHECK_FALSE(ghosts.take(51, 2, 100));
  CHECK(ghosts.take(52, 2, 100));
}

TEST_CASE("ghost table: what comes back can be counted for as long as it lasts", "[cache][ghosts]") {
  for (const uint64_t span : {1, 10, 100'000, 1 << 30}) {
    const auto charge = static_cast<uint32_t>(span > 100'000 ? 1 << 20 : 1);
    GhostTable ghosts({.ghosts_max = 100, .span = span, .taken_make_room = true});
    for (uint64_t hash = 0; hash < 200'000; hash++) {
      ghosts.add(hash, charge);
      REQUIRE(ghosts.take(hash, charge, span));
    }
    // A cache of which nearly all memory is lent has a span of nearly nothing.
    ghosts.add(0, charge);
    ghosts.add(1, charge);
    ghosts.take(0, charge, 0);
    ghosts.add(2, charge);
    CHECK(ghosts.take(2, charge, span));
    CHECK_FALSE(ghosts.take(2, charge, span));
  }
}

TEST_CASE("ghost table: as many ghosts as places lose few before their time", "[cache][ghosts]") {
  std::mt19937_64 random(test_seed());
  GhostTable ghosts({.ghosts_max = 10'000, .span = 9000});
  std::deque<uint64_t> queue;
  for (int i = 0; i < 30'000; i++) {
    queue.push_front(random());
    ghosts.add(queue.front(), 1);
  }
  size_t found = 0;
  for (size_t i = 0; i < 9000; i++) found += ghosts.take(queue[i], 1, 9000);
  CHECK(found > 7800);
  CHECK_FALSE(ghosts.take(queue[10'000], 1, 9000));
}

TEST_CASE("ghost table: charges in bytes age in the same way", "[cache][ghosts]") {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  GhostTable ghosts({.ghosts_max = 10'000, .span = kGiB});
  for (uint64_t hash = 0; hash < 100'000; hash++) ghosts.add(hash, 1 << 20);
  CHECK(ghosts.take(99'999, 1 << 20, kGiB));
  CHECK(ghosts.take(99'000, 1 << 20, kGiB));
  CHECK_FALSE(ghosts.take(98'900, 1 << 20, kGiB));
}

TEST_CASE("ghost lists: order, charges and lookups are those of plain lists", "[cache][ghosts]") {
  struct Plain {
    uint64_t hash;
    uint32_t charge;
  };
  std::mt19937_64 random(test_seed());
  GhostLists ghosts(500);
  std::deque<Plain> plain[2];  // newest first
  const auto charge_of = [&](int list) {
    uint64_t sum = 0;
    for (const Plain& ghost : plain[list]) sum += ghost.charge;
    return sum;
  };
  for (int step = 0; step < 20'000; step++) {
    const uint64_t hash = random() % 2000;
    const int list = static_cast<int>(random() % 2);
    const auto name = static_cast<GhostList>(list);
    std::optional<GhostList> expected;
    for (int in : {0, 1}) {
      const auto found = std::find_if(plain[in].begin(), plain[in].end(), [&](auto& g) { return g.hash == hash; });
      if (found == plain[in].end()) continue;
      expected = static_cast<GhostList>(in);
      if (step % 3 == 0) plain[in].erase(found);
    }
    REQUIRE(ghosts.find(hash) == expected);
    if (step % 3 == 0) {
      ghosts.forget(hash);
    } else if (!expected && plain[0].size() + plain[1].size() < 500) {
      const auto charge = static_cast<uint32_t>(1 + random() % 16);
      ghosts.push(name, hash, charge);
      plain[list].push_front({hash, charge});
    } else if (!plain[list].empty()) {
      ghosts.forget_oldest(name);
      plain[list].pop_back();
    }
    REQUIRE(ghosts.charge(name) == charge_of(list));
    REQUIRE(ghosts.empty(name) == plain[list].empty());
  }
}

TEST_CASE("ghost lists: when the pool is empty the longer list gives up its oldest", "[cache][ghosts]") {
  GhostLists ghosts(10);
  for (uint64_t hash = 0; hash < 7; hash++) ghosts.push(GhostList::frequent, hash, 1);
  for (uint64_t hash = 10; hash < 14; hash++) ghosts.push(GhostList::recent, hash, 1);
  CHECK_FALSE(ghosts.find(0));
  CHECK(ghosts.find(1) == GhostList::frequent);
  CHECK(ghosts.find(10) == GhostList::recent);
  CHECK(ghosts.charge(GhostList::frequent) == 6);
}

}  // namespace
}  // namespace sluice
