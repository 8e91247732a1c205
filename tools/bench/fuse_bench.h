// The benchmark of the mount: warm reads that the kernel cannot answer, through `sluice mount` and through the bare
// daemon of memory_fs.h, which is the ceiling.
//
//   random-4k         one reader, one request at a time; reader and daemon on processors of their own
//   random-4k-shared  the same on one processor, which saves waking another one up
//   random-4k-deep    32 requests at a time, by O_DIRECT and io_uring
//   sequential-1m     one reader, 1 MiB at a time
//
// Both are measured in rounds, one after the other in each: what else the machine does hits both. A ratio is the median
// of the rounds' ratios. The processors of both daemons are the same in a row.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/complaint.h"

namespace sluice {

struct FuseBenchOptions {
  std::string filter;  // a regular expression (POSIX extended) for names of rows
  double seconds = 1;  // for each row
};

struct FuseBenchSide {
  double reads_per_second = 0;  // medians of the rounds
  double cpu_us_per_read = 0;   // of the daemon
  double megabytes_per_second = 0;
};

struct FuseBenchRow {
  std::string workload;
  FuseBenchSide sluice;
  FuseBenchSide ceiling;
  double ratio = 0;  // of reads per second: Sluice over the ceiling
};

// Needs /dev/fuse and 300 MB in $TMPDIR (default /var/tmp), which go again whatever happens. Not thread-safe: takes
// over SIGINT and SIGTERM meanwhile.
Checked<std::vector<FuseBenchRow>> run_fuse_bench(const FuseBenchOptions& options);

std::string fuse_bench_table(const std::vector<FuseBenchRow>& rows);
nlohmann::ordered_json fuse_bench_json(const std::vector<FuseBenchRow>& rows);

}  // namespace sluice
