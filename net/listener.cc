#include "net/listener.h"

#include <netdb.h>
#include <netinet/in.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "cache/log.h"

namespace sluice {
namespace {

constexpr int kBacklog = 1024;
constexpr std::chrono::milliseconds kRetryDelay{100};

uint16_t& port_of(sockaddr_storage& address) {
  return address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                       : reinterpret_cast<sockaddr_in&>(address).sin_port;
}

bool is_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size();
}

Result<ListenAddress> resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return fail(ENXIO);
  const addrinfo* chosen = found;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET) {
      chosen = one;
      break;
    }
  }
  ListenAddress result;
  std::memcpy(&result.address, chosen->ai_addr, chosen->ai_addrlen);
  result.length = chosen->ai_addrlen;
  ::freeaddrinfo(found);
  return result;
}

// SO_REUSEPORT on every socket would let a second gateway of the same user share the port in silence. So the first
// binds without it, which fails if anybody has the port, and joins the group before it listens.
Result<UniqueFd> listen_one(const ListenAddress& address, bool first) {
  UniqueFd socket(::socket(address.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return fail(errno);
  const int on = 1;
  const int off = 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.address.ss_family == AF_INET6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (!first) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.address), address.length) != 0) {
    return fail(errno);
  }
  if (first) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (::listen(socket.get(), kBacklog) != 0) return fail(errno);
  return socket;
}

}  // namespace

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(EINVAL);
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (!is_port(port)) return fail(EINVAL);
  if (host.empty()) {
    host = "127.0.0.1";
  } else if (host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return fail(EINVAL);
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return fail(EINVAL);  // an IPv6 address without brackets
  }
  return resolve(std::string(host), std::string(port));
}

Result<ListenSockets> listen_on(const ListenAddress& address, unsigned count) {
  ListenSockets result;
  ListenAddress bound = address;
  for (unsigned i = 0; i < count; ++i) {
    result.sockets.push_back(TRY(listen_one(bound, i == 0)));
    if (i > 0) continue;
    sockaddr_storage actual{};
    socklen_t length = sizeof actual;
    if (::getsockname(result.sockets[0].get(), reinterpret_cast<sockaddr*>(&actual), &length) != 0) return fail(errno);
    port_of(bound.address) = port_of(actual);
    result.port = ntohs(port_of(actual));
  }
  return result;
}

void Listener::open() {
  id_ = loop_->add_listener(socket_.get(), this);
  open_ = true;
  loop_->start(id_);
}

void Listener::pause() {
  paused_ = true;
  if (open_) loop_->pause(id_);
}

void Listener::resume() {
  paused_ = false;
  if (open_) loop_->start(id_);
}

void Listener::close() {
  if (!std::exchange(open_, false)) return;
  loop_->cancel(retry_);
  loop_->remove(id_);
  socket_.reset();
}

void Listener::on_accepted(UniqueFd socket) {
  failing_ = false;
  on_connection_(std::move(socket));
}

void Listener::on_accept_failed(int error) {
  if (!std::exchange(failing_, true)) log(LogLevel::warning, "cannot accept connections: {}", error_text(error));
  loop_->cancel(retry_);
  retry_ = loop_->call_after(kRetryDelay, [this] {
    if (open_ && !paused_) loop_->start(id_);
  });
}

}  // namespace sluice
