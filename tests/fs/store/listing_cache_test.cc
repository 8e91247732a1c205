#include "fs/store/listing_cache.h"

#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

namespace sluice {
namespace {

Listing listing_of(size_t bytes) {
  return std::make_shared<const std::string>(bytes, 'x');
}

TEST_CASE("listing cache: a listing is good for the stamp it was learnt under, and for no other", "[store][metadata]") {
  ManualClock clock;
  ListingCache cache(100'000, &clock);
  const Stamp stamp{.ino = 7, .mtime_ns = 5};
  cache.insert(1, stamp, listing_of(100));
  CHECK(cache.find(1, stamp) != nullptr);
  CHECK(cache.find(2, stamp) == nullptr);
  Stamp later = stamp;
  later.mtime_ns = 6;
  CHECK(cache.find(1, later) == nullptr);
  CHECK(cache.find(1, stamp) == nullptr);  // it will not come back
  CHECK(cache.stats().items == 0);
  CHECK(cache.stats().bytes == 0);
  CHECK(cache.stats().hits == 1);
  CHECK(cache.stats().misses == 3);
}

TEST_CASE("listing cache: what was used longest ago goes first, and what is too large does not come",
          "[store][metadata]") {
  ManualClock clock;
  ListingCache cache(10'000, &clock);
  const Stamp stamp{.ino = 7};
  for (const InodeNumber directory : {1, 2, 3}) cache.insert(directory, stamp, listing_of(2'500));
  CHECK(cache.find(1, stamp) != nullptr);
  cache.insert(4, stamp, listing_of(2'500));
  CHECK(cache.find(2, stamp) == nullptr);
  CHECK(cache.find(1, stamp) != nullptr);
  cache.insert(5, stamp, listing_of(cache.value_bytes_max()));
  CHECK(cache.find(5, stamp) == nullptr);
  CHECK(cache.stats().bytes <= 10'000);
  cache.insert(1, stamp, listing_of(10));
  CHECK(cache.find(1, stamp)->size() == 10);
  cache.clear();
  CHECK(cache.stats().bytes == 0);
}

TEST_CASE("listing cache: what nobody asks for is dropped", "[store][metadata]") {
  ManualClock clock;
  ListingCache cache(10'000, &clock);
  cache.insert(1, {}, listing_of(10));
  cache.insert(2, {}, listing_of(10));
  clock.advance(ListingCache::kIdleMax - std::chrono::seconds(1));
  CHECK(cache.find(1, {}) != nullptr);
  clock.advance(std::chrono::seconds(1));
  cache.expire();
  CHECK(cache.find(1, {}) != nullptr);
  CHECK(cache.find(2, {}) == nullptr);
}

}  // namespace
}  // namespace sluice
