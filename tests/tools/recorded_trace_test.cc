// What a live cache records, the simulator replays: traces of format sluice from the recorder to the counts.
#include <filesystem>
#include <fstream>
#include <random>

#include "cache/block_cache.h"
#include "cache/trace_recorder.h"
#include "tests/support/catch.h"
#include "tests/support/fake_disk.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seed.h"
#include "tests/support/temporary_directory.h"
#include "tools/sim/replay.h"
#include "tools/sim/trace.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr size_t kZstdChecksumBytes = 4;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

Trace read_whole(const std::string& path) {
  Checked<Trace> trace = read_trace(path, {.format = "sluice"});
  INFO((trace ? "" : trace.error().line));
  REQUIRE(trace);
  return std::move(*trace);
}
std::string complaint_about(const std::string& path) {
  const Checked<Trace> trace = read_trace(path, {.format = "sluice"});
  return trace ? "" : trace.error().line;
}
bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A cache of 16 MiB over a few files in memory, with a recorder.
class LiveCache {
 public:
  LiveCache(const std::string& path, const std::string& policy)
      : recorder_(*TraceRecorder::open({.path = path, .records_per_second_max = 0, .clock = &clock_})),
        cache_(*BlockCache::create(
            {.size_bytes = uint64_t{16} << 20, .policy = policy, .clock = &clock_, .recorder = recorder_.get()})) {
    for (uint64_t number = 1; number <= kFiles; number++) {
      files_.push_back(cache_->add_file(number));
      sources_.push_back(std::make_shared<FakeSource>(FakeSourceOptions{.size = kPages * kPageSize, .seed = number}));
      sources_.back()->run_immediately();
    }
  }

  void read(size_t file, PageRange pages) {
    clock_.advance(1ms);
    const CacheRead asked = request(file, pages);
    if (!cache_->read_resident(asked)) cache_->read(asked, [](const Result<PageRefs>& got) { REQUIRE(got); });
    if (++requests_ % 1000 == 0) recorder_->flush();
  }
  void prefetch(size_t file, PageRange pages) { cache_->prefetch(request(file, pages)); }
  void write(size_t file, PageRange pages) {
    const PageRefs memory = cache_->allocate(pages.count);
    REQUIRE(memory.pages() == pages.count);
    cache_->begin_change(*files_[file], pages);
    cache_->publish(*files_[file], 1, pages, memory);
  }

  CacheStats stats() const { return cache_->stats(); }
  uint64_t page_bytes() const { return uint64_t{stats().arena.frames_max} * kPageSize; }

  static constexpr uint64_t kFiles = 4;
  static constexpr uint64_t kPages = 4096;  // of each

 private:
  CacheRead request(size_t file, PageRange pages) const {
    return {.file = files_[file].get(),
            .generation = 1,
            .size = kPages * kPageSize,
            .pages = pages,
            .source = sources_[file]};
  }

  ManualClock clock_;
  std::unique_ptr<TraceRecorder> recorder_;
  std::unique_ptr<BlockCache> cache_;
  std::vector<std::shared_ptr<CachedFile>> files_;
  std::vector<std::shared_ptr<FakeSource>> sources_;
  uint64_t requests_ = 0;
};

struct Ask {
  size_t file;
  PageRange pages;
};

// Squared, so that some blocks are asked for often: 64 MiB of files for 16 MiB of cache.
Ask random_ask(std::mt19937_64& random) {
  std::uniform_real_distribution<double> uniform(0, 1);
  const double place = uniform(random) * uniform(random) * uniform(random);
  const auto page = static_cast<uint64_t>(place * static_cast<double>(LiveCache::kFiles * LiveCache::kPages - 1));
  const uint64_t first = page / LiveCache::kFiles;
  const uint64_t count = random() % 4 == 0 ? 1 + random() % 64 : 1;
  return {page % LiveCache::kFiles, {first, std::min(count, LiveCache::kPages - first)}};
}

double ratio(uint64_t hits, uint64_t requests) {
  return static_cast<double>(hits) / static_cast<double>(requests);
}

// The replay has the live cache's policy and size. What it does otherwise: what is read is there at once.
void check_same_hits(const std::string& path, const CacheStats& live, uint64_t page_bytes, const PolicyKind* policy) {
  const Trace trace = read_whole(path);
  CHECK(trace.notes.empty());
  const ReplayCounts counts = replay(trace, {.policy = policy, .unit = CacheUnit::bytes, .capacity = page_bytes});
  INFO(policy->name << ": live " << live.hits << " of " << live.hits + live.misses << ", replayed " << counts.hits
                    << " of " << counts.requests);
  CHECK(counts.requests == live.hits + live.misses);
  CHECK(ratio(counts.hits, counts.requests) == Catch::Approx(ratio(live.hits, counts.requests)).margin(0.005));
  CHECK(live.evictions > 1000);
}

