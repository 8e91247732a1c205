// `sluice help [COMMAND]` and `sluice version`.
#pragma once

#include "tools/command_line.h"

namespace sluice {
int run_help(const CommandLine& line);  // the exit code
int run_version();
}  // namespace sluice
