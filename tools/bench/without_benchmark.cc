// Stands in where Google Benchmark was not there to build with.
#include "tools/bench/cache_bench.h"

namespace sluice {

Checked<std::vector<BenchRow>> run_cache_bench(const CacheBenchOptions&) {
  return complain("built without Google Benchmark; install libbenchmark-dev and build again");
}

}  // namespace sluice
