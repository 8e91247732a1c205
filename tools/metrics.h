// The numbers of `sluice status --json` as metrics for Prometheus, in its text format 0.0.4.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice {

// One number of the status: where it is there, and what Prometheus calls it.
struct MetricSpec {
  std::string_view field;  // "cache.hits"
  std::string_view name;   // without the "sluice_" in front. Rows of one name are neighbours
  std::string_view label;  // `method="copy"`; empty: none
  bool is_counter;         // else a gauge
  std::string_view help;
};
const std::vector<MetricSpec>& metric_table();

// What is null in the status has no metrics.
std::string metrics_text(std::string_view status_json);

}  // namespace sluice
