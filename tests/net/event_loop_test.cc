#include "net/event_loop.h"

#include <fcntl.h>

#include <condition_variable>
#include <future>
#include <mutex>

#include "tests/net/loop_thread.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

namespace sluice {
namespace {

const LoopBackend kBackends[] = {LoopBackend::ring, LoopBackend::epoll};

// Remembers what the loop told it; the test's thread waits for it.
class Recorder final : public SocketHandler {
 public:
  void on_received(std::string_view bytes) override {
    const std::lock_guard lock(mutex_);
    received_ += bytes;
    changed_.notify_all();
  }
  void on_receive_end(int error) override {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    error_ = error;
    changed_.notify_all();
  }
  void on_writable() override {
    const std::lock_guard lock(mutex_);
    ++writable_;
    changed_.notify_all();
  }

  std::string wait_bytes(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return received_.size() >= count; });
    return received_;
  }
  int wait_end() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
    return error_;
  }
  void wait_writable(int times) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return writable_ >= times; });
  }
  int writable() {
    const std::lock_guard lock(mutex_);
    return writable_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string received_;
  bool ended_ = false;
  int error_ = 0;
  int writable_ = 0;
};

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    REQUIRE(sent > 0);
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

TEST_CASE("event loop: posted tasks run in order on the loop's thread", "[net][event_loop]") {
  for (const LoopBackend backend : kBackends) {
    LoopThread thread(backend);
    INFO(thread.loop().name());
    std::vector<int> order;
    for (int i = 0; i < 1000; ++i) {
      thread.loop().post([&order, &thread, i] {
        if (thread.loop().in_thread()) order.push_back(i);
      });
    }
    thread.call([] {});
    REQUIRE(order.size() == 1000);
    CHECK(std::is_sorted(order.begin(), order.end()));
    CHECK_FALSE(thread.loop().in_thread());
  }
}

TEST_CASE("event loop: a socket's bytes arrive whole and in order, then its end", "[net][event_loop]") {
  for (const LoopBackend backend : kBackends) {
    LoopThread thread(backend);
    INFO(thread.loop().name());
    SocketPair pair = tcp_pair();
    Recorder recorder;
    const SocketId id = thread.call([&] {
      const SocketId added = thread.loop().add(pair.server.get(), &recorder);
      thread.loop().start(added);
      return added;
    });
    std::string sent;
    for (int i = 0; sent.size() < (4 << 20); ++i) sent += std::to_string(i) + " ";  // more than all the loop's buffers
    write_all(pair.client.get(), sent);
    CHECK(recorder.wait_bytes(sent.size()) == sent);
    pair.client.reset();
    CHECK(recorder.wait_end() == 0);
    thread.call([&] { thread.loop().remove(id); });
  }
}

TEST_CASE("event loop: a paused socket keeps its bytes until it is started again", "[net][event_loop]") {
  for (const LoopBackend backend : kBackends) {
    LoopThread thread(backend);
    INFO(thread.loop().name());
    SocketPair pair = tcp_pair();
    Recorder recorder;
    const SocketId id = thread.call([&] {
      const SocketId added = thread.loop().add(pair.server.get(), &recorder);
      thread.loop().start(added);
      return added;
    });
    write_all(pair.client.get(), "before");
    recorder.wait_bytes(6);
    thread.call([&] { thread.loop().pause(id); });
    thread.call([&] {
      thread.loop().start(id);  // before the pause had to reach the kernel
      thread.loop().pause(id);
      thread.loop().start(id);
    });
    write_all(pair.client.get(), "after");
    CHECK(recorder.wait_bytes(11) == "beforeafter");
    thread.call([&] { thread.loop().remove(id); });
  }
}

