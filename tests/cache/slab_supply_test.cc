#include "cache/slab_supply.h"

#include <sys/mman.h>

#include <chrono>
#include <thread>
#include <vector>

#include "cache/arena.h"
#include "cache/release_test.h"
#include "tests/support/catch.h"

namespace sluice {
namespace {

constexpr uint32_t kSlabs = 12;

bool has_memory(const SlabMemory& memory, uint32_t slab) {
  unsigned char resident = 0;
  REQUIRE(::mincore(memory.address(slab), kPageSize, &resident) == 0);
  return (resident & 1) != 0;
}

template <typename Condition>
void wait_until(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::yield();
  }
}

void wait_for_memory(const SlabMemory& memory, uint32_t slab) {
  wait_until([&] { return has_memory(memory, slab); });
}

SlabMemory reserve() {
  auto memory = SlabMemory::reserve(kSlabs);
  REQUIRE(memory.has_value());
  return std::move(*memory);
}

TEST_CASE("slab supply: a cache of one slab takes the memory of one", "[cache][slab_supply]") {
  SlabMemory memory = reserve();
  {
    SlabSupply supply(&memory, {.slabs_max = kSlabs, .limit = kSlabs, .ready_max = 4});
    REQUIRE(supply.take()->number == 0);
  }  // the thread has ended: what it would touch is touched
  CHECK(has_memory(memory, 0));
  CHECK_FALSE(has_memory(memory, 1));
}

TEST_CASE("slab supply: a growing cache finds its next slabs touched, and no more than those", "[cache][slab_supply]") {
  SlabMemory memory = reserve();
  {
    SlabSupply supply(&memory, {.slabs_max = kSlabs, .limit = kSlabs, .ready_max = 4});
    for (uint32_t slab = 0; slab < 2; slab++) REQUIRE(supply.take()->number == slab);
    for (uint32_t slab = 0; slab < 6; slab++) wait_for_memory(memory, slab);
  }
  CHECK_FALSE(has_memory(memory, 6));
}

TEST_CASE("slab supply: gives every slab once, in order, down to the last", "[cache][slab_supply]") {
  SlabMemory memory = reserve();
  SlabSupply supply(&memory, {.slabs_max = kSlabs, .limit = kSlabs, .ready_max = 4});
  for (uint32_t slab = 0; slab < kSlabs; slab++) {
    const auto taken = supply.take();
    REQUIRE(taken.has_value());
    CHECK(taken->number == slab);
    CHECK(has_memory(memory, slab));
    CHECK_FALSE(taken->guarded);
  }
}

TEST_CASE("slab supply: slabs that are touched ahead have their guard", "[cache][slab_supply]") {
  if (probe_release_proof() != ReleaseProof::collapse) {
    WARN("this kernel has no release test");
    return;
  }
  SlabMemory memory = reserve();
  SlabSupply supply(&memory, {.slabs_max = kSlabs, .limit = kSlabs, .ready_max = 4, .guards = true});
  for (uint32_t slab = 0; slab < 2; slab++) REQUIRE(supply.take()->guarded);
  wait_for_memory(memory, 4);
  for (uint32_t slab = 2; slab < kSlabs; slab++) {
    REQUIRE(supply.take()->guarded);
    CHECK(test_release(memory.address(slab)) == ReleaseAnswer::released);
  }
}

TEST_CASE("slab supply: what is given back is the system's again, and is handed out again", "[cache][slab_supply]") {
  SlabMemory memory = reserve();
  SlabSupply supply(&memory, {.slabs_max = kSlabs, .limit = kSlabs, .ready_max = 0});
  for (uint32_t slab = 0; slab < 6; slab++) {
    REQUIRE(supply.take()->number == slab);
    memory.address(slab)[0] = 'x';
  }
  supply.give_back(2);
  supply.give_back(4);
  wait_until([&] { return supply.going_back() == 0; });
  CHECK_FALSE(has_memory(memory, 2));
  CHECK_FALSE(has_memory(memory, 4));
  CHECK(memory.address(3)[0] == 'x');
  CHECK(supply.take()->number == 2);
  CHECK(has_memory(memory, 2));
  CHECK(supply.take()->number == 4);
  CHECK(supply.take()->number == 6);
}

TEST_CASE("slab supply: nothing beyond the limit is handed out, or kept ready", "[cache][slab_supply]") {
  SlabMemory memory = reserve();
  SlabSupply supply(&memory, {.slabs_max = kSlabs, .limit = kSlabs, .ready_max = 4});
  for (uint32_t slab = 0; slab < 3; slab++) REQUIRE(supply.take()->number == slab);
  for (uint32_t slab = 3; slab < 7; slab++) wait_for_memory(memory, slab);
  supply.set_limit(4);
  wait_until([&] { return supply.going_back() == 0; });
  for (uint32_t slab = 4; slab < 7; slab++) CHECK_FALSE(has_memory(memory, slab));
  CHECK(supply.take()->number == 3);
  supply.set_limit(6);
  CHECK(supply.take()->number == 4);
  CHECK(supply.take()->number == 5);
}

}  // namespace
}  // namespace sluice
