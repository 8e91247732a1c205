// A loop on a thread of its own, and sockets to play with. Tests wait for what loops do, never for time.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "cache/assert.h"
#include "net/event_loop.h"
#include "net/listener.h"

namespace sluice {

class LoopThread {
 public:
  explicit LoopThread(LoopBackend backend = LoopBackend::automatic, const Clock* clock = &system_clock())
      : loop_(std::move(*EventLoop::create({.backend = backend, .clock = clock}))), thread_([this] { loop_->run(); }) {}
  ~LoopThread() { stop(); }

  EventLoop& loop() { return *loop_; }

  // Runs it on the loop's thread and returns its result.
  template <typename Function>
  auto call(Function function) {
    std::packaged_task<decltype(function())()> task(std::move(function));
    auto result = task.get_future();
    loop_->post(std::move(task));
    return result.get();
  }
  // Turns the loop until `condition`, asked on its thread, is true.
  template <typename Condition>
  void until(Condition condition) {
    while (!call(condition)) std::this_thread::yield();
  }
  void stop() {
    if (!thread_.joinable()) return;
    loop_->stop();
    thread_.join();
  }

 private:
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

struct SocketPair {
  UniqueFd server;  // non-blocking
  UniqueFd client;  // blocking
};

inline SocketPair tcp_pair(int client_receive_buffer = 0) {
  ListenSockets listening = std::move(*listen_on(*parse_listen_address(":0"), 1));
  UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (client_receive_buffer > 0) {
    ::setsockopt(client.get(), SOL_SOCKET, SO_RCVBUF, &client_receive_buffer, sizeof client_receive_buffer);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(listening.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  UniqueFd server;
  while (!server) server.reset(::accept4(listening.sockets[0].get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  return {std::move(server), std::move(client)};
}

// Up to `length` bytes, fewer at the end of the stream.
inline std::string read_bytes(int fd, size_t length) {
  std::string bytes(length, '\0');
  size_t have = 0;
  while (have < length) {
    const ssize_t got = ::recv(fd, bytes.data() + have, length - have, 0);
    if (got <= 0) break;
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

}  // namespace sluice
