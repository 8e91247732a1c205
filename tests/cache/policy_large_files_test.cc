#include "cache/policy_large_files.h"

#include <map>
#include <random>
#include <set>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr BlockId kFirstLarge = 10'000;
constexpr uint64_t kCapacity = 1000;
constexpr uint64_t kShare = 60;

// Blocks from kFirstLarge on belong to a large file.
struct Owner final : BlockOwner {
  uint64_t hash_of(BlockId block) const override { return block; }
  bool was_used(BlockId block) const override { return !read_ahead.contains(block); }
  bool is_large(BlockId block) const override { return block >= kFirstLarge; }
  std::set<BlockId> read_ahead;
};

// A cache without bytes, that evicts at once what the policy will not keep.
struct Fixture {
  explicit Fixture(std::string_view inner = "s3fifo", uint64_t capacity = kCapacity) : capacity(capacity) {
    const PolicyOptions plain{.capacity = capacity, .blocks_max = 100'000, .owner = &owner};
    policy = guard_against_large_files(
        make_policy(inner, plain),
        {.capacity = capacity, .blocks_max = 100'000, .owner = &owner, .share_of = [](uint64_t) { return kShare; }});
  }
  bool request(BlockId block, uint32_t charge = 1) {
    if (held.contains(block)) {
      if (!policy->is_recent(block)) policy->touch(block);
      return true;
    }
    while (charges() + charge > capacity) evict();
    policy->insert(block, charge);
    held[block] = charge;
    while (policy->overfull()) evict();
    return false;
  }
  BlockId evict() {
    const BlockId victim = policy->evict();
    REQUIRE(held.erase(victim) == 1);
    return victim;
  }
  void recharge(BlockId block, uint32_t charge) {
    policy->charge(block, charge);
    if (held.contains(block)) held[block] = charge;
    while (policy->overfull() || charges() > capacity) evict();
  }
  void remove(BlockId block) {
    policy->remove(block);
    held.erase(block);
  }
  uint64_t charges(BlockId from = 0) const {
    uint64_t sum = 0;
    for (auto block = held.lower_bound(from); block != held.end(); ++block) sum += block->second;
    return sum;
  }

  const uint64_t capacity;
  Owner owner;
  std::unique_ptr<Policy> policy;
  std::map<BlockId, uint32_t> held;
};

TEST_CASE("large files: a stream holds its share and no more, with free memory all around", "[cache][policy]") {
  Fixture f;
  for (BlockId block = kFirstLarge; block < kFirstLarge + 5000; block++) {
    CHECK_FALSE(f.request(block));
    REQUIRE(f.charges() <= kShare);
  }
  CHECK(f.charges() == kShare);
}

TEST_CASE("large files: whatever the policy, streams push nothing out", "[cache][policy]") {
  Fixture f(GENERATE("lru", "midpoint", "s3fifo", "arc"));
  for (BlockId block = 0; block < 900; block++) f.request(block);
  for (int round = 0; round < 20; round++) {
    for (BlockId block = 0; block < 1000; block++) f.request(kFirstLarge + round * 1000 + block);
  }
  for (BlockId block = 0; block < 900; block++) REQUIRE(f.held.contains(block));
}

TEST_CASE("large files: what is read again soon becomes resident", "[cache][policy]") {
  Fixture f;
  const BlockId part = kFirstLarge + 100;
  for (int round = 0; round < 2; round++) {
    for (BlockId block = part; block < part + 150; block++) f.request(block);  // more than the share
  }
  CHECK(f.charges() > 140);
  for (BlockId block = kFirstLarge + 5000; block < kFirstLarge + 7000; block++) f.request(block);
  uint32_t hits = 0;
  for (BlockId block = part; block < part + 150; block++) hits += f.request(block);
  CHECK(hits >= 85);  // those that had left the queue when they were read again
}

TEST_CASE("large files: a file several times the cache leaves no trace, however often it is read", "[cache][policy]") {
  Fixture f;
  for (int round = 0; round < 4; round++) {
    for (BlockId block = kFirstLarge; block < kFirstLarge + 5000; block++) f.request(block);
  }
  CHECK(f.charges() <= kShare + 20);  // a full set of ghosts may mistake a few
}

TEST_CASE("large files: two readers a moment apart are one stream", "[cache][policy]") {
  Fixture f;
  for (BlockId block = kFirstLarge + 20; block < kFirstLarge + 3000; block++) {
    f.request(block);
    f.request(block - 20);
  }
  CHECK(f.charges() == kShare);
}

TEST_CASE("large files: what a finished stream left goes before the rest", "[cache][policy]") {
  Fixture f("lru");
  for (BlockId block = kFirstLarge; block < kFirstLarge + 200; block++) f.request(block);
  CHECK(f.charges(kFirstLarge) == kShare);
  for (BlockId block = 0; block < kCapacity; block++) f.request(block);
  CHECK(f.charges(kFirstLarge) == 0);
  CHECK(f.charges() == kCapacity);
}

TEST_CASE("large files: what was read ahead in vain leaves no ghost", "[cache][policy]") {
  Fixture f;
  for (BlockId block = kFirstLarge; block < kFirstLarge + 200; block++) {
    f.owner.read_ahead.insert(block);
    f.request(block);
  }
  for (BlockId block = kFirstLarge; block < kFirstLarge + 100; block++) f.request(block);
  CHECK(f.charges() == kShare);
}

TEST_CASE("large files: the streams' share can be evicted to the last block", "[cache][policy]") {
  Fixture f;
  for (BlockId block = kFirstLarge; block < kFirstLarge + 50; block++) f.request(block);
  for (int i = 0; i < 50; i++) f.evict();
  CHECK(f.policy->evict() == kNoBlock);
}

TEST_CASE("large files: random inserts, hits, changes and removals keep the books", "[cache][policy][random]") {
  Fixture f(GENERATE("lru", "midpoint", "s3fifo", "arc"), 3000);
  std::mt19937_64 random(test_seed());
  uint64_t streamed_max = 0;
  for (int step = 0; step < 60'000; step++) {
    const BlockId large = kFirstLarge + static_cast<BlockId>(step / 4 % 20'000);
    const BlockId block = random() % 2 != 0 ? static_cast<BlockId>(random() % 2000) : large - random() % 40;
    const auto charge = static_cast<uint32_t>(1 + random() % 16);
    switch (random() % 8) {
      case 0: f.remove(block); break;
      case 1: f.recharge(block, charge); break;
      default: f.request(block, charge);
    }
    REQUIRE(f.charges() <= 3000);
    if (step % 1000 == 0) streamed_max = std::max(streamed_max, f.charges(kFirstLarge));
  }
  CHECK(streamed_max > 0);
  while (!f.held.empty()) f.evict();
  CHECK(f.policy->evict() == kNoBlock);
}

TEST_CASE("large files: the streams' share follows the cache's size, and blocks may change their ids",
          "[cache][policy]") {
  Owner owner;
  auto policy = guard_against_large_files(
      make_policy("lru", {.capacity = 1600, .blocks_max = 100'000, .owner = &owner}),
      {.capacity = 1600, .blocks_max = 100'000, .owner = &owner, .share_of = [](uint64_t all) { return all / 16; }});
  for (BlockId block = kFirstLarge; block < kFirstLarge + 100; block++) policy->insert(block, 1);
  CHECK_FALSE(policy->overfull());
  policy->move(kFirstLarge, kFirstLarge + 500);
  policy->insert(7, 1);
  policy->move(7, 8);
  policy->resize(800, 100'000);
  for (uint32_t evicted = 0; evicted < 50; evicted++) {
    CHECK(policy->overfull());
    CHECK(policy->evict() == (evicted == 0 ? kFirstLarge + 500 : kFirstLarge + evicted));
  }
  CHECK_FALSE(policy->overfull());
  policy->resize(1600, 100'000);
  for (BlockId block = kFirstLarge; block < kFirstLarge + 50; block++) policy->insert(block, 1);
  CHECK_FALSE(policy->overfull());
  policy->remove(8);
  CHECK(policy->is_recent(7));  // neither is known
}

}  // namespace
}  // namespace sluice
