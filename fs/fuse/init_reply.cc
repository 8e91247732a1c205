#include "fs/fuse/init_reply.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "fs/fuse/context.h"

namespace sluice {
namespace {

constexpr uint64_t kAdded = kInitDirectIoAllowMmap | FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV;

#ifdef SLUICE_PATCHES_INIT_REPLY

// Not noexcept: libfuse ends its threads by pthread_cancel inside this read, which unwinds through here.
ssize_t read_message(int fd, void* buffer, size_t size, void* userdata) {
  const ssize_t bytes = ::read(fd, buffer, size);
  InitReply& init = static_cast<FuseContext*>(userdata)->init_reply;
  if (bytes > 0 && !init.is_done()) init.observe_request(buffer, static_cast<size_t>(bytes));
  return bytes;
}

ssize_t write_message(int fd, iovec* parts, int count, void* userdata) {
  InitReply& init = static_cast<FuseContext*>(userdata)->init_reply;
  if (init.is_done()) return ::writev(fd, parts, count);
  auto corrected = init.correct_reply(parts, count);
  if (!corrected) return ::writev(fd, parts, count);
  iovec message[] = {parts[0], {&*corrected, sizeof(*corrected)}};
  return ::writev(fd, message, std::size(message));
}

#endif

}  // namespace

void InitReply::observe_request(const void* message, size_t bytes) {
  fuse_in_header header;
  if (bytes < sizeof(header)) return;
  ::memcpy(&header, message, sizeof(header));
  if (header.opcode != FUSE_INIT) return;

  fuse_init_in request{};  // older kernels send less: no flags2
  ::memcpy(&request, static_cast<const char*>(message) + sizeof(header),
           std::min(bytes - sizeof(header), sizeof(request)));
  unique_ = header.unique;
  offered_ = request.flags;
  if (request.flags & FUSE_INIT_EXT) offered_ |= uint64_t{request.flags2} << 32;
}

std::optional<fuse_init_out> InitReply::correct_reply(const iovec* parts, int count) {
  fuse_out_header header;
  fuse_init_out reply;
  if (count != 2 || parts[0].iov_len != sizeof(header) || parts[1].iov_len != sizeof(reply)) return std::nullopt;
  ::memcpy(&header, parts[0].iov_base, sizeof(header));
  if (unique_ == 0 || header.unique != unique_ || header.error != 0) return std::nullopt;

  ::memcpy(&reply, parts[1].iov_base, sizeof(reply));
  const uint64_t flags = reply.flags | uint64_t{reply.flags2} << 32 | (kAdded & offered_);
  reply.flags = static_cast<uint32_t>(flags);
  reply.flags2 = static_cast<uint32_t>(flags >> 32);
  if (reply.flags2 != 0) reply.flags |= FUSE_INIT_EXT;
  done_.store(true, std::memory_order_release);
  return reply;
}

#ifdef SLUICE_PATCHES_INIT_REPLY
bool install_init_reply(fuse_session* session) {
  fuse_custom_io io{};
  io.read = read_message;
  io.writev = write_message;
  return fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0;
}
#endif

}  // namespace sluice
