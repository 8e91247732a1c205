#include "cache/policy.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <ranges>
#include <set>
#include <vector>

#include "cache/index.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"
#include "tests/support/policy_cache.h"
#include "tests/support/reference_policies.h"
#include "tests/support/seed.h"
#include "tests/support/workload.h"

namespace sluice {
namespace {

using std::chrono::milliseconds;

// Requests, drops and changes of charge at random, the policy beside its reference: the same blocks stay and go.
template <typename Reference>
void compare_with(Reference reference, const PolicyKind& kind, uint64_t capacity, uint32_t charge_max,
                  const Requests& requests, std::mt19937_64& random) {
  auto policy = kind.make({.capacity = capacity, .blocks_max = 20'000});
  const auto evict = [&] { REQUIRE(policy->evict() == reference.evict()); };
  for (const BlockId block : requests) {
    const auto charge = static_cast<uint32_t>(1 + random() % charge_max);
    const bool unusual = charge_max > 1 && random() % 16 == 0;
    if (!reference.holds(block)) {
      while (reference.charge() + charge > capacity) evict();
      policy->insert(block, charge);
      reference.insert(block, charge);
    } else if (!unusual) {
      policy->touch(block);
      reference.touch(block);
    } else if (random() % 2 == 0) {
      policy->remove(block);
      reference.remove(block);
    } else {
      policy->charge(block, charge);
      reference.recharge(block, charge);
      while (reference.charge() > capacity) evict();
    }
  }
  while (reference.charge() > 0) evict();
  CHECK(policy->evict() == kNoBlock);
}

double hit_ratio(PolicyCache cache, const Requests& requests) {
  size_t hits = 0;
  for (const BlockId block : requests) hits += cache.request(block);
  return static_cast<double>(hits) / static_cast<double>(requests.size());
}
double hit_ratio(const PolicyKind& kind, uint64_t capacity, const Requests& requests) {
  return hit_ratio({kind.make({.capacity = capacity, .blocks_max = 20'000}), capacity}, requests);
}

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
  CHECK(make_policy("s3fifo", options)->name() == "s3fifo");
  CHECK(make_policy("arc", options)->name() == "arc");
  CHECK(make_policy("LRU", options) == nullptr);
}

TEST_CASE("policy: unknown blocks are ignored and an empty policy has no victim", "[cache][policy]") {
  for (const PolicyKind* kind : policy_kinds()) {
    auto policy = kind->make({.capacity = 16, .blocks_max = 16});
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
  for (const PolicyKind* kind : policy_kinds()) {
    INFO(kind->name);
    ManualClock clock;
    auto policy = kind->make({.capacity = 4096, .blocks_max = 4096, .clock = &clock});
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

TEST_CASE("policy: with all kinds of requests the charges of what is held are never exceeded", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  const Requests requests = mixed_requests(random);
  for (const PolicyKind* kind : policy_kinds()) {
    INFO(kind->name);
    ManualClock clock;
    PolicyCache cache(kind->make({.capacity = 4000, .blocks_max = 20'000, .clock = &clock}), 4000);
    for (const BlockId block : requests) {
      const auto charge = static_cast<uint32_t>(1 + random() % kPagesPerBlock);
      switch (random() % 32) {
        case 0: cache.remove(block); break;
        case 1: cache.recharge(block, charge); break;
        default: cache.request(block, charge);
      }
      REQUIRE(cache.charge() <= 4000);
      clock.advance(milliseconds(1));
    }
    while (cache.charge() > 0) cache.evict();
    CHECK(cache.policy().evict() == kNoBlock);
  }
}

TEST_CASE("policy: charges of objects in bytes add up", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  constexpr uint64_t capacity = uint64_t{20} * kChargeMax;
  for (const PolicyKind* kind : policy_kinds()) {
    INFO(kind->name);
    ManualClock clock;
    PolicyCache cache(kind->make({.capacity = capacity, .blocks_max = 1000, .clock = &clock}), capacity);
    for (int i = 0; i < 10'000; i++) {
      const auto charge = static_cast<uint32_t>(1 + random() % kChargeMax);
      cache.request(static_cast<BlockId>(random() % 1000), i % 100 == 0 ? kChargeMax : charge);
    }
    CHECK(cache.charge() > capacity - kChargeMax);
  }
}

TEST_CASE("policy: a block takes at most 116 bytes in the index and with its policy", "[cache][policy]") {
  constexpr uint32_t blocks = 1'000'000;
  for (const PolicyKind* kind : policy_kinds()) {
    INFO(kind->name);
    const uint64_t bytes = Index::memory_bytes(blocks) + uint64_t{blocks} * kind->bytes_per_block;
    CHECK(bytes <= uint64_t{blocks} * 116 + 64 * sizeof(BlockId));
    // A sixteenth more of them than blocks for ARC, which has to find and to order its ghosts.
    CHECK(kind->ghost_bytes == (kind == &kS3FifoPolicy ? 8 : kind == &kArcPolicy ? 26 : 0));
  }
}

// Blocks whose ids change, known by names that do not.
struct Renamed final : BlockOwner {
  uint64_t hash_of(BlockId block) const override { return names.at(block); }
  bool was_used(BlockId) const override { return true; }
  BlockId free_id(std::mt19937_64& random, BlockId ids_max) const {
    BlockId id;
    do {
      id = static_cast<BlockId>(random() % ids_max);
    } while (names.contains(id));
    return id;
  }
  std::map<BlockId, BlockId> names;  // by id
};

TEST_CASE("policy: a block that gets another id keeps its place, in a cache of another size too", "[cache][policy]") {
  constexpr BlockId ids_max = 4096;
  std::mt19937_64 random(test_seed());
  for (const PolicyKind* kind : policy_kinds()) {
    INFO(kind->name);
    ManualClock clock;
    Renamed owner;
    auto still = kind->make({.capacity = 6000, .blocks_max = ids_max, .clock = &clock});
    auto moving = kind->make({.capacity = 6000, .blocks_max = ids_max, .owner = &owner, .clock = &clock});
    std::map<BlockId, BlockId> ids;  // by name
    for (int step = 0; step < 50'000; step++) {
      const auto name = static_cast<BlockId>(random() % 1500);
      const auto charge = static_cast<uint32_t>(1 + random() % kPagesPerBlock);
      if (!ids.contains(name)) {
        const BlockId id = ids[name] = owner.free_id(random, ids_max);
        owner.names[id] = name;
        still->insert(name, charge);
        moving->insert(id, charge);
      } else if (random() % 4 == 0) {
        const BlockId id = owner.free_id(random, ids_max);
        owner.names[id] = name;
        owner.names.erase(ids[name]);
        moving->move(std::exchange(ids[name], id), id);
      } else if (random() % 2 == 0) {
        still->touch(name);
        moving->touch(ids[name]);
      } else {
        still->charge(name, charge);
        moving->charge(ids[name], charge);
      }
      clock.advance(milliseconds(random() % 20));
      if (random() % 5000 == 0) {
        const uint64_t capacity = 1000 + random() % 8000;
        still->resize(capacity, ids_max);
        moving->resize(capacity, ids_max);
      }
      if (random() % 4 != 0) continue;
      const BlockId victim = still->evict();
      const BlockId id = moving->evict();
      REQUIRE(owner.names.at(id) == victim);
      ids.erase(victim);
      owner.names.erase(id);
    }
    CHECK(ids.size() > 100);
  }
}

TEST_CASE("lru: victims are those of a brute-force list, request by request", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  const Requests requests = mixed_requests(random);
  for (const uint64_t capacity : {1, 2, 7, 100, 600}) {
    compare_with(ReferenceLru(), kLruPolicy, capacity, 1, requests, random);
  }
  compare_with(ReferenceLru(), kLruPolicy, 3000, kPagesPerBlock, requests, random);
}

TEST_CASE("midpoint: is lru while it has fewer than 512 blocks", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  compare_with(ReferenceLru(), kMidpointPolicy, 500, 1, mixed_requests(random), random);
}

TEST_CASE("arc: victims are those of brute-force lists, request by request", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  const Requests requests = mixed_requests(random);
  for (const uint64_t capacity : {1, 2, 7, 100, 600}) {
    compare_with(ReferenceArc(capacity), kArcPolicy, capacity, 1, requests, random);
  }
  compare_with(ReferenceArc(3000), kArcPolicy, 3000, kPagesPerBlock, requests, random);
}

TEST_CASE("arc: choosing the victim before the block is known costs next to nothing", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  const Requests requests = mixed_requests(random);
  for (const size_t capacity : {100, 600, 2000}) {
    PaperArc paper(capacity);
    size_t hits = 0;
    for (const BlockId block : requests) hits += paper.request(block);
    const double ratio = static_cast<double>(hits) / static_cast<double>(requests.size());
    INFO(capacity);
    CHECK(std::abs(hit_ratio(kArcPolicy, capacity, requests) - ratio) < 0.005);
  }
}

TEST_CASE("s3fifo: hits as often as the simulator of its authors", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  // Of a set that moves on, most of what comes back are ghosts.
  const Requests drift = drift_requests(400, 6, 40'000, random);
  const Requests mixed = mixed_requests(random);
  for (const Requests* requests : {&drift, &mixed}) {
    for (const size_t capacity : {50, 100, 200, 600}) {
      AuthorsS3Fifo authors(capacity);
      size_t hits = 0;
      for (const BlockId block : *requests) hits += authors.request(block);
      const double ratio = static_cast<double>(hits) / static_cast<double>(requests->size());
      INFO(capacity << ", drift " << (requests == &drift) << ", theirs " << ratio);
      CHECK(std::abs(hit_ratio(kS3FifoPolicy, capacity, *requests) - ratio) < 0.005);
    }
  }
}

TEST_CASE("s3fifo, arc: a scan of blocks never read again leaves what is read often alone", "[cache][policy]") {
  std::mt19937_64 random(test_seed());
  const auto scan_hit_ratio = [&](const PolicyKind& kind, bool with_scan) {
    PolicyCache cache(kind.make({.capacity = 1000, .blocks_max = 200'000}), 1000);
    const Requests hot = zipf_requests({.blocks = 800, .exponent = 0.5, .requests = 50'000}, random);
    for (const BlockId block : hot) cache.request(block);
    size_t hits = 0;
    for (uint32_t i = 0; i < hot.size(); i++) {
      hits += cache.request(hot[i]);
      if (with_scan) cache.request(1000 + i);
    }
    return static_cast<double>(hits) / static_cast<double>(hot.size());
  };
  for (const PolicyKind* kind : {&kS3FifoPolicy, &kArcPolicy}) {
    INFO(kind->name);
    CHECK(scan_hit_ratio(*kind, true) > scan_hit_ratio(*kind, false) - 0.03);
  }
  CHECK(scan_hit_ratio(kLruPolicy, true) < 0.75);  // what the scan would have done to them
}

TEST_CASE("arc: recent grows when what it evicted is missed, and shrinks when frequent's is", "[cache][policy]") {
  PolicyCache cache(make_policy("arc", {.capacity = 100, .blocks_max = 1000}), 100);
  for (BlockId block = 0; block < 100; block++) cache.request(block);
  for (BlockId block = 0; block < 50; block++) cache.request(block);     // 50 frequent
  for (BlockId block = 100; block < 120; block++) cache.request(block);  // 50..69 become ghosts of recent
  for (BlockId block = 50; block < 70; block++) cache.request(block);    // missed: the target is 20
  for (BlockId block = 200; block < 300; block++) cache.request(block);  // a scan
  size_t of_scan = 0;
  for (BlockId block = 200; block < 300; block++) of_scan += cache.holds(block);
  CHECK(of_scan >= 20);
  CHECK(of_scan <= 50);
}

TEST_CASE("s3fifo: two hits in the small queue lead to the main one, one hit does not", "[cache][policy]") {
  PolicyCache cache(make_policy("s3fifo", {.capacity = 100, .blocks_max = 1000}), 100);
  for (BlockId block = 0; block < 100; block++) cache.request(block);
  cache.request(0);
  cache.request(1);
  cache.request(1);
  for (BlockId block = 100; block < 300; block++) cache.request(block);
  CHECK_FALSE(cache.holds(0));
  CHECK(cache.holds(1));
}

TEST_CASE("s3fifo: a block that is missed again soon enters the main queue, and leaves it last", "[cache][policy]") {
  PolicyCache cache(make_policy("s3fifo", {.capacity = 100, .blocks_max = 10'000}), 100);
  for (BlockId block = 0; block < 150; block++) cache.request(block);
  REQUIRE_FALSE(cache.holds(49));
  cache.request(49);  // evicted last
  for (BlockId block = 200; block < 1200; block++) cache.request(block);
  CHECK(cache.holds(49));
  REQUIRE_FALSE(cache.holds(1000));
  cache.request(1000);  // evicted more than 90 evictions ago
  for (BlockId block = 2000; block < 3000; block++) cache.request(block);
  CHECK_FALSE(cache.holds(1000));
}

TEST_CASE("s3fifo: a block that was dropped is new when it comes back", "[cache][policy]") {
  PolicyCache cache(make_policy("s3fifo", {.capacity = 100, .blocks_max = 10'000}), 100);
  for (BlockId block = 0; block < 100; block++) cache.request(block);
  cache.remove(99);
  cache.request(99);
  for (BlockId block = 200; block < 400; block++) cache.request(block);
  CHECK_FALSE(cache.holds(99));
}

TEST_CASE("s3fifo, arc: what was read ahead in vain leaves no ghost", "[cache][policy]") {
  class Owner final : public BlockOwner {
   public:
    uint64_t hash_of(BlockId block) const override { return block; }
    bool was_used(BlockId block) const override { return block % 2 == 0; }
  };
  const Owner owner;
  for (const PolicyKind* kind : {&kS3FifoPolicy, &kArcPolicy}) {
    INFO(kind->name);
    PolicyCache cache(kind->make({.capacity = 100, .blocks_max = 10'000, .owner = &owner}), 100);
    for (BlockId block = 0; block < 100; block++) cache.request(block);
    for (BlockId block = 20; block < 40; block++) cache.request(block);  // frequent, by ARC
    for (BlockId block = 100; block < 106; block++) cache.request(block);
    for (BlockId block = 4; block < 6; block++) cache.request(block);  // 4 comes back from its ghost, 5 is new
    for (BlockId block = 1000; block < 1200; block++) cache.request(block);
    CHECK(cache.holds(4));
    CHECK_FALSE(cache.holds(5));
  }
}

TEST_CASE("s3fifo, arc: what was read ahead has time to be asked for", "[cache][policy]") {
  class Owner final : public BlockOwner {
   public:
    uint64_t hash_of(BlockId block) const override { return block; }
    bool was_used(BlockId block) const override { return block < 1000; }
  };
  const Owner owner;
  for (const PolicyKind* kind : {&kS3FifoPolicy, &kArcPolicy}) {
    INFO(kind->name);
    PolicyCache cache(kind->make({.capacity = 1000, .blocks_max = 10'000, .owner = &owner}), 1000);
    // All is used often, so that ARC gives what is used once nothing at all.
    for (int times = 0; times < 3; times++) {
      for (BlockId block = 0; block < 1000; block++) cache.request(block);
    }
    for (BlockId block = 1000; block < 1060; block++) cache.request(block);
    for (BlockId block = 1000; block < 1060; block++) CHECK(cache.holds(block));
    // But what is read ahead does not take more and more.
    for (BlockId block = 1060; block < 2000; block++) cache.request(block);
    const auto is_held = [&](BlockId block) { return cache.holds(block); };
    const auto blocks = std::views::iota(BlockId{0}, BlockId{1000});
    CHECK(std::ranges::count_if(blocks, is_held) > 850);
  }
}

TEST_CASE("s3fifo: hits on the same block that follow one another are one hit in live traffic", "[cache][policy]") {
  auto policy = make_policy("s3fifo", {.capacity = 100, .blocks_max = 100});
  for (BlockId block = 0; block < 100; block++) policy->insert(block, 1);
  CHECK_FALSE(policy->is_recent(5));
  policy->touch(5);
  CHECK(policy->is_recent(5));
  for (BlockId block = 10; block < 26; block++) policy->touch(block);
  CHECK_FALSE(policy->is_recent(5));
  policy->touch(5);
  policy->touch(5);
  for (BlockId block = 10; block < 26; block++) policy->touch(block);
  CHECK(policy->is_recent(5));  // three hits are all that counts
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
