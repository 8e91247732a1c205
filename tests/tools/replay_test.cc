#include "tools/sim/replay.h"

#include <random>

#include "tests/support/catch.h"
#include "tests/support/reference_policies.h"
#include "tests/support/seed.h"
#include "tests/support/workload.h"

namespace sluice {
namespace {

Trace sized_trace(uint32_t requests, uint32_t size_max, std::mt19937_64& random) {
  Trace trace;
  trace.blocks = zipf_requests({.blocks = 500, .exponent = 0.7, .requests = requests}, random);
  trace.blocks_max = 500;
  for (uint32_t i = 0; i < requests; i++) trace.sizes.push_back(static_cast<uint32_t>(1 + random() % size_max));
  return trace;
}

// What LRU should say: an object keeps the size that it entered with.
ReplayCounts reference_lru(const Trace& trace, uint64_t capacity) {
  ReplayCounts counts;
  ReferenceLru lru;
  for (size_t i = 0; i < trace.blocks.size(); i++) {
    const BlockId block = trace.blocks[i];
    const uint32_t size = trace.sizes.empty() ? 1 : trace.sizes[i];
    counts.requests++;
    counts.requested_bytes += size;
    if (lru.holds(block)) {
      lru.touch(block);
      counts.hits++;
      continue;
    }
    counts.missed_bytes += size;
    if (size > capacity) continue;
    while (lru.charge() + size > capacity) lru.evict();
    lru.insert(block, size);
  }
  return counts;
}

TEST_CASE("replay: hits on a page within moments are told to the policy as in live traffic", "[tools][replay]") {
  // Block 0 is hit twice in a row, which is one hit, then it leaves s3fifo's small queue and is no ghost any more.
  Trace trace;
  trace.blocks_max = 1001;
  trace.blocks = {0, 0, 0};
  for (BlockId block = 1; block <= 1000; block++) trace.blocks.push_back(block);
  trace.blocks.push_back(0);
  trace.pages.assign(trace.blocks.size(), {.mask = 1, .op = TraceOp::read});
  trace.times_ms.assign(trace.blocks.size(), 0);
  const ReplayOptions options{.policy = &kS3FifoPolicy, .unit = CacheUnit::bytes, .capacity = 100 * kPageSize};
  CHECK(replay(trace, options).hits == 2);
}

TEST_CASE("replay: pages of one request do not push out each other", "[tools][replay]") {
  // With arc, which gives what is new next to nothing when all else is used often, and readahead no more than a share.
  Trace trace;
  trace.blocks_max = 2000;
  const auto ask = [&](BlockId first, BlockId end, TraceOp op) {
    for (BlockId block = first; block < end; block++) {
      trace.blocks.push_back(block);
      trace.pages.push_back({.mask = 1, .op = op, .goes_on = block + 1 < end});
      trace.times_ms.push_back(0);
    }
  };
  for (int times = 0; times < 3; times++) ask(0, 1000, TraceOp::read);
  ask(1000, 1250, TraceOp::readahead);
  ask(1000, 1250, TraceOp::read);
  const ReplayOptions options{.policy = &kArcPolicy, .unit = CacheUnit::bytes, .capacity = 1000 * kPageSize};
  CHECK(replay(trace, options).hits == 2 * 1000 + 250);
}

TEST_CASE("replay: lru counts what a brute-force list counts, in blocks and in bytes", "[tools][replay]") {
  std::mt19937_64 random(test_seed());
  Trace trace = sized_trace(5000, 100'000, random);
  for (const uint64_t capacity : {60'000, 1'000'000, 5'000'000}) {
    const ReplayCounts expected = reference_lru(trace, capacity);
    const ReplayCounts counts = replay(trace, {.policy = &kLruPolicy, .unit = CacheUnit::bytes, .capacity = capacity});
    CHECK(counts.requests == expected.requests);
    CHECK(counts.hits == expected.hits);
    CHECK(counts.requested_bytes == expected.requested_bytes);
    CHECK(counts.missed_bytes == expected.missed_bytes);
  }
  trace.sizes.clear();
  for (const uint64_t capacity : {1, 10, 100, 499, 1000}) {
    const ReplayCounts counts = replay(trace, {.policy = &kLruPolicy, .capacity = capacity});
    CHECK(counts.requests == 5000);
    CHECK(counts.hits == reference_lru(trace, capacity).hits);
  }
}

TEST_CASE("replay: a request of no bytes is not one, and a cache of less than an object holds none",
          "[tools][replay]") {
  Trace trace;
  trace.blocks = {0, 1, 0, 1, 0};
  trace.sizes = {0, 10, 4, 10, 4};
  trace.blocks_max = 2;
  const ReplayCounts counts = replay(trace, {.policy = &kLruPolicy, .unit = CacheUnit::bytes, .capacity = 9});
  CHECK(counts.requests == 4);
  CHECK(counts.hits == 1);
  CHECK(counts.missed_bytes == 24);
}

TEST_CASE("replay: objects of gigabytes are weighed in larger units", "[tools][replay]") {
  std::mt19937_64 random(test_seed());
  Trace trace = sized_trace(3000, UINT32_MAX, random);
  trace.sizes[7] = UINT32_MAX;
  for (const PolicyKind* kind : policy_kinds()) {
    INFO(kind->name);
    const ReplayCounts counts =
        replay(trace, {.policy = kind, .unit = CacheUnit::bytes, .capacity = uint64_t{200} << 30});
    CHECK(counts.requests == 3000);
    CHECK(counts.hits > 600);
    CHECK(counts.hits < 2500);
  }
}

TEST_CASE("replay: an object that never enters the cache does not make the others larger", "[tools][replay]") {
  std::mt19937_64 random(test_seed());
  Trace trace = sized_trace(20'000, 100, random);
  const ReplayOptions options{.policy = &kLruPolicy, .unit = CacheUnit::bytes, .capacity = 10'000};
  const uint64_t hits = replay(trace, options).hits;
  trace.blocks.push_back(trace.blocks_max++);
  trace.sizes.push_back(300 << 20);
  CHECK(replay(trace, options).hits == hits);
}

TEST_CASE("replay: an object of the cache's own size fits, also in larger units", "[tools][replay]") {
  Trace trace;
  trace.blocks.assign(10, 0);
  trace.sizes.assign(10, UINT32_MAX);
  trace.blocks_max = 1;
  CHECK(replay(trace, {.policy = &kLruPolicy, .unit = CacheUnit::bytes, .capacity = UINT32_MAX}).hits == 9);
  CHECK(replay(trace, {.policy = &kLruPolicy, .unit = CacheUnit::bytes, .capacity = UINT32_MAX - 1}).hits == 0);
}

TEST_CASE("replay: what fits is read once, by any policy", "[tools][replay]") {
  std::mt19937_64 random(test_seed());
  Trace trace;
  trace.blocks = mixed_requests(random);
  trace.blocks_max = 20'000;
  std::vector<bool> seen(trace.blocks_max);
  size_t distinct = 0;
  for (const BlockId block : trace.blocks) {
    distinct += !seen[block];
    seen[block] = true;
  }
  for (const PolicyKind* kind : policy_kinds()) {
    INFO(kind->name);
    const ReplayCounts counts = replay(trace, {.policy = kind, .capacity = distinct});
    CHECK(counts.requests - counts.hits == distinct);
  }
}

TEST_CASE("replay: midpoint's second is the trace's, or a thousand requests", "[tools][replay]") {
  // 600 blocks again and again, and as many that come once: young blocks are those that come back after a second.
  Trace trace;
  for (uint32_t round = 0; round < 20; round++) {
    for (uint32_t i = 0; i < 600; i++) {
      trace.blocks.push_back(i);
      trace.blocks.push_back(600 + round * 600 + i);
    }
  }
  trace.blocks_max = 600 * 21;
  const ReplayOptions options{.policy = &kMidpointPolicy, .capacity = 1500};
  const uint64_t hits = replay(trace, options).hits;
  CHECK(hits == replay(trace, options).hits);
  trace.times_ms.assign(trace.blocks.size(), 5);  // all in one moment: nothing becomes young
  CHECK(replay(trace, options).hits < hits);
}

}  // namespace
}  // namespace sluice
