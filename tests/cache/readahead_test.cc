#include "cache/readahead.h"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "tests/support/cache_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr uint64_t kFilePages = 100000;
constexpr uint64_t kFileSize = kFilePages * kPageSize;

struct Reader {
  explicit Reader(const ReadaheadOptions& options, LeftStreams* shared = nullptr)
      : readahead(options, shared != nullptr ? shared : &own) {}

  Readahead::Plan bytes(uint64_t offset, uint64_t length, uint64_t file_size = kFileSize) {
    Readahead::Plan plan = readahead.on_read(offset, length, file_size);
    for (const PageRange range : plan.prefetch) {
      CHECK(range.end() <= pages_of(0, file_size).count);
      for (uint64_t page = range.first; page < range.end(); page++) prefetched.insert(page);
    }
    return plan;
  }
  Readahead::Plan pages(uint64_t first, uint64_t count, uint64_t file_pages = kFilePages) {
    return bytes(first * kPageSize, count * kPageSize, file_pages * kPageSize);
  }
  // Prefetched before they are read here.
  uint64_t pages_ahead(uint64_t first, uint64_t count) {
    uint64_t ahead = 0;
    for (uint64_t page = first; page < first + count; page++) ahead += prefetched.count(page);
    pages(first, count);
    return ahead;
  }

  LeftStreams own;
  Readahead readahead;
  std::set<uint64_t> prefetched;
};

TEST_CASE("readahead: a stream from the start of the file opens a window that doubles to the limit", "[readahead]") {
  Reader reader({.window_max_bytes = 1 << 20});
  uint64_t before = 0;
  uint64_t longest = 0;
  for (uint64_t page = 0; page < 2000; page++) {
    const auto plan = reader.pages(page, 1);
    if (plan.prefetch.empty()) continue;
    REQUIRE(plan.prefetch.size() == 1);
    if (before != 0) CHECK(plan.prefetch[0].first == before);  // no gap, no overlap
    before = plan.prefetch[0].end();
    longest = std::max(longest, plan.prefetch[0].count);
  }
  CHECK(longest == 256);
  CHECK(before > 2000);
}

TEST_CASE("readahead: a stream that begins anywhere is seen at its second read", "[readahead]") {
  Reader reader({.window_max_bytes = 1 << 20});
  CHECK(reader.pages(5000, 4).prefetch.empty());
  CHECK(reader.pages(5004, 4).prefetch.size() == 1);
  CHECK(reader.pages_ahead(5008, 4) == 4);
}

TEST_CASE("readahead: reads of odd lengths that follow each other are a stream", "[readahead]") {
  Reader reader({.window_max_bytes = 1 << 20});
  uint64_t offset = 7777;
  uint64_t late = 0, read_until = 0;
  for (uint64_t read = 0; read < 1000; read++) {
    const uint64_t length = 1000 + read * 7 % 9000;
    const uint64_t last = (offset + length - 1) / kPageSize;
    if (read > 2 && last > read_until) late += reader.prefetched.count(last) == 0;
    read_until = last;
    reader.bytes(offset, length);
    offset += length;
  }
  CHECK(late == 0);
}

TEST_CASE("readahead: random reads trigger nothing", "[readahead]") {
  const uint64_t lengths = GENERATE(1, 4);
  Reader reader({});
  std::mt19937_64 random(test_seed());
  for (int i = 0; i < 10000; i++) reader.pages(1 + random() % (kFilePages - lengths), lengths);
  CHECK(reader.prefetched.size() < 10000 * lengths / 50);  // by chance a read may continue another
}

TEST_CASE("readahead: reads of a stream that come in another order keep it", "[readahead]") {
  Reader reader({.window_max_bytes = 4 << 20});
  std::mt19937_64 random(test_seed());
  std::vector<uint64_t> reads(2000);
  for (uint64_t i = 0; i < reads.size(); i++) reads[i] = i;
  for (uint64_t i = 4; i + 4 < reads.size(); i += 4) {
    std::shuffle(reads.begin() + static_cast<long>(i), reads.begin() + static_cast<long>(i) + 4, random);
  }
  uint64_t late = 0;
  for (uint64_t i = 0; i < reads.size(); i++) {
    const uint64_t ahead = reader.pages_ahead(reads[i] * 16, 16);
    if (i >= 4) late += 16 - ahead;
  }
  CHECK(late == 0);
}

