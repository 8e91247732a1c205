// How many descriptors the process may have open: its RLIMIT_NOFILE.
#pragma once

#include <cstdint>

namespace sluice {

// Takes all that is allowed: the lower limit that a process starts with is for programs that use select(2). Once,
// before the first thread.
void raise_descriptor_limit();

uint64_t descriptor_limit();

}  // namespace sluice
