#include "fs/fuse/device_io.h"

#include <unistd.h>

#include <iterator>

#include "fs/fuse/context.h"

namespace sluice {

#ifdef SLUICE_PATCHES_INIT_REPLY

namespace {

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

}  // namespace

bool install_device_io(fuse_session* session) {
  fuse_custom_io io{};
  io.read = read_message;
  io.writev = write_message;
  return fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0;
}

#endif

}  // namespace sluice
