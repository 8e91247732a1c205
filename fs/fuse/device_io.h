// The messages of a session between libfuse and /dev/fuse, which pass through here: fuse_session_custom_io, installed
// after the mount with the session's own descriptor, calls our read and writev. The reply to INIT is corrected
// (init_reply.h), and replies to requests that came over a ring go back there (fuse_ring.h).
//
// Splicing is off with custom I/O; it never was faster (facts.md 5). clone_fd works: the callbacks get the thread's own
// descriptor. Cost: an indirect call.
#pragma once

#include "fs/fuse/init_reply.h"
#include "fs/fuse/libfuse.h"

namespace sluice {

#ifdef SLUICE_PATCHES_INIT_REPLY
// For a mounted session, whose userdata is its FuseContext. False when out of memory.
bool install_device_io(fuse_session* session);
#endif

}  // namespace sluice
