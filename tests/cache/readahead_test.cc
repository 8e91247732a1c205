#include "cache/readahead.h"

#include <random>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr uint64_t kFilePages = 100000;

uint64_t run_stream(Readahead& readahead, uint64_t first, uint64_t reads, uint64_t read_pages) {
  uint64_t ahead_until = 0;
  for (uint64_t i = 0; i < reads; i++) {
    const PageRange pages{first + i * read_pages, read_pages};
    if (const auto ahead = readahead.on_read(pages, kFilePages)) {
      CHECK(ahead->first >= pages.end());
      ahead_until = ahead->end();
    }
  }
  return ahead_until;
}

TEST_CASE("readahead: a stream from the start of the file opens a window that doubles to the limit", "[readahead]") {
  Readahead readahead({.window_max_bytes = 1 << 20});
  uint64_t before = 0;
  uint64_t longest = 0;
  for (uint64_t page = 0; page < 2000; page++) {
    const auto ahead = readahead.on_read({page, 1}, kFilePages);
    if (!ahead) continue;
    if (before != 0) CHECK(ahead->first == before);  // no gap, no overlap
    before = ahead->end();
    longest = std::max(longest, ahead->count);
  }
  CHECK(longest == 256);
  CHECK(before > 2000);
}

TEST_CASE("readahead: random reads trigger nothing", "[readahead]") {
  Readahead readahead({});
  std::mt19937_64 random(test_seed());
  uint64_t read_ahead = 0;
  for (int i = 0; i < 10000; i++) {
    if (const auto ahead = readahead.on_read({1 + random() % (kFilePages - 1), 1}, kFilePages)) read_ahead += ahead->count;
  }
  CHECK(read_ahead < 100);  // by chance a read may continue another
}

TEST_CASE("readahead: nothing is read past the end of the file", "[readahead]") {
  Readahead readahead({});
  for (uint64_t page = 0; page < 37; page++) {
    const auto ahead = readahead.on_read({page, 1}, 37);
    if (ahead) CHECK(ahead->end() <= 37);
  }
  Readahead small({});
  CHECK_FALSE(small.on_read({0, 1}, 1).has_value());
}

TEST_CASE("readahead: four interleaved streams are told apart", "[readahead]") {
  Readahead readahead({.window_max_bytes = 1 << 20, .streams_max = 4});
  std::vector<uint64_t> ahead_pages(4, 0);
  for (uint64_t i = 0; i < 200; i++) {
    for (uint64_t stream = 0; stream < 4; stream++) {
      const auto ahead = readahead.on_read({20000 * stream + i * 2, 2}, kFilePages);
      if (ahead) ahead_pages[stream] += ahead->count;
    }
  }
  for (const uint64_t pages : ahead_pages) CHECK(pages >= 400);
}

TEST_CASE("readahead: large reads open the full window at once", "[readahead]") {
  Readahead readahead({.window_max_bytes = 2 << 20});
  const auto ahead = readahead.on_read({0, 256}, kFilePages);
  REQUIRE(ahead.has_value());
  CHECK(ahead->count == 512);
  CHECK(run_stream(readahead, 256, 20, 256) >= 256 * 21);
}

TEST_CASE("readahead: a window of 0 switches it off", "[readahead]") {
  Readahead readahead({.window_max_bytes = 0});
  CHECK(run_stream(readahead, 0, 100, 16) == 0);
}

}  // namespace
}  // namespace sluice
