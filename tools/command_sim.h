// `sluice sim [--policy P[,P...]] --cache-blocks N[,N...] [--cache-bytes SIZE[,SIZE...]] [--format F] [--json] TRACE`.
#pragma once

#include "tools/command_line.h"

namespace sluice {
int run_sim(const CommandLine& line);  // the exit code
}  // namespace sluice
