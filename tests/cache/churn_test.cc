// What is left of the budget after a long life: files of all sizes come and go, some of their pages are held and lent
// for a while. A campaign: SLUICE_CHURN=100000000 test_cache "[churn]", in allocations.
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cache/block_cache.h"
#include "cache/instant_source.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr uint64_t kSize = uint64_t{256} << 20;  // the default

// As they lie on file servers: most files are small, most bytes are in large ones. The sizes drift with time, so that
// the holes that one age leaves are to be filled by another.
uint64_t file_pages(std::mt19937_64& random, uint64_t step) {
  const uint64_t age = step / 100'000 % 3;
  const uint64_t dice = random() % 100;
  if (dice < 60 + 10 * age) return 1 + random() % 4;
  if (dice < 95) return 1 + random() % (age == 1 ? 20 : 60);
  return 1 + random() % 512;
}

TEST_CASE("churn: 95 % of the budget holds data whatever came and went", "[cache][churn]") {
  const char* given = std::getenv("SLUICE_CHURN");
  const uint64_t allocations = given != nullptr ? std::strtoull(given, nullptr, 0) : 1'000'000;
  std::mt19937_64 random(test_seed());
  const std::string policy = GENERATE("s3fifo", "lru", "midpoint", "arc");
  CAPTURE(policy);
  auto cache = *BlockCache::create(
      {.size_bytes = kSize, .policy = policy, .large_file_bytes = UINT64_MAX});  // none, but room for such
  const auto source = std::make_shared<InstantSource>();
  const std::shared_ptr<CachedFile> file = cache->add_file(1);
  std::deque<PageRefs> held;  // by clients
  double least = 1;
  uint64_t filled_at = 0, evictions = 0;
  const auto made = [&] { return cache->stats().arena.frames_given; };
  for (uint64_t step = 0; made() < allocations; step++) {
    // Any place, mostly never read before; now and then one that may be there.
    const uint64_t pages = file_pages(random, step);
    const uint64_t first = random() % (random() % 4 == 0 ? uint64_t{1} << 18 : uint64_t{1} << 36) * kPagesPerBlock;
    PageRefs got;
    cache->read(
        {.file = file.get(), .generation = 1, .size = uint64_t{1} << 60, .pages = {first, pages}, .source = source},
        [&](Result<PageRefs> result) { got = std::move(*result); });
    REQUIRE(got.pages() == pages);
    // Memory was short: what is free now, nobody had a use for. What a client still holds is data, cached or no more.
    const CacheStats stats = cache->stats();
    if (filled_at == 0 && stats.evictions > 10'000) filled_at = made();
    if (filled_at > 0 && stats.evictions > evictions) {
      const uint64_t used = stats.arena.frames_max - stats.arena.frames_free - stats.arena.frames_cooling;
      const double share = static_cast<double>(used * kPageSize) / static_cast<double>(stats.size_bytes);
      least = std::min(least, share);
    }
    evictions = stats.evictions;
    if (random() % 50 == 0) {
      if (random() % 4 == 0) got.mark_lent(0, pages * kPageSize);
      held.push_back(std::move(got));
    }
    if (held.size() > 50) held.pop_front();
    if (random() % 200 == 0) cache->drop(*file, 1, {first, 1 + random() % pages});
  }
  const CacheStats stats = cache->stats();
  WARN(policy << ": " << stats.arena.frames_given << " frames in runs of "
              << static_cast<double>(stats.arena.frames_given) / static_cast<double>(stats.arena.runs_given)
              << "; at worst " << 100 * least << " % held data; " << stats.arena.frames_replaced << " frames replaced");
  REQUIRE(filled_at > 0);
  CHECK(least >= 0.95);
}

}  // namespace
}  // namespace sluice
