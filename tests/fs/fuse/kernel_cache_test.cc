#include "fs/fuse/kernel_cache.h"

#include <optional>

#include "tests/support/catch.h"

using namespace sluice;

namespace {

FileVersion version(uint64_t size, int64_t mtime = 1, bool trustworthy = true) {
  return {{.ino = 7, .size = size, .mtime_ns = mtime, .ctime_ns = mtime}, trustworthy};
}

}  // namespace

TEST_CASE("kernel cache: small files are read through it, others past it", "[fuse][kernel_cache]") {
  KernelCache cache(100);
  const FileVersion small = version(100), large = version(101);
  CHECK(cache.opened(1, &small).cached);
  CHECK_FALSE(cache.opened(2, &large).cached);
  CHECK_FALSE(cache.opened(3, nullptr).cached);
  CHECK(cache.opened(3, &small).cached);  // from the next open on
  KernelCache off(0);
  CHECK_FALSE(off.opened(1, &small).cached);
}

TEST_CASE("kernel cache: all opens at one time go one way", "[fuse][kernel_cache]") {
  KernelCache cache(100);
  const FileVersion small = version(100), grown = version(1000);
  {
    const auto first = cache.opened(1, &small);
    CHECK(cache.opened(1, &grown).cached);
    CHECK(cache.opened(1, nullptr).cached);
  }
  CHECK_FALSE(cache.opened(1, &grown).cached);
  const auto first = cache.opened(1, &grown);
  CHECK_FALSE(cache.opened(1, &small).cached);
}

TEST_CASE("kernel cache: pages are kept as long as the file bears the same stamp", "[fuse][kernel_cache]") {
  KernelCache cache(100);
  const FileVersion old = version(50, 1), now = version(50, 2), uncertain = version(50, 2, false);
  CHECK_FALSE(cache.opened(1, &old).keeps_pages);
  CHECK(cache.opened(1, &old).keeps_pages);
  CHECK_FALSE(cache.opened(1, &now).keeps_pages);
  CHECK_FALSE(cache.opened(1, &uncertain).keeps_pages);
  CHECK_FALSE(cache.opened(1, &now).keeps_pages);  // what was read then may be of another content with this stamp
  CHECK(cache.opened(1, &now).keeps_pages);
  SECTION("not after it went the other way") {
    const FileVersion large = version(500, 3);
    CHECK_FALSE(cache.opened(1, &large).keeps_pages);
    CHECK_FALSE(cache.opened(1, &now).keeps_pages);
  }
  SECTION("of a bounded number of closed files") {
    for (InodeNumber number = 2; number < KernelCache::kRememberedMax + 2; ++number) (void)cache.opened(number, &now);
    CHECK_FALSE(cache.opened(1, &now).keeps_pages);
    CHECK(cache.opened(KernelCache::kRememberedMax, &now).keeps_pages);
  }
}
