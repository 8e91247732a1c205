// Numbers of NFS version 3 and MOUNT version 3 (RFC 1813).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string_view>

#include <tl/expected.hpp>

#include "fs/store/store.h"
#include "fs/store/types.h"
#include "net/nfs/xdr.h"

namespace sluice {

inline constexpr uint32_t kNfsProgram = 100003;
inline constexpr uint32_t kMountProgram = 100005;
inline constexpr uint32_t kNfsVersion = 3;
inline constexpr uint32_t kMountVersion = 3;

enum class NfsProcedure : uint32_t {
  null = 0,
  getattr,
  setattr,
  lookup,
  access,
  readlink,
  read,
  write,
  create,
  mkdir,
  symlink,
  mknod,
  remove,
  rmdir,
  rename,
  link,
  readdir,
  readdirplus,
  fsstat,
  fsinfo,
  pathconf,
  commit,
};
inline constexpr uint32_t kNfsProcedures = 22;

enum class MountProcedure : uint32_t { null = 0, mount, dump, unmount, unmount_all, exports };
inline constexpr uint32_t kMountProcedures = 6;

enum class NfsStatus : uint32_t {
  ok = 0,
  perm = 1,
  noent = 2,
  io = 5,
  nxio = 6,
  acces = 13,
  exist = 17,
  xdev = 18,
  nodev = 19,
  notdir = 20,
  isdir = 21,
  inval = 22,
  fbig = 27,
  nospc = 28,
  rofs = 30,
  mlink = 31,
  nametoolong = 63,
  notempty = 66,
  dquot = 69,
  stale = 70,
  remote = 71,
  badhandle = 10001,
  not_sync = 10002,
  bad_cookie = 10003,
  notsupp = 10004,
  toosmall = 10005,
  serverfault = 10006,
  badtype = 10007,
  jukebox = 10008,
};

template <typename T = void>
using NfsResult = tl::expected<T, NfsStatus>;
inline tl::unexpected<NfsStatus> nfs_fail(NfsStatus status) {
  return tl::unexpected<NfsStatus>(status);
}
NfsStatus nfs_status_of(int error);  // of an errno from the store

inline constexpr size_t kNfsHandleMax = 64;
inline constexpr size_t kNfsVerifierSize = 8;
inline constexpr uint32_t kNfsTransferMax = 1 << 20;  // of READ and WRITE
inline constexpr size_t kNfsNameMax = 64 << 10;       // decoded, to be refused by the store, which allows 255
inline constexpr size_t kNfsPathMax = 4096;           // targets of symbolic links
inline constexpr size_t kMountPathMax = 1024;

// Attributes as fattr3, which takes so many bytes. `fsid` names the export.
inline constexpr size_t kNfsAttributesSize = 84;
void write_attributes(XdrWriter& reply, const struct stat& attributes, uint64_t fsid);
// Nothing is said of a file that has no name any more.
void write_post_attributes(XdrWriter& reply, const std::optional<struct stat>& attributes, uint64_t fsid);
void write_wcc(XdrWriter& reply, const Observed& observed, uint64_t fsid);
// What failed before anything was known of the file: each procedure has a form of its own.
void write_failure(XdrWriter& reply, NfsProcedure procedure, NfsStatus status);

// sattr3
SetAttributes read_set_attributes(XdrReader& arguments);

struct timespec read_time(XdrReader& arguments);

}  // namespace sluice
