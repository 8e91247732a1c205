// `sluice status [--json] [--watch] [TARGET]`.
#pragma once

#include "tools/command_line.h"

namespace sluice {
int run_status(const CommandLine& line);  // the exit code
}  // namespace sluice
