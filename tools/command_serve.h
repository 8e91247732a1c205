// `sluice serve [OPTIONS] SOURCE`: the exports without the mount, in the foreground.
#pragma once

#include "tools/command_line.h"

namespace sluice {
int run_serve(const CommandLine& line);  // the exit code
}  // namespace sluice
