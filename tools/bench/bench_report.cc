#include "tools/bench/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice {

std::optional<double> speedup(const BenchRow& row, const std::vector<BenchRow>& rows) {
  const auto alone = std::find_if(rows.begin(), rows.end(), [&](const BenchRow& other) {
    return other.threads == 1 && other.workload == row.workload && other.cache == row.cache;
  });
  if (alone == rows.end()) return std::nullopt;
  return alone->nanoseconds / row.nanoseconds;
}

std::string bench_table(const std::vector<BenchRow>& rows) {
  std::string table = fmt::format("{:<10} {:<14} {:>7} {:>9} {:>8} {:>10} {:>11} {:>8}\n", "workload", "cache",
                                  "threads", "ns/read", "least", "million/s", "x 1 thread", "hits");
  for (const BenchRow& row : rows) {
    const std::optional<double> times = speedup(row, rows);
    table += fmt::format("{:<10} {:<14} {:>7} {:>9.1f} {:>8.1f} {:>10.2f} {:>11} {:>8}\n", row.workload, row.cache,
                         row.threads, row.nanoseconds, row.least_nanoseconds, 1000 / row.nanoseconds,
                         times ? fmt::format("{:.2f}", *times) : "-",
                         row.hit_ratio ? fmt::format("{:.1f} %", 100 * *row.hit_ratio) : "-");
  }
  return table;
}

nlohmann::ordered_json bench_json(const std::vector<BenchRow>& rows) {
  const auto known = [](std::optional<double> number) { return number ? nlohmann::ordered_json(*number) : nullptr; };
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const BenchRow& row : rows) {
    list.push_back({{"workload", row.workload},
                    {"cache", row.cache},
                    {"threads", row.threads},
                    {"ns_per_read", row.nanoseconds},
                    {"ns_per_read_least", row.least_nanoseconds},
                    {"reads_per_second", 1e9 / row.nanoseconds},
                    {"speedup", known(speedup(row, rows))},
                    {"hit_ratio", known(row.hit_ratio)}});
  }
  return list;
}

}  // namespace sluice
