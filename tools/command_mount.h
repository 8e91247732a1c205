// `sluice mount [OPTIONS] SOURCE MOUNTPOINT`.
#pragma once

#include "tools/command_line.h"

namespace sluice {
int run_mount(const CommandLine& line);  // the exit code
}  // namespace sluice
