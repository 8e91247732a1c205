#include "fs/store/prepared_write.h"

#include <random>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

std::string random_bytes(std::mt19937_64& random, uint64_t length) {
  std::string bytes(length, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::string content_of(const PreparedWrite& write) {
  std::string content;
  for (const iovec& part : write.buffers()) content.append(static_cast<const char*>(part.iov_base), part.iov_len);
  return content;
}

}  // namespace

TEST_CASE("prepared write: bytes that come in pieces are the bytes of the whole", "[store]") {
  std::mt19937_64 random(test_seed());
  const auto cache = *BlockCache::create({.size_bytes = kCacheSizeMin});
  for (int round = 0; round < 300; round++) {
    const uint64_t offset = random() % 3 == 0 ? random() % 4 * kPageSize : random() % (3 * kPageSize);
    const std::string bytes = random_bytes(random, random() % (random() % 2 == 0 ? 9000 : 200'000));
    PreparedWrite write(random() % 4 == 0 ? nullptr : cache.get(), offset, bytes.size());
    write.room = std::make_shared<int>();
    const uint64_t piece_max = 1 + random() % 20'000;
    for (uint64_t at = 0; at < bytes.size();) {
      CHECK(write.missing() == bytes.size() - at);
      CHECK(write.room != nullptr);
      const std::string piece = bytes.substr(at, random() % piece_max + 1);
      write.fill(piece);
      at += piece.size();
    }
    if (bytes.empty()) write.fill("");
    CHECK(write.missing() == 0);
    CHECK(write.room == nullptr);
    REQUIRE(content_of(write) == bytes);
    CHECK(write.head.bytes.size() + write.middle_size + write.tail.bytes.size() == bytes.size());
    CHECK(write.middle_size % kPageSize == 0);
    CHECK((write.middle_size == 0 || write.middle_offset % kPageSize == 0));
  }
}

TEST_CASE("prepared write: a cache that has no memory is done without", "[store]") {
  const auto cache = *BlockCache::create({.size_bytes = kCacheSizeMin});
  std::vector<PageRefs> held;
  while (true) {
    PageRefs more = cache->allocate(16);
    if (more.pages() == 0) break;
    held.push_back(std::move(more));
  }
  const std::string bytes(20 * kPageSize, 'x');
  const PreparedWrite write(cache.get(), 5, bytes);
  CHECK(write.bounce != nullptr);
  CHECK(content_of(write) == bytes);
}

}  // namespace sluice
