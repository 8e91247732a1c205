#include "fs/fuse/device_io.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "cache/log.h"
#include "fs/fuse/context.h"

namespace sluice {

#ifdef SLUICE_PATCHES_INIT_REPLY

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kPayloadMin = 2 * kPage;  // the kernel's, whatever INIT says

// Not noexcept: libfuse ends its threads by pthread_cancel inside this read, which unwinds through here.
ssize_t read_message(int fd, void* buffer, size_t size, void* userdata) {
  const ssize_t bytes = ::read(fd, buffer, size);
  FuseContext& context = *static_cast<FuseContext*>(userdata);
  if (bytes <= 0) return bytes;
  if (!context.init_reply.is_done()) context.init_reply.observe_request(buffer, static_cast<size_t>(bytes));
  if (FuseRing* ring = context.ring_in_use()) ring->translate_interrupt(buffer, static_cast<size_t>(bytes));
  return bytes;
}

// Afterwards nothing more can be refused to us but the entries themselves; then the kernel falls back, too.
FuseRing* make_ring(FuseContext& context, const fuse_init_out& reply) {
  if (!context.options.io_uring || (context.init_reply.offered() & kInitOverIoUring) == 0) return nullptr;
  const size_t payload_max = std::max({kPayloadMin, size_t{reply.max_write}, size_t{reply.max_pages} * kPage});
  const RingWorkersOptions workers{.threads_max = context.options.threads_max,
                                   .threads_idle_max = context.options.threads_idle_max};
  auto ring = FuseRing::create({.payload_max_bytes = payload_max, .workers = workers}, context.session);
  if (!ring) {
    log(LogLevel::info, "requests over io_uring: {}; going on without", error_text(ring.error().number));
    return nullptr;
  }
  return context.use_ring(std::move(*ring));
}

ssize_t write_init_reply(int fd, iovec header, fuse_init_out reply, FuseContext& context) {
  FuseRing* ring = make_ring(context, reply);
  if (ring != nullptr) {
    reply.flags |= FUSE_INIT_EXT;
    reply.flags2 |= static_cast<uint32_t>(kInitOverIoUring >> 32);
  }
  iovec message[] = {header, {&reply, sizeof(reply)}};
  const ssize_t bytes = ::writev(fd, message, std::size(message));
  if (ring != nullptr && bytes > 0) ring->start();
  return bytes;
}

ssize_t write_message(int fd, iovec* parts, int count, void* userdata) {
  FuseContext& context = *static_cast<FuseContext*>(userdata);
  if (FuseRing* ring = context.ring_in_use()) {
    if (ring->reply(parts, count)) return reinterpret_cast<const fuse_out_header*>(parts[0].iov_base)->len;
    return ::writev(fd, parts, count);
  }
  InitReply& init = context.init_reply;
  if (init.is_done()) return ::writev(fd, parts, count);
  const auto corrected = init.correct_reply(parts, count);
  if (!corrected) return ::writev(fd, parts, count);
  return write_init_reply(fd, parts[0], *corrected, context);
}

}  // namespace

bool install_device_io(fuse_session* session) {
  fuse_custom_io io{};
  io.read = read_message;
  io.writev = write_message;
  return fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0;
}

#endif

}  // namespace sluice
