#include "tools/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "cache/unique_fd.h"

namespace sluice {

ServiceManager ServiceManager::from_environment() {
  const char* named = std::getenv("NOTIFY_SOCKET");
  std::string socket = named != nullptr ? named : "";
  ::unsetenv("NOTIFY_SOCKET");
  return ServiceManager(std::move(socket));
}

void ServiceManager::ready(std::string_view status) const {
  tell(fmt::format("READY=1\nSTATUS={}\n", status));
}

void ServiceManager::stopping(std::string_view status) const {
  tell(fmt::format("STOPPING=1\nSTATUS={}\n", status));
}

void ServiceManager::tell(const std::string& state) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool usable = socket_.size() > 1 && socket_.size() < sizeof(address.sun_path);
  if (!usable || (socket_[0] != '/' && socket_[0] != '@')) return;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';  // an abstract name
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return;
  // Nothing to be done when nobody hears it: systemd then says so itself.
  (void)::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
                 length);
}

}  // namespace sluice
