// The simulator: what would the hit ratio be with another policy, or another size? The trace is read once and replayed
// through each policy at each size, by the classes that serve files.
#include "tools/command_sim.h"

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "cache/policy.h"
#include "cache/result.h"
#include "tools/option_values.h"
#include "tools/sim/replay.h"
#include "tools/sim/trace.h"

namespace sluice {
namespace {

// Calls take(word) for each word of a comma separated list.
template <typename Take>
Checked<> for_each_word(std::string_view list, Take take) {
  for (size_t start = 0; start <= list.size();) {
    const size_t end = std::min(list.find(',', start), list.size());
    TRY(take(list.substr(start, end - start)));
    start = end + 1;
  }
  return {};
}

Checked<std::vector<const PolicyKind*>> parse_policies(std::string_view list) {
  if (list.empty()) return std::vector(policy_kinds().begin(), policy_kinds().end());
  std::vector<const PolicyKind*> policies;
  TRY(for_each_word(list, [&](std::string_view name) -> Checked<> {
    policies.push_back(find_policy(name));
    if (policies.back() != nullptr) return {};
    return complain("--policy: '{}' is not known; choose from {}", name, find_option("cache-policy")->argument);
  }));
  return policies;
}

// One replay for each size, the policy still open.
Checked<> parse_sizes(const std::string& list, CacheUnit unit, std::vector<ReplayOptions>& sizes) {
  if (list.empty()) return {};
  const std::string_view option = unit == CacheUnit::blocks ? "--cache-blocks" : "--cache-bytes";
  return for_each_word(list, [&](std::string_view word) -> Checked<> {
    const Checked<uint64_t> size = unit == CacheUnit::blocks ? parse_integer(word) : parse_size(word);
    if (!size) return complain("{}: {}", option, size.error().line);
    if (*size == 0) return complain("{}: a cache of nothing holds nothing; give at least 1", option);
    sizes.push_back({.unit = unit, .capacity = *size});
    return {};
  });
}

Checked<std::vector<ReplayOptions>> planned_replays(const Options& options) {
  const std::vector<const PolicyKind*> policies = TRY(parse_policies(options.sim_policies));
  std::vector<ReplayOptions> sizes;
  TRY(parse_sizes(options.sim_cache_blocks, CacheUnit::blocks, sizes));
  TRY(parse_sizes(options.sim_cache_bytes, CacheUnit::bytes, sizes));
  if (sizes.empty())
    return complain("sim needs a size; give for example --cache-blocks 1000,10000 or --cache-bytes 1G");
  if (options.sim_block_size_bytes != 0 && options.sim_format != "vscsi") {
    return complain("--block-size: a trace of format {} is in blocks already; leave it out", options.sim_format);
  }
  std::vector<ReplayOptions> replays;
  for (const PolicyKind* policy : policies) {
    for (const ReplayOptions& size : sizes) {
      replays.push_back({.policy = policy, .unit = size.unit, .capacity = size.capacity});
    }
  }
  return replays;
}

double hit_ratio(const ReplayCounts& counts) {
  return counts.requests == 0 ? 0 : static_cast<double>(counts.hits) / static_cast<double>(counts.requests);
}

void print_row(const ReplayOptions& options, const ReplayCounts& counts) {
  const bool in_bytes = options.unit == CacheUnit::bytes;
  fmt::print("{:<10} {:>12} {:>12} {:>12} {:>8.2f} % {:>9.3f}\n", options.policy->name,
             in_bytes ? format_size(options.capacity) : fmt::to_string(options.capacity), counts.requests, counts.hits,
             100 * hit_ratio(counts), counts.seconds);
  std::fflush(stdout);
}

nlohmann::ordered_json json_of(const ReplayOptions& options, const ReplayCounts& counts) {
  const bool in_bytes = options.unit == CacheUnit::bytes;
  const auto where = [](bool known, uint64_t number) { return known ? nlohmann::ordered_json(number) : nullptr; };
  return {{"policy", options.policy->name},
          {"blocks", where(!in_bytes, options.capacity)},
          {"bytes", where(in_bytes, options.capacity)},
          {"requests", counts.requests},
          {"hits", counts.hits},
          {"misses", counts.requests - counts.hits},
          {"hit_ratio", hit_ratio(counts)},
          {"requested_bytes", where(in_bytes, counts.requested_bytes)},
          {"missed_bytes", where(in_bytes, counts.missed_bytes)},
          {"seconds", counts.seconds}};
}

Checked<> simulate(const CommandLine& line, const std::vector<ReplayOptions>& replays) {
  const Options& options = line.options;
  const Trace trace =
      TRY(read_trace(line.trace, {.format = options.sim_format, .block_size = options.sim_block_size_bytes}));
  for (const std::string& note : trace.notes) tell({note});
  if (trace.sizes.empty() && trace.pages.empty() && !options.sim_cache_bytes.empty()) {
    return complain("--cache-bytes: a trace of format {} has no sizes; give --cache-blocks", options.sim_format);
  }
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  if (!options.json) {
    fmt::print("{:<10} {:>12} {:>12} {:>12} {:>10} {:>9}\n", "policy", "cache", "requests", "hits", "hit ratio",
               "seconds");
  }
  for (const ReplayOptions& replayed : replays) {
    const ReplayCounts counts = replay(trace, replayed);
    if (options.json) {
      list.push_back(json_of(replayed, counts));
    } else {
      print_row(replayed, counts);
    }
  }
  if (options.json) fmt::print("{}\n", list.dump(2));
  return {};
}

}  // namespace

int run_sim(const CommandLine& line) {
  const Checked<std::vector<ReplayOptions>> replays = planned_replays(line.options);
  if (!replays) {
    tell(replays.error());
    return kExitUsage;
  }
  const Checked<> done = simulate(line, *replays);
  if (done) return EXIT_SUCCESS;
  tell(done.error());
  return EXIT_FAILURE;
}

}  // namespace sluice
