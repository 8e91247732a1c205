// The benchmark of caches, on Google Benchmark: every contender under the same workloads, at one thread and at two.
//
//   hit-zipf    pages that are all in the cache, the popular ones more often: Zipf, exponent 0.99, shuffled
//   hit-hot     one page, again and again
//   mixed       Zipf over four times what the cache holds
//   miss        a page that was never asked for, every time
//   p99-still   the 99th percentile of hit-zipf's hits, each timed by itself, the clock's own 20 to 40 ns included
//   p99-resize  ... while the cache goes to half its size and back all the time. Both for Sluice and one reader
//   compute     no cache: a multiplication that waits for the one before, to see what two threads can be on this
//   machine
//
// All run in a process of several threads, as a server is one: alone, a mutex of the C library needs no atomic
// operation.
//
// A row is the median of 15 repetitions, which take turns with those of all other rows in a random order: what else
// the machine does hits all alike.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/bench_report.h"
#include "tools/complaint.h"

namespace sluice {

struct CacheBenchOptions {
  std::string filter;  // a regular expression (POSIX extended); rows are called WORKLOAD/CACHE/THREADS
  double seconds = 1;  // for each row, its repetitions together
};

// Rows in a fixed order. Runs in the calling thread and ends with it; once at a time.
Checked<std::vector<BenchRow>> run_cache_bench(const CacheBenchOptions& options);

}  // namespace sluice
