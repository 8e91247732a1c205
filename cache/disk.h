// Disk reads and writes open files asynchronously: io_uring where the system allows it, else a pool of threads behind
// the same interface. Requests on O_DIRECT descriptors must be page-aligned in offset, length and memory.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "cache/callback.h"
#include "cache/result.h"

namespace sluice {

enum class IoClass { demand, readahead };  // demand goes first when the depth is used up

struct DiskRequest {
  int fd = -1;                      // stays open until `done`
  uint64_t offset = 0;              // bytes
  std::vector<iovec> buffers = {};  // at most 1024; stay valid until `done`
  IoClass io_class = IoClass::demand;
  // The descriptor is not O_DIRECT: after the transfer drop the range from the PageCache (written back first when
  // it was a write).
  bool drop_behind = false;
  // Bytes transferred. Runs once, on the disk's completion thread (or inside the call when refused at once), no lock
  // held. A read is short only at the end of the file: short transfers before it are resumed, EINTR and EAGAIN retried.
  // A write is whole or an error; a write that stopped half-way (ENOSPC) reports its error.
  Callback<void(Result<size_t>)> done = {};
};

struct DiskStats {
  uint64_t read_bytes = 0;
  uint64_t written_bytes = 0;
  uint64_t reads = 0;
  uint64_t writes = 0;
  uint64_t errors = 0;
};

struct DiskOptions {
  uint32_t io_depth = 64;     // requests in flight; more wait in order, demand before readahead
  uint32_t threads_max = 16;  // of the fallback
};

class Disk {
 public:
  virtual ~Disk() = default;  // waits for every request in flight
  // Any thread. Never blocks on the disk.
  virtual void read(DiskRequest request) = 0;
  virtual void write(DiskRequest request) = 0;
  // The same by the caller's thread, which waits for it; `done` is not used. For what takes less time than to hand it
  // over: a small write into the PageCache.
  virtual Result<size_t> write_now(DiskRequest request) = 0;
  virtual DiskStats stats() const = 0;
  virtual std::string_view name() const = 0;  // "io_uring" or "threads"
};

// Errors: ENOSYS or EPERM where io_uring is refused (containers, kernel.io_uring_disabled).
Result<std::unique_ptr<Disk>> open_ring_disk(const DiskOptions& options);
std::unique_ptr<Disk> open_thread_disk(const DiskOptions& options);
// io_uring, or the threads with one warning.
std::unique_ptr<Disk> open_disk(const DiskOptions& options);

}  // namespace sluice
