// Recorded traces, where they are: in SLUICE_TRACES, else in shared/traces beside the project. The expected numbers are
// those of the papers and of libCacheSim's own tests.
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "tests/support/catch.h"
#include "tools/sim/replay.h"
#include "tools/sim/trace.h"
#include "tools/text_file.h"

namespace sluice {
namespace {

// Nothing, and a word about it, when the trace is not here.
std::optional<std::string> trace_path(const std::string& name) {
  const char* folder = std::getenv("SLUICE_TRACES");
  const std::string path = std::string(folder != nullptr ? folder : SLUICE_SOURCE_DIR "/../shared/traces") + "/" + name;
  if (::access(path.c_str(), R_OK) == 0) return path;
  WARN("skipped: " << path << " is not here");
  return std::nullopt;
}

std::optional<Trace> find_trace(const std::string& name, const std::string& format) {
  const std::optional<std::string> path = trace_path(name);
  if (!path) return std::nullopt;
  Checked<Trace> trace = read_trace(*path, {.format = format});
  INFO((trace ? "" : trace.error().line));
  REQUIRE(trace);
  return std::move(*trace);
}

double hit_percent(const Trace& trace, const PolicyKind& policy, uint64_t blocks) {
  const ReplayCounts counts = replay(trace, {.policy = &policy, .capacity = blocks});
  return 100 * static_cast<double>(counts.hits) / static_cast<double>(counts.requests);
}

TEST_CASE("real traces: OLTP gives the hit ratios of the papers", "[tools][traces]") {
  const std::optional<Trace> trace = find_trace("arc_OLTP.lis.zst", "arc");
  if (!trace) return;
  CHECK(trace->blocks.size() == 914'145);
  CHECK(trace->blocks_max == 186'880);
  struct Expected {
    uint64_t blocks;
    double lru, arc, s3fifo;
  };
  for (const Expected& expected :
       {Expected{1000, 32.83, 38.93, 40.84}, Expected{2000, 42.47, 46.08, 47.01}, Expected{5000, 53.65, 55.25, 55.88},
        Expected{10'000, 60.70, 61.87, 62.64}, Expected{15'000, 64.63, 65.40, 66.04}}) {
    INFO(expected.blocks);
    CHECK(std::abs(hit_percent(*trace, kLruPolicy, expected.blocks) - expected.lru) < 0.005);
    CHECK(std::abs(hit_percent(*trace, kArcPolicy, expected.blocks) - expected.arc) < 0.05);
    CHECK(std::abs(hit_percent(*trace, kS3FifoPolicy, expected.blocks) - expected.s3fifo) < 0.2);
  }
}

TEST_CASE("real traces: P6 gives the hit ratios of the papers", "[tools][traces]") {
  const std::optional<Trace> trace = find_trace("arc_P6.lis.zst", "arc");
  if (!trace) return;
  CHECK(trace->blocks.size() == 12'672'123);
  CHECK(trace->blocks_max == 773'770);
  CHECK(std::abs(hit_percent(*trace, kLruPolicy, 32'768) - 4.24) < 0.005);
  CHECK(std::abs(hit_percent(*trace, kArcPolicy, 32'768) - 23.84) < 0.05);
  CHECK(std::abs(hit_percent(*trace, kS3FifoPolicy, 32'768) - 25.19) < 0.2);
}

TEST_CASE("real traces: lru and s3fifo miss on cloudPhysicsIO as often as libCacheSim's", "[tools][traces]") {
  const std::optional<std::string> vectors_path = trace_path("reference_vectors.csv");
  const std::optional<Trace> trace = find_trace("cloudPhysicsIO.oracleGeneral.bin", "oracle");
  if (!vectors_path || !trace) return;
  const Result<std::string> vectors = read_text_file(*vectors_path);
  REQUIRE(vectors);
  std::istringstream lines(*vectors);
  int compared = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line);
    std::string source, file, unit, size, policy, requests, misses, missed_bytes;
    for (std::string* cell : {&source, &file, &unit, &size, &policy, &requests, &misses, &missed_bytes}) {
      std::getline(cells, *cell, ',');
    }
    if (file != "cloudPhysicsIO.oracleGeneral.bin" || unit != "MiB") continue;
    if (policy != "LRU" && policy != "S3FIFO") continue;
    INFO(line);
    const PolicyKind& kind = policy == "LRU" ? kLruPolicy : kS3FifoPolicy;
    const ReplayCounts counts =
        replay(*trace, {.policy = &kind, .unit = CacheUnit::bytes, .capacity = std::stoull(size) << 20});
    // A set of ghosts that is full forgets one early, now and then.
    const double misses_off = policy == "LRU" ? 0 : 10;
    CHECK(std::abs(static_cast<double>(counts.requests - counts.hits) - std::stod(misses)) <= misses_off);
    CHECK(std::abs(static_cast<double>(counts.missed_bytes) / std::stod(missed_bytes) - 1) <= misses_off / 50'000);
    compared++;
  }
  CHECK(compared == 16);
}

TEST_CASE("real traces: on a loop larger than the cache only lru finds nothing", "[tools][traces]") {
  const std::optional<Trace> trace = find_trace("lirs_loop.trace.gz", "lines");
  if (!trace) return;
  CHECK(trace->blocks.size() == 505'500);
  CHECK(trace->blocks_max == 1011);
  CHECK(hit_percent(*trace, kLruPolicy, 900) < 1);
  CHECK(hit_percent(*trace, kS3FifoPolicy, 900) > 50);
}

}  // namespace
}  // namespace sluice
