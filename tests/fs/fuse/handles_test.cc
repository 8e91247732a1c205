#include "fs/fuse/handles.h"

#include "tests/support/catch.h"

using namespace sluice;

namespace {

struct Probe {
  explicit Probe(int* open_now) : count(open_now) { ++*count; }
  Probe(Probe&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
  ~Probe() {
    if (count != nullptr) --*count;
  }
  int* count;
};

}  // namespace

TEST_CASE("handles: a handle lives until it is removed", "[fuse][handles]") {
  int open_now = 0;
  HandleTable<Probe> table;
  const uint64_t first = table.add(Probe(&open_now));
  const uint64_t second = table.add(Probe(&open_now));
  CHECK(open_now == 2);
  CHECK(table.size() == 2);
  table.remove(first);
  CHECK(open_now == 1);
  CHECK(HandleTable<Probe>::get(second).count == &open_now);
}

TEST_CASE("handles: the end of a session closes what the kernel never released", "[fuse][handles]") {
  int open_now = 0;
  HandleTable<Probe> table;
  for (int i = 0; i < 10; ++i) table.add(Probe(&open_now));
  table.clear();
  CHECK(open_now == 0);
  CHECK(table.size() == 0);
}
