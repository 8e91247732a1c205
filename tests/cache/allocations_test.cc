// What a hit costs in allocations: nothing. Counts those of the thread that asks, over all of this binary.
#include <cstddef>
#include <cstdlib>
#include <new>

#include "tests/support/cache_fixture.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which have an operator new of their own

namespace {

thread_local uint64_t allocations = 0;

void* count_and_allocate(size_t size, size_t alignment) {
  ++allocations;
  void* const memory = ::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// The other forms end in these.
void* operator new(size_t size) {
  return count_and_allocate(size == 0 ? 1 : size, alignof(std::max_align_t));
}
void* operator new(size_t size, std::align_val_t alignment) {
  return count_and_allocate(size == 0 ? 1 : size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace sluice {

TEST_CASE("block cache: a hit allocates nothing", "[cache]") {
  const uint64_t count = GENERATE(1, 16);
  CacheFixture fixture(64 * kPageSize, {.size_bytes = kCacheSizeMin});
  REQUIRE(fixture.read({0, 64}));
  const CacheRead request = fixture.request({16, count});
  REQUIRE(fixture.cache->read_resident(request));  // the thread's own slots come with its first hit
  const uint64_t before = allocations;
  uint64_t pages = 0;
  for (int hit = 0; hit < 100; hit++) pages += fixture.cache->read_resident(request)->pages();
  const uint64_t after = allocations;
  CHECK(after == before);
  CHECK(pages == 100 * count);
  CHECK(fixture.cache->stats().misses == 64);
  fixture.start(request.pages);  // which parks the read
  const uint64_t counted = allocations;
  CHECK(counted > after);
}

}  // namespace sluice

#endif
