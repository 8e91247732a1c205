// `sluice umount [--lazy] MOUNTPOINT`.
#pragma once

#include "tools/command_line.h"

namespace sluice {
int run_umount(const CommandLine& line);  // the exit code
}  // namespace sluice
