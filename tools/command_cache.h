// `sluice cache warm|pin|unpin|evict PATH...`, `sluice cache drop [TARGET]`.
#pragma once

#include "tools/command_line.h"

namespace sluice {
int run_cache(const CommandLine& line);  // the exit code
}  // namespace sluice
