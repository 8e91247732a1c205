// FuseSession is one mount: libfuse's low-level API on top of a Store. The kernel keeps names and attributes for the
// timeouts below; the data of files it does not keep (FOPEN_DIRECT_IO), except for pages that are mapped.
//
//   auto session = FuseSession::mount(&store, options, &error_line);  // no threads yet
//   ... one thread waits for SIGTERM and calls (*session)->stop() ...
//   (*session)->run();                                              // until somebody unmounts, or stop()
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/result.h"
#include "fs/store/backing_health.h"
#include "fs/store/store.h"

namespace sluice {

struct FuseOptions {
  std::string mountpoint;    // an existing directory; relative paths are resolved once, in mount()
  std::string fsname;        // what df and mount show as the source
  bool allow_other = false;  // users other than the one who mounts; they need user_allow_other in /etc/fuse.conf
  bool read_only = false;
  // As libfuse has them: what the kernel is shown, and decides by, instead of the backing's owner, group and
  // permissions (all but `umask`). With any of them callers act on the backing as the gateway, and cannot set set-id
  // bits, unless root.
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<mode_t> umask;
  double entry_timeout = 1;             // seconds the kernel may keep a name,
  double attr_timeout = 1;              // attributes,
  double negative_timeout = 0;          // and the absence of a name
  uint64_t kernel_cache_max_bytes = 0;  // files up to this size are read through the kernel's page cache; 0: none
  uint32_t threads_max = 10;            // at most; each that has served a big write keeps a buffer of 1 MiB
  uint32_t threads_idle_max = 4;        // more than these end when they have nothing to do
  bool clone_fd = false;                // one device descriptor per thread
  bool io_uring = false;                // requests come over io_uring when the kernel offers that
  // Unmount when the daemon dies. Dangerous: after a crash the mountpoint looks empty, and backups and mirrors
  // propagate that as deletion. Without it a dead mount looks dead (ENOTCONN).
  bool auto_unmount = false;
  // What decides how long requests wait for the backing. Outlives the session.
  BackingHealth* health = nullptr;
  bool debug = false;                 // libfuse logs every message
  uint32_t notifications_max = 4096;  // invalidations that wait for the kernel; more are dropped, timeouts cover them
  // More options of mount.fuse3(8), one each, not escaped: "suid", "noexec", "noatime", "context=...". They come last,
  // so they override: libfuse mounts with nosuid and nodev, also for root.
  std::vector<std::string> extra;
};

inline bool shows_other_identity(const FuseOptions& options) {
  return options.uid || options.gid || options.umask;
}

// "libfuse 3.17.2 +tmpfile -statx": the library, and which of its later operations we were built with.
std::string libfuse_features();

struct FuseStats {
  uint64_t requests = 0;  // all of them; forgets count one per message
  uint64_t reads = 0;
  uint64_t read_bytes = 0;
  uint64_t writes = 0;
  uint64_t write_bytes = 0;
  uint64_t errors = 0;     // replies with an errno; ENOENT of a lookup is one
  uint64_t in_flight = 0;  // received, and somebody is at them
  uint64_t waiting = 0;    // not answered for longer than a moment
  uint64_t open_files = 0;
  uint64_t open_directories = 0;
  uint64_t invalidations = 0;           // asked of the kernel
  uint64_t invalidations_dropped = 0;   // the queue was full
  bool io_uring = false;                // requests come over io_uring,
  uint64_t io_uring_requests = 0;       // so many did,
  uint64_t io_uring_touched_bytes = 0;  // and this is the memory they keep
  bool direct_io = false;  // files bypass the kernel's cache; false before INIT, and for ever on Linux before 6.6
};

class FuseSession {
 public:
  // Mounts, by mount(2) or through fusermount3, with default_permissions. Starts no threads; the mount answers once
  // run() is running. `store` outlives the session. Takes over the store's on_outside_change.
  // Errors: those of the mountpoint (ENOENT, ENOTDIR, ENOTCONN: a dead mount is in the way), EINVAL for unknown
  // options, ENODEV without /dev/fuse, EPERM when the mount was refused. `error_line` says it in words.
  static Result<std::unique_ptr<FuseSession>> mount(Store* store, FuseOptions options, std::string* error_line);
  // Only after run() and stop() have returned. Unmounts if run() was never called.
  virtual ~FuseSession() = default;

  // Serves until the file system is unmounted or stop() is called. On return every request received was answered, and
  // what served it is through, and every file closed. Errors: those of reading the device.
  virtual Result<void> run() = 0;

  // Unmounts, and lets run() return. Files still open elsewhere do not prevent it: what is dirty in their mappings is
  // written, the mount is detached, they then see ENOTCONN. Blocks meanwhile. Any thread but those that serve.
  virtual void stop() = 0;

  // For a stop() that does not come to an end, because the backing hangs: detaches the mount and breaks the connection,
  // so that nobody waits for this process any more, which is to end now. Never blocks. Any thread.
  virtual void abandon() = 0;

  // Unmounts if nobody uses the mount (EBUSY); run() then returns by itself.
  virtual Result<void> unmount() = 0;

  virtual const std::string& mountpoint() const = 0;  // absolute
  virtual FuseStats stats() const = 0;
};

}  // namespace sluice
