#include "tools/bench/receiver.h"

#include <sys/socket.h>
#include <xxhash.h>

#include <cerrno>
#include <memory>

#include "tools/bench/meter.h"
#include "tools/bench/work_folder.h"

namespace sluice {
namespace {

constexpr size_t kBufferSize = 256 << 10;  // what was copied is still in the processor's cache when it is looked at

}  // namespace

Result<Received> receive(int socket) {
  const AlignedBuffer buffer(kBufferSize);
  const std::unique_ptr<XXH3_state_t, decltype(&::XXH3_freeState)> digest(::XXH3_createState(), ::XXH3_freeState);
  ::XXH3_64bits_reset(digest.get());
  Received received;
  const double cpu_before = process_usage().cpu_seconds;
  while (true) {
    const ssize_t got = ::recv(socket, buffer.get(), kBufferSize, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno);
    if (got == 0) break;
    ::XXH3_64bits_update(digest.get(), buffer.get(), static_cast<size_t>(got));
    received.bytes += static_cast<uint64_t>(got);
    received.ended = steady_seconds();
  }
  received.cpu_seconds = process_usage().cpu_seconds - cpu_before;
  received.digest = ::XXH3_64bits_digest(digest.get());
  if (::send(socket, "", 1, MSG_NOSIGNAL) != 1) return fail(errno);
  return received;
}

}  // namespace sluice
