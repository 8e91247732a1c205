#include "fs/store/range_lock.h"

#include <map>
#include <random>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

TEST_CASE("range lock: disjoint ranges hold side by side, overlapping ones wait their turn", "[store]") {
  RangeLock lock;
  std::vector<int> order;
  RangeLock::Ticket first = 0, second = 0;
  lock.acquire({0, 10}, [&](auto ticket) { first = ticket, order.push_back(1); });
  lock.acquire({10, 10}, [&](auto ticket) { second = ticket, order.push_back(2); });
  lock.acquire({5, 10}, [&](auto ticket) { order.push_back(3), lock.release(ticket); });
  CHECK(order == std::vector<int>{1, 2});
  lock.release(first);
  CHECK(order == std::vector<int>{1, 2});
  lock.release(second);
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("range lock: a late small claim does not overtake an earlier one that it overlaps", "[store]") {
  RangeLock lock;
  std::vector<int> order;
  RangeLock::Ticket held = 0;
  lock.acquire({0, 1}, [&](auto ticket) { held = ticket; });
  lock.acquire({0, UINT64_MAX}, [&](auto ticket) { order.push_back(1), lock.release(ticket); });
  lock.acquire({100, 1}, [&](auto ticket) { order.push_back(2), lock.release(ticket); });
  CHECK(order.empty());
  lock.release(held);
  CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("range lock: random claims never overlap while held, and all are granted", "[store][random]") {
  std::mt19937_64 random(test_seed());
  RangeLock lock;
  std::map<RangeLock::Ticket, PageRange> held;
  int granted = 0;
  constexpr int kClaims = 3000;
  for (int i = 0; i < kClaims; i++) {
    const PageRange range{random() % 100, 1 + random() % 20};
    lock.acquire(range, [&, range](auto ticket) {
      for (const auto& [other, taken] : held) REQUIRE_FALSE(taken.overlaps(range));
      held[ticket] = range;
      granted++;
    });
    while (held.size() > random() % 8) {
      const auto ticket = std::next(held.begin(), static_cast<long>(random() % held.size()))->first;
      held.erase(ticket);
      lock.release(ticket);
    }
  }
  while (!held.empty()) {
    const auto ticket = held.begin()->first;
    held.erase(ticket);
    lock.release(ticket);
  }
  CHECK(granted == kClaims);
}

}  // namespace
}  // namespace sluice
