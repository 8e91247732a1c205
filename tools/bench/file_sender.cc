#include "tools/bench/file_sender.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iterator>
#include <utility>

#include "cache/unique_fd.h"

namespace sluice {

std::vector<SendWay> send_ways() {
  std::vector<SendWay> all;
  for (auto* ways : {buffered_ways, in_kernel_ways, direct_ways, zerocopy_ways, sluice_ways}) {
    std::vector<SendWay> some = ways();
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

Result<SentFigures> BlockingSender::send(const SenderSockets& sockets, Meter& meter) {
  if (sockets.warm_up >= 0) {
    TRY(transmit(sockets.warm_up));
    TRY(finish_stream(sockets.warm_up));
  }
  calls_ = copied_bytes_ = 0;
  meter.begin();
  const Result<void> sent = transmit(sockets.measured);
  meter.end();
  TRY(sent);
  TRY(finish_stream(sockets.measured));
  return SentFigures{.own_calls = calls_, .copied_bytes = copied_bytes_};
}

Result<void> BlockingSender::write_all(int socket, const char* bytes, uint64_t length) {
  while (length > 0) {
    const ssize_t written = counted(::write(socket, bytes, length));
    if (written < 0) return fail(errno);
    bytes += written;
    length -= static_cast<uint64_t>(written);
    copied(static_cast<uint64_t>(written));
  }
  return {};
}

Result<void> MappedSender::transmit(int socket) {
  void* const bytes = counted(::mmap(nullptr, size(), PROT_READ, MAP_SHARED, file_.get(), 0));
  if (bytes == MAP_FAILED) return fail(errno);
  const Result<void> sent = transmit_mapped(socket, static_cast<const char*>(bytes));
  counted(::munmap(bytes, size()));
  return sent;
}

Result<void> finish_stream(int socket) {
  if (::shutdown(socket, SHUT_WR) != 0) return fail(errno);
  char byte;
  pollfd readable{.fd = socket, .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, -1) < 0) return fail(errno);
  const ssize_t received = ::recv(socket, &byte, 1, 0);
  if (received < 0) return fail(errno);
  return received == 1 ? Result<void>() : fail(EPIPE);
}

Result<UniqueFd> open_sent_file(const SentFile& file, int flags) {
  UniqueFd fd(::open(file.path().c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (!fd) return fail(errno);
  return fd;
}

}  // namespace sluice