// Sends until the socket takes no more. Returns how many bytes it took.
size_t fill(int socket) {
  const std::string chunk(64 << 10, 'x');
  size_t filled = 0;
  while (true) {
    const ssize_t sent = ::send(socket, chunk.data(), chunk.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return filled;
    filled += static_cast<size_t>(sent);
  }
}

TEST_CASE("event loop: a full socket is reported writable when its reader has made room", "[net][event_loop]") {
  for (const LoopBackend backend : kBackends) {
    LoopThread thread(backend);
    INFO(thread.loop().name());
    SocketPair pair = tcp_pair(4096);
    Recorder recorder;
    const size_t filled = fill(pair.server.get());
    const SocketId id = thread.call([&] {
      const SocketId added = thread.loop().add(pair.server.get(), &recorder);
      thread.loop().wait_writable(added);
      return added;
    });
    thread.call([] {});
    CHECK(recorder.writable() == 0);
    CHECK(read_bytes(pair.client.get(), filled).size() == filled);
    recorder.wait_writable(1);
    thread.call([&] { thread.loop().wait_writable(id); });
    recorder.wait_writable(2);
    thread.call([&] { thread.loop().remove(id); });
  }
}

TEST_CASE("event loop: a waiting writer is woken when the peer goes away", "[net][event_loop]") {
  for (const LoopBackend backend : kBackends) {
    LoopThread thread(backend);
    INFO(thread.loop().name());
    SocketPair pair = tcp_pair(4096);
    Recorder recorder;
    fill(pair.server.get());
    const SocketId id = thread.call([&] {
      const SocketId added = thread.loop().add(pair.server.get(), &recorder);
      thread.loop().wait_writable(added);
      return added;
    });
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(pair.client.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    pair.client.reset();
    recorder.wait_writable(1);
    thread.call([&] { thread.loop().remove(id); });
  }
}

TEST_CASE("event loop: a removed socket is heard of no more, and its place is used again", "[net][event_loop]") {
  for (const LoopBackend backend : kBackends) {
    LoopThread thread(backend);
    INFO(thread.loop().name());
    for (int round = 0; round < 50; ++round) {
      SocketPair pair = tcp_pair();
      auto recorder = std::make_unique<Recorder>();
      const SocketId id = thread.call([&] {
        const SocketId added = thread.loop().add(pair.server.get(), recorder.get());
        thread.loop().start(added);
        return added;
      });
      write_all(pair.client.get(), "late bytes");
      thread.call([&] {
        thread.loop().remove(id);
        recorder.reset();
        pair.server.reset();
      });
      CHECK(read_bytes(pair.client.get(), 1).empty());  // really closed: the loop let go of it
    }
  }
}

// A request that names a socket by its number may still wait to be submitted when the socket goes.
TEST_CASE("event loop: a send that waits when its socket is removed never reaches the next one of that number",
          "[net][event_loop]") {
  LoopThread thread;
  if (!thread.loop().can_send_zerocopy()) return;
  SocketPair first = tcp_pair();
  SocketPair second = tcp_pair();
  Recorder recorder;
  std::string bytes = "for the first client only";
  std::promise<void> released;
  thread.call([&] {
    const SocketId id = thread.loop().add(first.server.get(), &recorder);
    auto send = std::make_unique<ZeroCopySend>();
    send->iovecs = {{bytes.data(), bytes.size()}};
    send->sent = [](Result<size_t>) {};
    send->released = [&](size_t) { released.set_value(); };
    thread.loop().send_zerocopy(id, std::move(send));
    thread.loop().remove(id);
    ::dup2(second.server.get(), first.server.get());
  });
  released.get_future().get();
  char got = 0;
  CHECK(::recv(second.client.get(), &got, 1, MSG_DONTWAIT) == -1);
  CHECK(read_bytes(first.client.get(), bytes.size()) == bytes);
}

TEST_CASE("event loop: timers run in the order of their times, cancelled ones never", "[net][event_loop]") {
  for (const LoopBackend backend : kBackends) {
    ManualClock clock;
    LoopThread thread(backend, &clock);
    INFO(thread.loop().name());
    std::vector<int> order;
    thread.call([&] {
      EventLoop& loop = thread.loop();
      loop.call_after(std::chrono::seconds(3), [&] { order.push_back(3); });
      loop.call_after(std::chrono::seconds(1), [&] {
        order.push_back(1);
        loop.call_after(std::chrono::seconds(4), [&] { order.push_back(5); });
      });
      loop.cancel(loop.call_after(std::chrono::seconds(2), [&] { order.push_back(2); }));
    });
    thread.call([] {});
    CHECK(order.empty());
    clock.advance(std::chrono::seconds(1));
    thread.call([] {});
    thread.call([] {});
    CHECK(order == std::vector<int>{1});
    clock.advance(std::chrono::seconds(10));
    thread.call([] {});
    thread.call([] {});
    CHECK(order == std::vector<int>{1, 3, 5});
  }
}

TEST_CASE("event loop: ends only when nothing holds it any more", "[net][event_loop]") {
  for (const LoopBackend backend : kBackends) {
    LoopThread thread(backend);
    INFO(thread.loop().name());
    thread.call([&] { thread.loop().hold(); });
    thread.loop().stop();
    bool late = false;
    thread.call([&] { late = true; });  // would hang if the loop had ended
    CHECK(late);
    thread.loop().post([&] { thread.loop().unhold(); });
    thread.stop();
  }
}

TEST_CASE("listener: accepts on its loop, and the port is free when the loop has ended", "[net][listener]") {
  for (const LoopBackend backend : kBackends) {
    uint16_t port = 0;
    for (int round = 0; round < 20; ++round) {
      const std::string address = ":" + std::to_string(port);
      Result<ListenSockets> listening = listen_on(*parse_listen_address(address), 1);
      REQUIRE(listening);
      port = listening->port;
      LoopThread thread(backend);
      INFO(thread.loop().name());
      std::promise<UniqueFd> accepted;
      std::unique_ptr<Listener> listener;
      thread.call([&] {
        listener = std::make_unique<Listener>(&thread.loop(), std::move(listening->sockets[0]),
                                              [&](UniqueFd socket) { accepted.set_value(std::move(socket)); });
        listener->open();
      });
      const UniqueFd client(::socket(AF_INET, SOCK_STREAM, 0));
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
      const UniqueFd socket = accepted.get_future().get();
      CHECK((::fcntl(socket.get(), F_GETFL) & O_NONBLOCK) != 0);
      thread.call([&] { listener->close(); });
      thread.stop();
      // The client closes last, so that no TIME_WAIT is on our side.
    }
  }
}

TEST_CASE("listener: a port that is taken is refused, also by a gateway like us", "[net][listener]") {
  const Result<ListenSockets> first = listen_on(*parse_listen_address(":0"), 2);
  REQUIRE(first);
  CHECK(first->sockets.size() == 2);
  CHECK(first->port != 0);
  const Result<ListenSockets> second = listen_on(*parse_listen_address(":" + std::to_string(first->port)), 2);
  REQUIRE_FALSE(second);
  CHECK(second.error().number == EADDRINUSE);
}

TEST_CASE("listener: takes addresses as people write them", "[net][listener]") {
  const auto family = [](const char* text) { return parse_listen_address(text)->address.ss_family; };
  CHECK(family("0.0.0.0:8080") == AF_INET);
  CHECK(family("127.0.0.1:0") == AF_INET);
  CHECK(family("[::]:8080") == AF_INET6);
  CHECK(family("[::1]:80") == AF_INET6);
  const Result<ListenAddress> localhost = parse_listen_address("localhost:80");
  if (localhost) {
    const int family_of_localhost = localhost->address.ss_family;  // as the system likes
    CHECK((family_of_localhost == AF_INET || family_of_localhost == AF_INET6));
  } else {
    CHECK(localhost.error().number == ENXIO);  // there are machines without /etc/hosts
  }
  const ListenAddress loopback = *parse_listen_address(":8080");
  const auto& address = reinterpret_cast<const sockaddr_in&>(loopback.address);
  CHECK(ntohl(address.sin_addr.s_addr) == INADDR_LOOPBACK);
  CHECK(ntohs(address.sin_port) == 8080);
  for (const char* wrong : {"", "8080", "host", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "1.2.3.4:-1", "::1:80",
                            "[::1:80", "[]:80", "[::1]80"}) {
    INFO(wrong);
    REQUIRE_FALSE(parse_listen_address(wrong));
    CHECK(parse_listen_address(wrong).error().number == EINVAL);
  }
  CHECK(parse_listen_address("999.1.1.1:80").error().number == ENXIO);
}

}  // namespace
}  // namespace sluice
