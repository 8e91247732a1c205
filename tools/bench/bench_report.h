// What a benchmark found, as a table for people and as JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace sluice {

struct BenchRow {
  std::string workload;
  std::string cache;
  uint32_t threads = 1;
  double nanoseconds = 0;           // from one read to the next of any thread: the median of the repetitions
  double least_nanoseconds = 0;     // of the fastest repetition: the row on a machine that is not shared
  std::optional<double> hit_ratio;  // nothing: not about hits
};

// How many times as fast this row is as the row of one thread; nothing when that was not measured.
std::optional<double> speedup(const BenchRow& row, const std::vector<BenchRow>& rows);

std::string bench_table(const std::vector<BenchRow>& rows);
nlohmann::ordered_json bench_json(const std::vector<BenchRow>& rows);

}  // namespace sluice
