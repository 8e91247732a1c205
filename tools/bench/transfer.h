// A transfer: one process sends the file, another one receives it over TCP on the loopback device, so that what each
// uses can be told apart. The receiver makes a digest of what it gets, which must be that of the file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tools/bench/file_sender.h"
#include "tools/bench/methods_report.h"
#include "tools/complaint.h"

namespace sluice {

struct TransferPlan {
  SentFile file;
  uint64_t digest = 0;  // XXH3 of the file, 64 bits
  bool warm = false;    // send it once before
  CallCounting counting = CallCounting::perf;
};

struct Transfer {
  std::string refused;  // not empty: the system does not let it run
  std::optional<uint64_t> calls = {};
  SentFigures sent = {};
  Usage sender = {};
  double receiver_cpu_seconds = 0;
  double seconds = 0;
};

// Forks; call before any thread exists. Complains when the bytes are not right or something fails on the way.
Checked<Transfer> run_transfer(const SendWay& way, const TransferPlan& plan);

}  // namespace sluice
