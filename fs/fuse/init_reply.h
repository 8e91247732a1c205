// InitReply adds to the answer to FUSE_INIT what the kernel offers and libfuse before 3.17 cannot say.
//
// Data files are opened with FOPEN_DIRECT_IO, because our cache stands in for the PageCache. The kernel then
// refuses mmap(MAP_SHARED) with ENODEV (sqlite's WAL, git, databases) unless the daemon said
// FUSE_DIRECT_IO_ALLOW_MMAP in its INIT reply (Linux 6.6). libfuse has a capability for that since 3.17. The older
// ones:
//   - build the reply from a fixed list of flags, and the upper half (flags2) is always 0;
//   - negotiate PARALLEL_DIROPS and HANDLE_KILLPRIV with the file system, then forget to write them into the reply, so
//     that the kernel takes a lock per directory around every lookup.
// They do let us carry their bytes (device_io.h). We note the flags of the INIT request as it passes, and send a
// corrected copy of its reply:
//
//   kernel -> read    INIT 7.45, flags INIT_EXT|PARALLEL_DIROPS|..., flags2 DIRECT_IO_ALLOW_MMAP|...
//   libfuse -> writev  7.38, flags INIT_EXT|...,                 flags2 0
//   we -> kernel       7.38, flags INIT_EXT|PARALLEL_DIROPS|..., flags2 DIRECT_IO_ALLOW_MMAP
//
// Never a flag that the kernel did not offer. Cost afterwards: one atomic load per message.
#pragma once

#include <linux/fuse.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "fs/fuse/libfuse.h"

#ifndef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
#define SLUICE_PATCHES_INIT_REPLY
#endif

namespace sluice {

inline constexpr uint64_t kInitDirectIoAllowMmap = uint64_t{1} << 36;  // FUSE_DIRECT_IO_ALLOW_MMAP of later headers

class InitReply {
 public:
  // A message from the kernel. Notes what INIT offers, ignores the rest.
  void observe_request(const void* message, size_t bytes);
  // The flags of the last INIT request, 0 before.
  uint64_t offered() const { return offered_; }
  // A message to the kernel, header first. The corrected body if it is the reply to INIT, once.
  std::optional<fuse_init_out> correct_reply(const iovec* parts, int count);
  // INIT was answered: nothing more to see.
  bool is_done() const { return done_.load(std::memory_order_acquire); }

 private:
  // Written by the thread that serves INIT; the kernel sends nothing else before it has the reply.
  uint64_t unique_ = 0;
  uint64_t offered_ = 0;
  std::atomic<bool> done_{false};
};

}  // namespace sluice
