#include "tools/bench/loopback.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "cache/log.h"

namespace sluice {

Checked<LoopbackPair> connect_to_self() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  const UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  LoopbackPair pair{.sender = {}, .receiver = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))};
  if (listening && pair.receiver && ::bind(listening.get(), any, length) == 0 && ::listen(listening.get(), 1) == 0 &&
      ::getsockname(listening.get(), any, &length) == 0 && ::connect(pair.receiver.get(), any, length) == 0)
    pair.sender.reset(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!pair.sender) return complain("127.0.0.1: no connection to oneself: {}", error_text(errno));
  return pair;
}

}  // namespace sluice
