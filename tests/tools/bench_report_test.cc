#include "tools/bench/bench_report.h"

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

namespace sluice {
namespace {

const std::vector<BenchRow> kRows = {
    {"compute", "machine", 2, 5, 4.5, std::nullopt},
    {"hit-hot", "sluice", 1, 20, 19, 1},
    {"hit-hot", "sluice", 2, 12.5, 10, 0.999},
};

TEST_CASE("bench report: the table has a line for each row, under a head", "[tools][bench]") {
  CHECK(bench_table(kRows) ==
        "workload   cache          threads   ns/read    least  million/s  x 1 thread     hits\n"
        "compute    machine              2       5.0      4.5     200.00           -        -\n"
        "hit-hot    sluice               1      20.0     19.0      50.00        1.00  100.0 %\n"
        "hit-hot    sluice               2      12.5     10.0      80.00        1.60   99.9 %\n");
}

TEST_CASE("bench report: JSON says null for what was not measured", "[tools][bench]") {
  const nlohmann::ordered_json list = bench_json(kRows);
  REQUIRE(list.size() == 3);
  CHECK(list[0].dump() == R"({"workload":"compute","cache":"machine","threads":2,"ns_per_read":5.0,)"
                          R"("ns_per_read_least":4.5,"reads_per_second":200000000.0,"speedup":null,"hit_ratio":null})");
  CHECK(list[2]["speedup"] == 1.6);
  CHECK(list[2]["hit_ratio"] == 0.999);
}

}  // namespace
}  // namespace sluice