TEST_CASE("readahead: nothing is read past the end of the file", "[readahead]") {
  Reader reader({});
  for (uint64_t page = 0; page < 37; page++) reader.pages(page, 1, 37);
  CHECK(*reader.prefetched.rbegin() == 36);
  Reader small({});
  CHECK(small.pages(0, 1, 1).prefetch.empty());
  CHECK(small.bytes(kPageSize, 1, kPageSize).prefetch.empty());
}

TEST_CASE("readahead: interleaved streams are told apart, with random reads between them", "[readahead]") {
  constexpr uint64_t kStreams = 7;  // one place in the table for what is taken for a stream by chance
  constexpr uint64_t kRandomPages = 100 * kFilePages;
  Reader reader({.window_max_bytes = 1 << 20});
  std::mt19937_64 random(test_seed());
  uint64_t late = 0;
  for (uint64_t i = 0; i < 200; i++) {
    for (uint64_t stream = 0; stream < kStreams; stream++) {
      const uint64_t ahead = reader.pages_ahead(9000 * (stream + 1) + 777 * stream * stream + i * 2, 2);
      if (i >= 2) late += 2 - ahead;
      // Of so large a file that the random ones hardly ever continue each other: two such rows within one round take
      // the place of a stream, which is how it should be.
      if (i >= 2) reader.pages(kFilePages + random() % kRandomPages, 1, kFilePages + kRandomPages);
    }
  }
  CHECK(late == 0);
}

TEST_CASE("readahead: a stream backwards is seen at its fourth read and comes in large pieces", "[readahead]") {
  Reader reader({.window_max_bytes = 1 << 20});
  uint64_t late = 0, requests = 0;
  for (uint64_t read = 0; read < 2000; read++) {
    const uint64_t page = 50000 - read * 4;
    if (read > 3) late += reader.prefetched.count(page) == 0;
    requests += reader.pages(page, 4).prefetch.size();
  }
  CHECK(late == 0);
  CHECK(requests < 2000 * 4 / 100);  // of 128 pages and more, once under way
}

TEST_CASE("readahead: a stream backwards ends at the start of the file", "[readahead]") {
  Reader reader({.window_max_bytes = 1 << 20});
  for (uint64_t page = 40; page > 0; page -= 4) reader.pages(page, 4);
  CHECK(reader.prefetched.count(4) == 1);
  CHECK(*reader.prefetched.begin() == 0);
}

TEST_CASE("readahead: reads with a constant stride are prefetched, without what lies between", "[readahead]") {
  const int64_t stride = GENERATE(100'000, 1'000'000, -100'000);
  Reader reader({.window_max_bytes = 1 << 20});
  uint64_t offset = kFileSize / 2;
  uint64_t late = 0;
  for (uint64_t read = 0; read < 150; read++) {
    if (read > 3) late += reader.prefetched.count(offset / kPageSize) == 0;
    reader.bytes(offset, 3000);
    offset += static_cast<uint64_t>(stride);
  }
  CHECK(late == 0);
  CHECK(reader.prefetched.size() <= 2 * (150 + 32));  // each read touches one page or two
}

