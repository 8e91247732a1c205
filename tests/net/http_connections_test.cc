// Who has a connection, for how long, and how it ends: deadlines and least rates, limits, draining.
#include <string>
#include <thread>
#include <vector>

#include "net/http/server.h"
#include "tests/net/fake_store.h"
#include "tests/net/http_client.h"
#include "tests/net/http_sample.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

namespace sluice {
namespace {

TEST_CASE("http server: slow heads, idle connections and clients that stop reading are ended", "[net][http]") {
  FakeStore store(24);
  sample_store(store);
  store.add("huge", {.size = 30 << 20});
  ManualClock clock;
  auto server = start(&store, {.threads = 1, .clock = &clock});
  const auto turn = [&] {  // the loop sees the new time when something happens
    Client other(server->port());
    CHECK(other.get("/a.txt", "Connection: close\r\n").status == 200);
  };
  Client slow(server->port());
  slow.write("GET /a.txt HT");
  Client silent(server->port());
  Client idle(server->port());
  CHECK(idle.get("/a.txt").status == 200);
  Client stuck(server->port(), 4096);
  stuck.write("GET /huge HTTP/1.1\r\nHost: h\r\n\r\n");
  while (server->stats().requests < 2) std::this_thread::yield();

  clock.advance(std::chrono::seconds(8));
  turn();
  slow.write("T");  // a byte now and then does not help
  turn();
  while (server->stats().connections_open > 4) std::this_thread::yield();  // the one of turn() goes
  CHECK(server->stats().connections_open == 4);
  clock.advance(std::chrono::seconds(3));
  turn();
  CHECK(slow.read().status == 408);
  CHECK(slow.ended());
  CHECK(silent.ended());
  CHECK(idle.get("/a.txt").status == 200);
  clock.advance(std::chrono::seconds(61));
  turn();
  CHECK_FALSE(stuck.read().whole);
  CHECK(idle.get("/a.txt").status == 200);
  clock.advance(std::chrono::seconds(76));
  turn();
  CHECK(idle.ended());
}

TEST_CASE("http server: a body must come at the least rate", "[net][http]") {
  FakeStore store;
  sample_store(store);
  ManualClock clock;
  auto server = start(&store, {.threads = 1, .min_rate_bytes = 10, .clock = &clock});
  const auto turn = [&] {
    Client other(server->port());
    CHECK(other.get("/a.txt", "Connection: close\r\n").status == 200);
  };
  Client sipping(server->port());
  sipping.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n");
  Client steady(server->port());
  steady.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n");
  Client answered(server->port());
  answered.write("GET /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
  CHECK(answered.read().status == 200);
  turn();
  for (int second = 0; second < 12; second += 4) {
    clock.advance(std::chrono::seconds(4));
    sipping.write("x");
    steady.write(std::string(64, 'x'));
    turn();
  }
  CHECK(sipping.read().status == 408);
  CHECK(sipping.ended());
  CHECK(answered.ended());
  steady.write(std::string(64, 'x') + "\r\n0\r\n\r\n");
  CHECK(steady.read().status == 200);
}

TEST_CASE("http server: an answer must be taken at the least rate, by every method", "[net][http]") {
  FakeStore store(48);
  sample_store(store);
  store.add("huge", {.size = 60 << 20});
  for (const SendMethod method : {SendMethod::copy, SendMethod::vmsplice, SendMethod::zerocopy}) {
    for (const uint64_t rate : {0U, 1000U, 1U << 20}) {
      CAPTURE(static_cast<int>(method), rate);
      ManualClock clock;
      auto server = start(&store, {.threads = 1, .send_method = method, .min_rate_bytes = rate, .clock = &clock});
      const auto turn = [&] {
        Client other(server->port());
        CHECK(other.get("/a.txt", "Connection: close\r\n").status == 200);
      };
      Client slow(server->port(), 1 << 20);
      slow.write("GET /huge HTTP/1.1\r\nHost: h\r\n\r\n");
      CHECK(slow.read_head().status == 200);
      // 3 MiB in each minute: more than a thousand bytes per second, less than a million.
      bool ended = false;
      for (int quarter = 0; quarter < 10 && !ended; ++quarter) {
        turn();
        clock.advance(std::chrono::seconds(16));
        turn();
        ended = slow.read_some(768 << 10) < 768 << 10;
      }
      CHECK(ended == (rate > 1000));
    }
  }
}

TEST_CASE("http server: when it is full the longest idle connection gives way", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store, {.threads = 1, .connections_max = 2});
  Client first(server->port());
  CHECK(first.get("/a.txt").status == 200);
  Client second(server->port());
  CHECK(second.get("/a.txt").status == 200);
  CHECK(server->stats().connections_displaced == 0);
  Client third(server->port());
  CHECK(third.get("/a.txt").status == 200);
  CHECK(first.ended());
  CHECK(second.get("/a.txt").status == 200);
  CHECK(server->stats().connections_displaced == 1);
}

TEST_CASE("http server: who waits while all are busy is let in when one becomes idle", "[net][http]") {
  for (const LoopBackend backend : {LoopBackend::ring, LoopBackend::epoll}) {
    FakeStore store;
    sample_store(store);
    auto server = start(&store, {.threads = 1, .connections_max = 2, .backend = backend});
    Client first(server->port());
    first.write("GET /a.txt HTTP/1.1\r\n");
    Client second(server->port());
    second.write("GET /a.txt HTTP/1.1\r\n");
    while (server->stats().connections_open < 2) std::this_thread::yield();
    Client third(server->port());
    third.write("GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n");
    second.write("Host: h\r\n\r\n");
    CHECK(second.read().status == 200);
    CHECK(third.read().status == 200);
    CHECK(second.ended());
    first.write("Host: h\r\n\r\n");
    CHECK(first.read().status == 200);
    CHECK(server->stats().connections_open == 2);
    CHECK(server->stats().connections_displaced == 1);
  }
}

TEST_CASE("http server: the limit is one for all threads, and an idle connection of any gives way", "[net][http]") {
  for (const LoopBackend backend : {LoopBackend::ring, LoopBackend::epoll}) {
    FakeStore store;
    sample_store(store);
    auto server = start(&store, {.threads = 3, .connections_max = 1, .backend = backend});
    std::vector<Client> clients;
    for (int i = 0; i < 20; ++i) {
      clients.emplace_back(server->port());
      CHECK(clients.back().get("/a.txt").status == 200);
    }
    CHECK(server->stats().connections_open == 1);
    CHECK(server->stats().connections_displaced == 19);
    Client busy(server->port());
    busy.write("GET /a.txt HTTP/1.1\r\n");
    while (server->stats().connections_accepted < 21) std::this_thread::yield();
    for (Client& client : clients) {
      client = Client(server->port());
      client.write("GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    busy.write("Host: h\r\n\r\n");
    CHECK(busy.read().status == 200);
    for (Client& client : clients) CHECK(client.read().status == 200);
    CHECK(server->stats().connections_open == 1);
    CHECK(server->stats().connections_displaced == 40);
    Client busy_again(server->port());
    busy_again.write("GET /a.txt HTTP/1.1\r\n");
    while (server->stats().connections_accepted < 42) std::this_thread::yield();
    Client waiting(server->port());
    server->stop(std::chrono::nanoseconds(0));
    CHECK(waiting.ended());
  }
}

TEST_CASE("http server: an address has its share of connections, and those not allowed have none", "[net][http]") {
  FakeStore store;
  sample_store(store);
  auto server = start(&store, {.threads = 1, .connections_per_address_max = 2});
  {
    Client first(server->port());
    CHECK(first.get("/a.txt").status == 200);
    Client second(server->port());
    CHECK(second.get("/a.txt").status == 200);
    Client third(server->port());
    Response refused = third.get("/a.txt");
    CHECK(refused.status == 503);
    CHECK(refused.whole);
    CHECK(refused.fields["Connection"] == "close");
    CHECK(refused.fields.contains("Retry-After"));
    CHECK(third.ended());
    CHECK(first.get("/a.txt").status == 200);
  }
  while (server->stats().connections_open > 0) std::this_thread::yield();
  CHECK(Client(server->port()).get("/a.txt").status == 200);
  CHECK(server->stats().connections_refused == 1);
  CHECK(server->stats().connections_accepted == 3);

  auto closed = start(&store, {.allowed = *AddressRanges::parse("192.0.2.0/24,::1")});
  Client denied(closed->port());
  CHECK(denied.get("/a.txt").status == 403);
  CHECK(denied.ended());
  CHECK(closed->stats().connections_denied == 1);
  CHECK(closed->stats().connections_open == 0);
  auto open = start(&store, {.allowed = *AddressRanges::parse("127.0.0.0/8")});
  CHECK(Client(open->port()).get("/a.txt").status == 200);
}

TEST_CASE("http server: stopping finishes replies, and at the end of its patience does not", "[net][http]") {
  for (const LoopBackend backend : {LoopBackend::ring, LoopBackend::epoll}) {
    FakeStore store(24);
    sample_store(store);
    store.add("huge", {.size = 30 << 20});
    auto server = start(&store, {.backend = backend});
    const uint16_t port = server->port();
    Client idle(port);
    CHECK(idle.get("/a.txt").status == 200);
    Client busy(port, 4096);
    busy.write("GET /huge HTTP/1.1\r\nHost: h\r\n\r\n");
    while (server->stats().requests < 2) std::this_thread::yield();
    std::thread stopper([&] { server->stop(std::chrono::hours(1)); });
    CHECK(idle.ended());
    const Response response = busy.read();
    CHECK(response.whole);
    CHECK(response.body == store.content("huge"));
    CHECK(busy.ended());
    stopper.join();
    CHECK_FALSE(Client(port).connected());

    auto impatient = start(&store, {.backend = backend});
    Client stuck(impatient->port(), 4096);
    stuck.write("GET /huge HTTP/1.1\r\nHost: h\r\n\r\n");
    while (impatient->stats().requests < 1) std::this_thread::yield();
    impatient->stop(std::chrono::nanoseconds(0));
    CHECK_FALSE(stuck.read().whole);
  }
}

TEST_CASE("http server: an address in use is refused", "[net][http]") {
  FakeStore store;
  auto server = start(&store);
  const auto second = HttpServer::start(&store, {.address = ":" + std::to_string(server->port())});
  REQUIRE_FALSE(second);
  CHECK(second.error().number == EADDRINUSE);
}

}  // namespace
}  // namespace sluice
