#include "cache/disk.h"

#include "cache/log.h"

namespace sluice {

std::unique_ptr<Disk> open_disk(const DiskOptions& options) {
  Result<std::unique_ptr<Disk>> ring_disk = open_ring_disk(options);
  if (ring_disk) return std::move(*ring_disk);
  log(LogLevel::warning, "io_uring is not available ({}): reading the disk with up to {} threads",
      error_text(ring_disk.error().number), options.threads_max);
  return open_thread_disk(options);
}

}  // namespace sluice