TEST_CASE("readahead: strided streams end at the end of the file", "[readahead]") {
  Reader reader({});
  const uint64_t size = 1'000'000;
  for (uint64_t offset = 10'000; offset < size; offset += 100'000) reader.bytes(offset, 5000, size);
  CHECK(reader.prefetched.count(910'000 / kPageSize) == 1);
}

TEST_CASE("readahead: large reads open the full window at once", "[readahead]") {
  Reader reader({.window_max_bytes = 2 << 20});
  const auto plan = reader.pages(0, 256);
  REQUIRE(plan.prefetch.size() == 1);
  CHECK(plan.prefetch[0].count == 512);
  for (uint64_t read = 1; read < 20; read++) CHECK(reader.pages_ahead(256 * read, 256) == 256);
}

TEST_CASE("readahead: a reader goes on with the window of one that closed the file where it begins", "[readahead]") {
  LeftStreams left;
  {
    Reader first({.window_max_bytes = 1 << 20}, &left);
    for (uint64_t page = 0; page < 1000; page += 10) first.pages(page, 10);
  }
  Reader other({.window_max_bytes = 1 << 20}, &left);
  CHECK(other.pages(3000, 10).prefetch.empty());
  uint64_t ahead = 0;
  for (uint64_t page = 1000; page < 1300; page += 10) {
    const auto plan = other.pages(page, 10);
    if (page == 1000) CHECK(plan.was_ahead);
    for (const PageRange range : plan.prefetch) ahead = std::max(ahead, range.count);
  }
  CHECK(ahead == 256);
  Reader third({.window_max_bytes = 1 << 20}, &left);
  CHECK(third.pages(1000, 10).prefetch.empty());  // a left stream is taken once
}

TEST_CASE("readahead: reads that follow each other are a stream, though each has an open of its own", "[readahead]") {
  LeftStreams left;
  std::set<uint64_t> prefetched;
  uint64_t late = 0, requested = 0;
  constexpr uint64_t kReads = 100, kPages = 16, kFirst = 2048;
  for (uint64_t read = 0; read < kReads; read++) {
    Reader reader({.window_max_bytes = 1 << 20}, &left);
    const uint64_t page = kFirst + read * kPages;
    if (read > 1) late += prefetched.count(page) == 0;
    for (const PageRange range : reader.pages(page, kPages).prefetch) requested += range.count;
    prefetched.merge(reader.prefetched);
  }
  CHECK(late == 0);
  REQUIRE(!prefetched.empty());
  CHECK(requested == prefetched.size());
  CHECK(*prefetched.rbegin() < kFirst + kReads * kPages + 2 * 256);  // the next window waits for its time here, too
}

TEST_CASE("readahead: opens that read at random places begin no stream and displace none", "[readahead]") {
  LeftStreams left;
  {
    Reader stream({}, &left);
    for (uint64_t page = 0; page < 1000; page += 10) stream.pages(page, 10);
  }
  std::mt19937_64 random(test_seed());
  uint64_t prefetched = 0;
  for (int open = 0; open < 1000; open++) {
    Reader reader({}, &left);
    // Of even pages only: none goes on where another ended.
    for (int read = 0; read < 3; read++) reader.pages(2000 + random() % ((kFilePages - 2001) / 2) * 2, 1);
    prefetched += reader.prefetched.size();
  }
  CHECK(prefetched < 200);  // by chance reads may have a stride
  CHECK(Reader({}, &left).pages(1000, 10).was_ahead);
}

TEST_CASE("readahead: a file that was read to its end leaves no stream", "[readahead]") {
  LeftStreams left;
  {
    Reader reader({}, &left);
    for (uint64_t page = 0; page < 100; page += 10) reader.pages(page, 10, 100);
  }
  {
    Reader reader({}, &left);
    reader.pages(90, 10, 100);
  }
  CHECK(left.take(100 * kPageSize).next == 0);
}

TEST_CASE("readahead: windows shrink while what they brought is lost, and grow again", "[readahead]") {
  Reader reader({.window_max_bytes = 4 << 20});
  uint64_t page = 0;
  const auto longest_window = [&](uint64_t reads, bool loses) {
    uint64_t longest = 0;
    for (uint64_t read = 0; read < reads; read++, page += 16) {
      const auto plan = reader.pages(page, 16);
      for (const PageRange range : plan.prefetch) longest = std::max(longest, range.count);
      if (loses && plan.was_ahead) reader.readahead.on_loss(page * kPageSize, 16 * kPageSize, kFileSize);
    }
    return longest;
  };
  CHECK(longest_window(1000, false) == 1024);
  longest_window(100, true);
  CHECK(longest_window(50, true) <= 32 + 64);
  CHECK(longest_window(3000, false) == 1024);
}

TEST_CASE("readahead: a stream goes on right after a read that was lost", "[readahead]") {
  Reader reader({.window_max_bytes = 4 << 20});
  for (uint64_t page = 0; page < 4000; page += 16) reader.pages(page, 16);
  REQUIRE(reader.pages(4000, 16).was_ahead);
  const auto plan = reader.readahead.on_loss(4000 * kPageSize, 16 * kPageSize, kFileSize);
  REQUIRE(plan.prefetch.size() == 1);
  CHECK(plan.prefetch[0].first == 4016);
  CHECK(plan.prefetch[0].count <= 512);
  CHECK(reader.pages(4016, 16).prefetch.size() == 1);  // as at the start of a stream
}

TEST_CASE("readahead: so does one backwards", "[readahead]") {
  Reader reader({.window_max_bytes = 4 << 20});
  uint64_t page = 50'000;
  for (; page > 40'000; page -= 4) reader.pages(page, 4);
  REQUIRE(reader.pages(page, 4).was_ahead);
  const auto plan = reader.readahead.on_loss(page * kPageSize, 4 * kPageSize, kFileSize);
  REQUIRE(plan.prefetch.size() == 1);
  CHECK(plan.prefetch[0].end() == page);
  CHECK(plan.prefetch[0].count <= 512);
}

TEST_CASE("readahead: random reads that were lost in an old window waste no more than one", "[readahead]") {
  Reader reader({.window_max_bytes = 4 << 20});
  for (uint64_t page = 0; page < 4000; page += 16) reader.pages(page, 16);
  std::mt19937_64 random(test_seed());
  uint64_t prefetched = 0;  // pages
  for (uint64_t page = 4000; page < 6000; page += 20 + random() % 30) {
    auto plan = reader.pages(page, 1);
    if (plan.was_ahead) plan = reader.readahead.on_loss(page * kPageSize, kPageSize, kFileSize);
    for (const PageRange range : plan.prefetch) prefetched += range.count;
  }
  CHECK(prefetched <= 1024);
}

// A file that is large for its cache, with a disk that answers at once.
struct LargeFile {
  void read(Readahead& readahead, PageRange pages) {
    const uint64_t offset = pages.first * kPageSize, length = pages.count * kPageSize;
    Readahead::Plan plan = readahead.on_read(offset, length, fixture.source->size());
    const uint64_t asked = fixture.cache->read(fixture.request(pages), [](const Result<PageRefs>&) {});
    missed += asked;
    if (asked > 0 && plan.was_ahead) plan = readahead.on_loss(offset, length, fixture.source->size());
    for (const PageRange range : plan.prefetch) {
      fixture.cache->prefetch(fixture.request(range));
      longest = std::max(longest, range.count);
    }
  }

  CacheFixture fixture{40'000 * kPageSize, {.size_bytes = uint64_t{64} << 20, .large_file_bytes = std::nullopt}};
  StreamsRoom room{fixture.cache.get()};
  const ReadaheadOptions options = {.window_max_bytes = 2 << 20, .room = &room};
  LeftStreams left;
  uint64_t missed = 0;   // pages
  uint64_t longest = 0;  // window
};

TEST_CASE("readahead: streams of a large file do not take each other's windows", "[readahead]") {
  constexpr uint64_t kStreams = 4;
  const bool is_one_reader = GENERATE(true, false);
  LargeFile file;
  file.fixture.source->run_immediately();
  Readahead first(file.options, &file.left), second(file.options, &file.left), third(file.options, &file.left),
      fourth(file.options, &file.left);
  Readahead* const readers[kStreams] = {&first, &second, &third, &fourth};
  for (uint64_t page = 0; page < 4000; page += 4) {
    for (uint64_t stream = 0; stream < kStreams; stream++) {
      file.read(is_one_reader ? first : *readers[stream], {10'000 * stream + page, 4});
    }
  }
  CHECK(file.missed <= kStreams * 8);
  CHECK(file.fixture.cache->stats().readahead_wasted_bytes == 0);
  file.longest = 0;
  for (uint64_t page = 4000; page < 9000; page += 4) file.read(first, {page, 4});
  CHECK(file.longest == 512);  // who is alone has the room of all
}

TEST_CASE("readahead: a stream that paused while others filled the cache misses once", "[readahead]") {
  LargeFile file;
  file.fixture.source->run_immediately();
  Readahead paused(file.options, &file.left), other(file.options, &file.left);
  for (uint64_t page = 0; page < 4000; page += 4) file.read(paused, {page, 4});
  for (uint64_t page = 10'000; page < 20'000; page += 4) file.read(other, {page, 4});
  file.missed = 0;
  for (uint64_t page = 4000; page < 8000; page += 4) file.read(paused, {page, 4});
  CHECK(file.missed > 0);
  CHECK(file.missed <= 8);
}

TEST_CASE("readahead: a window of 0 switches it off", "[readahead]") {
  Reader reader({.window_max_bytes = 0});
  for (uint64_t page = 0; page < 1000; page += 16) reader.pages(page, 16);
  CHECK(reader.prefetched.empty());
}

}  // namespace
}  // namespace sluice