// 30,000 random asks of a live cache of each policy, recorded and replayed.
template <typename Do>
void check_replay_of(Do do_ask) {
  for (const PolicyKind* policy : policy_kinds()) {
    std::mt19937_64 random(test_seed());
    const TemporaryDirectory directory;
    CacheStats stats;
    uint64_t page_bytes = 0;
    {
      LiveCache live(directory / "trace", std::string(policy->name));
      for (int i = 0; i < 30'000; i++) do_ask(live, random_ask(random), random);
      stats = live.stats();
      page_bytes = live.page_bytes();
    }
    check_same_hits(directory / "trace", stats, page_bytes, policy);
  }
}

TEST_CASE("recorded trace: random reads replayed have the hits of the live cache", "[tools][trace]") {
  check_replay_of([](LiveCache& live, const Ask& ask, std::mt19937_64&) { live.read(ask.file, ask.pages); });
}

TEST_CASE("recorded trace: readahead and writes fill the cache and are no requests", "[tools][trace]") {
  check_replay_of([](LiveCache& live, const Ask& ask, std::mt19937_64& random) {
    switch (random() % 8) {
      case 0: live.prefetch(ask.file, ask.pages); break;
      case 1: live.write(ask.file, ask.pages); break;
      default: live.read(ask.file, ask.pages);
    }
  });
}

TEST_CASE("recorded trace: what fits is missed once, in blocks and in bytes", "[tools][trace]") {
  const TemporaryDirectory directory;
  {
    LiveCache live(directory / "trace", "lru");
    for (int i = 0; i < 3; i++) live.read(0, {10, 20});
    live.read(1, {15, 1});
  }
  const Trace trace = read_whole(directory / "trace");
  CHECK(trace.blocks == std::vector<BlockId>{0, 1, 0, 1, 0, 1, 2});
  CHECK(trace.times_ms == std::vector<uint32_t>{0, 0, 1, 1, 2, 2, 3});
  for (const ReplayOptions& options : {ReplayOptions{&kLruPolicy, CacheUnit::blocks, 3},
                                       ReplayOptions{&kLruPolicy, CacheUnit::bytes, uint64_t{21} * kPageSize}}) {
    const ReplayCounts counts = replay(trace, options);
    CHECK(counts.requests == 61);
    CHECK(counts.hits == 40);
    CHECK(counts.requested_bytes == 61 * kPageSize);
    CHECK(counts.missed_bytes == 21 * kPageSize);
  }
}

TEST_CASE("recorded trace: a file cut off anywhere is read up to its last whole block", "[tools][trace]") {
  const TemporaryDirectory directory;
  std::vector<size_t> ends;  // of the file after each block
  {
    const auto recorder = *TraceRecorder::open({.path = directory / "trace"});
    for (uint64_t i = 0; i < 5; i++) {
      for (uint64_t page = 0; page < 10; page++) recorder->record(TraceOp::read, i, 1, {page * page * 40, 1});
      recorder->flush();
      ends.push_back(std::filesystem::file_size(directory / "trace"));
    }
  }
  const std::string whole = bytes_of(directory / "trace");
  for (size_t size = 0; size <= whole.size(); size++) {
    INFO(size);
    write_file(directory / "cut", whole.substr(0, size));
    const auto blocks =
        static_cast<size_t>(std::count_if(ends.begin(), ends.end(), [&](size_t end) { return end <= size; }));
    // A block whose checksum alone is missing counts as well.
    const bool lacks_checksum = blocks < ends.size() && ends[blocks] <= size + kZstdChecksumBytes;
    if (blocks == 0 && !lacks_checksum) {
      CHECK_FALSE(complaint_about(directory / "cut").empty());
      continue;
    }
    const Trace trace = read_whole(directory / "cut");
    CHECK(trace.blocks.size() == (blocks + lacks_checksum) * 10);
    CHECK(trace.notes.size() == (blocks > 0 && ends[blocks - 1] == size ? 0 : 1));
  }
}

TEST_CASE("recorded trace: what is none, or damaged before its end, is refused in one line", "[tools][trace]") {
  const TemporaryDirectory directory;
  {
    const auto recorder = *TraceRecorder::open({.path = directory / "trace"});
    for (uint64_t page = 0; page < 1000; page++) recorder->record(TraceOp::read, 1, 1, {page * page, 1});
  }
  std::string damaged = bytes_of(directory / "trace");
  damaged[damaged.size() / 2]++;
  write_file(directory / "damaged", damaged);
  CHECK(says(complaint_about(directory / "damaged"), "cannot be unpacked"));
  write_file(directory / "text", "a line of text that is longer than a head\n");
  CHECK(says(complaint_about(directory / "text"), "it does not begin as one; this is no trace of format sluice"));
  write_file(directory / "short", "SLUICETR");
  CHECK(says(complaint_about(directory / "short"), "it ends within its head"));
  write_file(directory / "zeros", encode_trace_head() + std::string(4, '\xff') + std::string(100, '\0'));
  CHECK(says(complaint_about(directory / "zeros"), "block 1: its sizes are none"));
  write_file(directory / "empty", "");
  CHECK(says(complaint_about(directory / "empty"), "holds no request"));
}

TEST_CASE("recorded trace: what was not recorded is said", "[tools][trace]") {
  const TemporaryDirectory directory;
  ManualClock clock;
  {
    const auto recorder =
        *TraceRecorder::open({.path = directory / "trace", .records_per_second_max = 10, .clock = &clock});
    for (uint64_t page = 0; page < 25; page++) recorder->record(TraceOp::read, 1, 1, {page, 1});
  }
  const Trace trace = read_whole(directory / "trace");
  CHECK(trace.blocks.size() == 10);
  REQUIRE(trace.notes.size() == 1);
  CHECK(says(trace.notes[0], "15 requests were not recorded: 15 above --trace-rate, 0 faster"));
}

}  // namespace
}  // namespace sluice
