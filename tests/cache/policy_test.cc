#include "cache/policy.h"

#include <algorithm>
#include <chrono>
#include <list>
#include <random>
#include <set>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using std::chrono::milliseconds;

// One request of a cache of `blocks_max` one-page blocks whose id is also its name. True: a hit.
bool request(Policy& policy, std::set<BlockId>& cached, size_t blocks_max, BlockId block) {
  if (cached.contains(block)) {
    policy.touch(block);
    return true;
  }
  if (cached.size() == blocks_max) {
    const BlockId victim = policy.evict();
    REQUIRE(cached.erase(victim) == 1);
  }
  policy.insert(block, 1);
  cached.insert(block);
  return false;
}

class BruteForceLru {
 public:
  explicit BruteForceLru(size_t blocks_max) : blocks_max_(blocks_max) {}
  bool request(BlockId block) {
    const auto found = std::find(order_.begin(), order_.end(), block);
    const bool hit = found != order_.end();
    if (hit) order_.erase(found);
    if (order_.size() == blocks_max_) order_.pop_back();
    order_.push_front(block);
    return hit;
  }

 private:
  const size_t blocks_max_;
  std::list<BlockId> order_;
};

// 1000 blocks, the lower 500 of them young: read again a second after their first access.
std::unique_ptr<Policy> midpoint_with_young_half(ManualClock& clock) {
  auto policy = make_policy("midpoint", {.capacity = 1000, .blocks_max = 100'000, .clock = &clock});
  for (BlockId block = 0; block < 1000; block++) policy->insert(block, 1);
  clock.advance(milliseconds(1000));
  for (BlockId block = 0; block < 500; block++) policy->touch(block);
  return policy;
}

TEST_CASE("policy: names are those of --cache-policy, another name is no policy", "[cache][policy]") {
  const PolicyOptions options{.capacity = 16, .blocks_max = 16};
  CHECK(make_policy("lru", options)->name() == "lru");
  CHECK(make_policy("midpoint", options)->name() == "midpoint");
  CHECK(make_policy("LRU", options) == nullptr);
}

TEST_CASE("policy: unknown blocks are ignored and an empty policy has no victim", "[cache][policy]") {
  for (const char* name : {"lru", "midpoint"}) {
    auto policy = make_policy(name, {.capacity = 16, .blocks_max = 16});
    policy->touch(3);
    policy->charge(3, 2);
    policy->remove(3);
    policy->touch(kNoBlock);
    CHECK(policy->is_recent(3));
    CHECK(policy->is_recent(kNoBlock));
    CHECK(policy->evict() == kNoBlock);
  }
}

TEST_CASE("policy: every block that entered leaves once", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  for (const char* name : {"lru", "midpoint"}) {
    ManualClock clock;
    auto policy = make_policy(name, {.capacity = 4096, .blocks_max = 4096, .clock = &clock});
    std::set<BlockId> cached;
    for (int step = 0; step < 100'000; step++) {
      const auto block = static_cast<BlockId>(random() % 1500);
      const auto pages = static_cast<uint32_t>(1 + random() % kPagesPerBlock);
      switch (random() % 8) {
        case 0:
        case 1:
        case 2:
          if (cached.insert(block).second) policy->insert(block, pages);
          break;
        case 3:
        case 4: policy->touch(block); break;
        case 5: policy->charge(block, pages); break;
        case 6:
          policy->remove(block);
          cached.erase(block);
          break;
        case 7:
          if (random() % 2 == 0) {
            const BlockId victim = policy->evict();
            REQUIRE((cached.empty() ? victim == kNoBlock : cached.erase(victim) == 1));
          }
      }
      clock.advance(milliseconds(random() % 20));
    }
    while (!cached.empty()) REQUIRE(cached.erase(policy->evict()) == 1);
    CHECK(policy->evict() == kNoBlock);
  }
}

TEST_CASE("lru: hits and victims are those of a brute-force list, request by request", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  for (size_t blocks_max : {1, 2, 7, 100, 600}) {
    auto policy = make_policy("lru", {.capacity = blocks_max, .blocks_max = 4096});
    BruteForceLru reference(blocks_max);
    std::set<BlockId> cached;
    for (int step = 0; step < 20'000; step++) {
      const auto block = static_cast<BlockId>(std::min(random() % 1000, random() % 1000));
      REQUIRE(request(*policy, cached, blocks_max, block) == reference.request(block));
    }
  }
}

TEST_CASE("midpoint: is lru while it has fewer than 512 blocks", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  auto policy = make_policy("midpoint", {.capacity = 500, .blocks_max = 4096});
  BruteForceLru reference(500);
  std::set<BlockId> cached;
  for (int step = 0; step < 20'000; step++) {
    const auto block = static_cast<BlockId>(random() % 1000);
    REQUIRE(request(*policy, cached, 500, block) == reference.request(block));
  }
}

TEST_CASE("lru: a block is recent while it is in the freshest quarter of the pages", "[cache][policy]") {
  auto policy = make_policy("lru", {.capacity = 1600, .blocks_max = 100});
  for (BlockId block = 0; block < 100; block++) policy->insert(block, 16);
  CHECK(policy->is_recent(99));
  CHECK(policy->is_recent(75));
  CHECK_FALSE(policy->is_recent(74));
  CHECK_FALSE(policy->is_recent(0));
  policy->touch(0);
  CHECK(policy->is_recent(0));
  CHECK_FALSE(policy->is_recent(75));
}

TEST_CASE("midpoint: a scan of blocks never read again leaves the young ones alone", "[cache][policy]") {
  ManualClock clock;
  auto policy = midpoint_with_young_half(clock);
  std::set<BlockId> evicted;
  for (BlockId block = 1000; block < 51'000; block++) {
    evicted.insert(policy->evict());
    policy->insert(block, 1);
    policy->touch(block);  // the rest of a 64 KiB block that is read in pieces
    clock.advance(milliseconds(1));
  }
  for (BlockId block = 0; block < 500; block++) REQUIRE_FALSE(evicted.contains(block));

  auto lru = make_policy("lru", {.capacity = 1000, .blocks_max = 100'000});
  for (BlockId block = 0; block < 1000; block++) lru->insert(block, 1);
  for (BlockId block = 0; block < 500; block++) lru->touch(block);
  for (BlockId block = 1000; block < 2000; block++) {
    lru->insert(block, 1);
    lru->evict();
  }
  CHECK(lru->evict() >= 1000);  // what the scan would have done to them
}

TEST_CASE("midpoint: a block becomes young by an access a second after its first, not before", "[cache][policy]") {
  ManualClock clock;
  auto policy = midpoint_with_young_half(clock);
  policy->insert(2000, 1);
  policy->insert(2001, 1);
  clock.advance(milliseconds(999));
  CHECK(policy->is_recent(2000));
  policy->touch(2000);
  clock.advance(milliseconds(1));
  CHECK_FALSE(policy->is_recent(2001));
  policy->touch(2001);
  CHECK(policy->is_recent(2001));

  std::vector<BlockId> victims;
  for (int i = 0; i < 500; i++) victims.push_back(policy->evict());
  CHECK(std::count(victims.begin(), victims.end(), 2000) == 1);
  CHECK(std::count(victims.begin(), victims.end(), 2001) == 0);
}

TEST_CASE("midpoint: three eighths of the pages are old, however many blocks that is", "[cache][policy]") {
  ManualClock clock;
  auto policy = make_policy("midpoint", {.capacity = 100'000, .blocks_max = 4096, .clock = &clock});
  for (BlockId block = 0; block < 2000; block++) policy->insert(block, block % 2 == 0 ? 1 : 16);
  clock.advance(milliseconds(500));
  // Blocks that entered old less than a second ago are recent; young ones outside the freshest quarter are not. So a
  // block that enters now sits right behind the young ones, and 3/8 of the pages leave before a young block does.
  for (BlockId block = 0; block < 2000; block++) policy->charge(block, block % 2 == 0 ? 16 : 1);
  policy->insert(3000, 1);
  const uint64_t pages = 1000 * 16 + 1000 * 1 + 1;
  uint64_t before_midpoint = 0;
  // Evicting moves the cut too (5/8 of what goes is made good from young), so look at the order only.
  for (BlockId victim = policy->evict(); victim != 3000; victim = policy->evict()) {
    before_midpoint += victim % 2 == 0 ? 16 : 1;
  }
  CHECK(before_midpoint <= pages * 3 / 8 + 40);
  CHECK(before_midpoint + 40 >= pages * 3 / 8);
}

TEST_CASE("midpoint: a block that sank from young to old comes back at its next access", "[cache][policy]") {
  ManualClock clock;
  auto policy = make_policy("midpoint", {.capacity = 600, .blocks_max = 4096, .clock = &clock});
  // The first 511 enter young; reaching 512 makes 3/8 of them old, the longest unused first.
  for (BlockId block = 0; block < 600; block++) policy->insert(block, 1);
  CHECK_FALSE(policy->is_recent(0));
  policy->touch(0);
  CHECK(policy->is_recent(0));
  CHECK(policy->evict() == 1);
}

}  // namespace
}  // namespace sluice
