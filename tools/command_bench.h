// `sluice bench [OPTIONS] cache|fuse|methods|nfs URL`.
#pragma once

#include "tools/command_line.h"

namespace sluice {
int run_bench(const CommandLine& line);  // the exit code
}  // namespace sluice
