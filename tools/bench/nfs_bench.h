// The load of `sluice bench nfs`: one client of any NFSv3 server, on one connection, that keeps so many calls under way
// and looks at each reply's status and size, not at the bytes.
//
// A URL that names a file is read:
//   read-sequential   1 MiB, 8 at a time, from the first to the last and again
//   read-random       4 KiB, 32 at a time
//   getattr           32 at a time
// One that names a directory is listed, and a file in it, made for the rows that write and then removed, is written:
//   listing           READDIRPLUS in replies of up to 64 KiB, one at a time; an operation is an entry
//   write-sequential  1 MiB UNSTABLE, 4 at a time, and one COMMIT in the end
//   write-sync        4 KiB FILE_SYNC, one at a time
#pragma once

#include <stdint.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/complaint.h"

namespace sluice {

struct NfsUrl {
  std::string address;
  uint16_t port = 2049;
  uint16_t mount_port = 0;  // of the MOUNT service
  std::string path;         // below the export "/"
};

// nfs://ADDRESS[:PORT]/PATH[?mountport=PORT], the address in digits. MOUNT is at the same port unless it is said.
Checked<NfsUrl> parse_nfs_url(const std::string& text);

struct NfsBenchOptions {
  NfsUrl url;
  std::string filter;  // a regular expression (POSIX extended) for names of rows
  double seconds = 1;  // for each row
};

struct NfsBenchRow {
  std::string workload;
  double seconds = 0;
  uint64_t operations = 0;
  uint64_t bytes = 0;
  double client_cpu_seconds = 0;
  double p50_us = 0;  // from a call to its reply
  double p99_us = 0;
};

// Calls as the user who runs it. Complains about the first reply that is not what was asked for.
Checked<std::vector<NfsBenchRow>> run_nfs_bench(const NfsBenchOptions& options);

std::string nfs_bench_table(const std::vector<NfsBenchRow>& rows);
nlohmann::ordered_json nfs_bench_json(const std::vector<NfsBenchRow>& rows);

}  // namespace sluice
