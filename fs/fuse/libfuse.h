// The one place that includes libfuse's low-level API, and knows its versions: Debian 12 has 3.14, Debian 13 has 3.17,
// which widened the capabilities to 64 bits and gave them functions. Not here on purpose: syncfs of 3.19, which the
// kernel asks of servers with a block device only.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <cstdint>

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
#define SLUICE_HAS_TMPFILE
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
#define SLUICE_HAS_STATX
#endif

namespace sluice {

inline bool is_capable(const fuse_conn_info& connection, uint64_t capability) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  return (connection.capable_ext & capability) != 0;
#else
  return (connection.capable & capability) != 0;
#endif
}

// Asks for the capability if the kernel has it.
inline void want(fuse_conn_info& connection, uint64_t capability) {
  if (!is_capable(connection, capability)) return;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  fuse_set_feature_flag(&connection, capability);
#else
  connection.want |= static_cast<unsigned>(capability);
#endif
}

inline void do_not_want(fuse_conn_info& connection, uint64_t capability) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  fuse_unset_feature_flag(&connection, capability);
#else
  connection.want &= ~static_cast<unsigned>(capability);
#endif
}

}  // namespace sluice
