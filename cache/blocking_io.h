// A disk request done by system calls of the calling thread.
#pragma once

#include "cache/disk.h"
#include "cache/transfer.h"

namespace sluice {

// All of it but `done`.
void run_blocking(Transfer& transfer);

// Disk::write_now.
Result<size_t> write_blocking(DiskRequest request, DiskCounters& counters);

}  // namespace sluice
