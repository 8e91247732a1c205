#include "tools/metrics.h"

#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "tests/support/catch.h"
#include "tools/status.h"

namespace sluice {
namespace {

GatewayStatus full_status() {
  GatewayStatus status;
  status.version = "1.2.3";
  status.source = "/srv/\"odd\"\\name\nline";
  status.policy = "s3fifo";
  status.cache.hits = uint64_t{1} << 63;
  status.backing.hung = true;
  status.fuse = FuseStats{.requests = 5};
  status.http = HttpStats{.requests = 3, .sent = {.copy_bytes = 1, .vmsplice_bytes = 2, .zerocopy_bytes = 3}};
  status.nfs = NfsStats{.calls = 3, .sent = {}};
  status.store.write_back = WriteBackStats();
  status.trace = TraceRecorderStats();
  return status;
}

void collect(const nlohmann::json& value, const std::string& prefix, std::set<std::string>& numbers) {
  for (const auto& [key, member] : value.items()) {
    const std::string name = prefix.empty() ? key : prefix + "." + key;
    if (member.is_object()) collect(member, name, numbers);
    if (member.is_number() || member.is_boolean()) numbers.insert(name);
  }
}

TEST_CASE("metrics: every number of the status is one, but the process's", "[tools][metrics]") {
  std::set<std::string> numbers;
  collect(nlohmann::json::parse(status_json(full_status())), "", numbers);
  numbers.erase("pid");
  std::set<std::string> fields;
  for (const MetricSpec& metric : metric_table()) fields.insert(std::string(metric.field));
  CHECK(fields == numbers);
  CHECK(fields.size() == metric_table().size());
}

TEST_CASE("metrics: names say what they are, and each is told once", "[tools][metrics]") {
  std::set<std::string_view> seen;
  std::string_view previous;
  for (const MetricSpec& metric : metric_table()) {
    INFO(metric.name);
    CHECK(metric.name.ends_with("_total") == metric.is_counter);
    CHECK(std::regex_match(std::string(metric.name), std::regex("[a-z][a-z_]*")));
    if (metric.name == previous) {
      CHECK_FALSE(metric.label.empty());
      continue;
    }
    CHECK(metric.help.ends_with('.'));
    CHECK(seen.insert(metric.name).second);
    previous = metric.name;
  }
}

TEST_CASE("metrics: the text format", "[tools][metrics]") {
  const std::string text = metrics_text(status_json(full_status()));
  const auto has = [&](const std::string& part) { return text.find(part) != std::string::npos; };
  CHECK(
      has("sluice_info{version=\"1.2.3\",source=\"/srv/\\\"odd\\\"\\\\name\\nline\",mountpoint=\"\","
          "policy=\"s3fifo\"} 1\n"));
  CHECK(
      has("# HELP sluice_cache_hits_total Pages found in the cache.\n# TYPE sluice_cache_hits_total counter\n"
          "sluice_cache_hits_total 9223372036854775808\n"));
  CHECK(has("sluice_backing_hung 1\n"));
  CHECK(
      has("# TYPE sluice_send_bytes_total counter\nsluice_send_bytes_total{method=\"copy\"} 1\n"
          "sluice_send_bytes_total{method=\"vmsplice\"} 2\nsluice_send_bytes_total{method=\"zerocopy\"} 3\n"));
  const std::regex line("# (HELP|TYPE) sluice_[a-z_]+ .+|sluice_[a-z_]+(\\{.*\\})? [0-9]+");
  std::istringstream lines(text);
  for (std::string one; std::getline(lines, one);) CHECK(std::regex_match(one, line));
  CHECK_FALSE(metrics_text(status_json({})).find("sluice_http_requests_total") != std::string::npos);
}

}  // namespace
}  // namespace sluice
