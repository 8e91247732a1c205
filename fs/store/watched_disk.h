// A Disk that tells the BackingHealth what it waits for, and is refused what would only wait as well.
#pragma once

#include <memory>

#include "cache/disk.h"
#include "fs/store/backing_health.h"

namespace sluice {

// `health` outlives it. What is refused completes with ETIMEDOUT, inside the call.
std::unique_ptr<Disk> watch_disk(std::unique_ptr<Disk> disk, BackingHealth* health);

}  // namespace sluice
