// What can be known to go wrong is looked for before anything starts, so that the complaint can name the thing and the
// remedy, and nothing needs to be taken back. Runs in the foreground process, before any thread exists.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tools/complaint.h"
#include "tools/mountinfo.h"
#include "tools/options.h"

namespace sluice {

// The directory's real path.
Checked<std::string> check_source(const std::string& path);

// The mountpoint as mountinfo will show it. It must be an empty directory on which nothing is mounted, or be `source`
// itself.
Checked<std::string> check_mountpoint(const std::string& path, const std::string& source,
                                      const std::vector<MountEntry>& mounts);

// That we may mount: /dev/fuse for root, fusermount3 for others.
Checked<> check_fuse(const Options& options);

// The files that the gateway writes by itself: each in a directory that is there, and not below the mountpoint (empty:
// no mount), where the mount would hide it.
Checked<> check_own_files(const Options& options, const std::string& mountpoint);

// That delayed writes leave room for what is read.
Checked<> check_dirty_max(const Options& options);

Checked<> check_memory(uint64_t cache_size_bytes);
// What a cache may grow to: the machine's memory. 0 where address space is not free: it would be taken from others, or
// from what the process may have.
uint64_t cache_size_max();

struct HttpUser {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};
// The named user (nobody without a name), who must not be root. Without root's rights: oneself.
Checked<HttpUser> check_http_user(const std::optional<std::string>& name);

}  // namespace sluice
