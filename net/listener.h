// Listening: one socket per loop thread on one address (SO_REUSEPORT), so that threads share nothing to accept.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/assert.h"
#include "cache/callback.h"
#include "cache/result.h"
#include "cache/unique_fd.h"
#include "net/event_loop.h"

namespace sluice {

struct ListenAddress {
  sockaddr_storage address{};
  socklen_t length = 0;
};

// "0.0.0.0:8080", "[::]:8080" (IPv4 too), "localhost:80", ":8080" (loopback only). Of a name with several addresses the
// IPv4 one is taken. Port 0: the system chooses. Errors: EINVAL (not of that form), ENXIO (unknown host name). May
// block on the resolver.
Result<ListenAddress> parse_listen_address(std::string_view text);

struct ListenSockets {
  std::vector<UniqueFd> sockets;  // `count` of them
  uint16_t port = 0;
};
// Errors: EADDRINUSE (also when the holder is another gateway of the same user), EADDRNOTAVAIL, EACCES.
Result<ListenSockets> listen_on(const ListenAddress& address, unsigned count);

// Accepts on one loop. Out of descriptors or memory it rests for 100 ms; what waits stays in the backlog.
class Listener final : private AcceptHandler {
 public:
  Listener(EventLoop* loop, UniqueFd socket, Callback<void(UniqueFd)> on_connection)
      : loop_(loop), socket_(std::move(socket)), on_connection_(std::move(on_connection)) {}
  ~Listener() { ASSERT(!open_); }

  void open();
  void pause();
  void resume();
  void close();  // before destruction

 private:
  void on_accepted(UniqueFd socket) override;
  void on_accept_failed(int error) override;

  EventLoop* const loop_;
  UniqueFd socket_;
  Callback<void(UniqueFd)> on_connection_;
  SocketId id_;
  bool open_ = false;
  bool paused_ = false;
  bool failing_ = false;
  TimerId retry_ = 0;
};

}  // namespace sluice
