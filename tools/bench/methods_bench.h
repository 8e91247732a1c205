// The table that every article on zero-copy draws, measured: a file goes to a TCP client by each way of
// tools/bench/file_sender.h, cold and warm.
//
//   cold   nothing of the file is in the PageCache, nor in Sluice's cache
//   warm   the same sender sent it once before
//
// A row is the run of the median time of three. Rows are called METHOD/cold and METHOD/warm.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/bench/methods_report.h"
#include "tools/complaint.h"

namespace sluice {

struct MethodsBenchOptions {
  std::string filter;  // a regular expression (POSIX extended) for names of rows
  uint64_t size_bytes = uint64_t{320} << 20;
};

// Needs a file of this size in $TMPDIR (default /var/tmp), which goes again whatever happens, and somewhat more than as
// much memory. Call before any thread exists; takes over SIGINT and SIGTERM meanwhile.
Checked<std::vector<MethodRow>> run_methods_bench(const MethodsBenchOptions& options);

}  // namespace sluice
