#include "tools/command_bench.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tools/bench/cache_bench.h"
#include "tools/bench/contender.h"

namespace sluice {

int run_bench(const CommandLine& line) {
  const Options& options = line.options;
  const double seconds = std::chrono::duration<double>(options.bench_time).count();
  const Checked<std::vector<BenchRow>> rows = run_cache_bench({.filter = options.bench_filter, .seconds = seconds});
  if (!rows) {
    tell(rows.error());
    return EXIT_FAILURE;
  }
  fmt::print("{}", options.json ? bench_json(*rows).dump(2) + "\n" : bench_table(*rows));
  if (rocksdb_contenders().empty())
    tell({"the rows of RocksDB are left out; install librocksdb-dev and build again to have them"});
  return EXIT_SUCCESS;
}

}  // namespace sluice
