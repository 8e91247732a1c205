// Replies that the thread sends which made them: whole, whatever the socket takes at once and the loop sends meanwhile.
// Calls that it receives: whole records, none of their bytes lost between it and the loop.
#include "net/nfs/direct_socket.h"

#include <sys/socket.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "cache/assert.h"
#include "cache/unique_fd.h"
#include "net/nfs/rpc.h"
#include "tests/support/catch.h"

namespace sluice {
namespace {

struct Pair {
  Pair() {
    int ends[2];
    ASSERT(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    server = UniqueFd(ends[0]);
    client = UniqueFd(ends[1]);
  }
  std::string taken() {
    std::string all;
    char bytes[65536];
    for (ssize_t got; (got = ::recv(client.get(), bytes, sizeof bytes, MSG_DONTWAIT)) > 0;)
      all.append(bytes, static_cast<size_t>(got));
    return all;
  }
  void say(std::string_view bytes) {
    ASSERT(::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  UniqueFd server;
  UniqueFd client;
};

using Outcome = DirectSocket::Outcome;

}  // namespace

TEST_CASE("direct socket: only while the socket is on offer", "[net][nfs]") {
  Pair pair;
  DirectSocket socket;
  CHECK(socket.try_send("early") == Outcome::refused);
  socket.offer_sending(pair.server.get());
  CHECK(socket.try_send("one") == Outcome::sent);
  CHECK(socket.try_send("two") == Outcome::sent);
  CHECK(socket.revoke_sending().empty());
  CHECK(socket.try_send("late") == Outcome::refused);
  CHECK(pair.taken() == "onetwo");
}

TEST_CASE("direct socket: the rest of what a full socket took in part comes first", "[net][nfs]") {
  Pair pair;
  DirectSocket socket;
  socket.offer_sending(pair.server.get());
  const std::string large(8 << 20, 'x');
  CHECK(socket.try_send(large) == Outcome::begun);
  CHECK(socket.try_send("next") == Outcome::refused);
  const std::string rest = socket.revoke_sending();
  CHECK(!rest.empty());
  CHECK(socket.revoke_sending().empty());
  CHECK(pair.taken().size() + rest.size() == large.size());
}

TEST_CASE("direct socket: a socket that takes nothing, or is closed, leaves the reply to the loop", "[net][nfs]") {
  Pair pair;
  DirectSocket socket;
  const std::string large(8 << 20, 'x');
  socket.offer_sending(pair.server.get());
  CHECK(socket.try_send(large) == Outcome::begun);
  socket.revoke_sending();
  socket.offer_sending(pair.server.get());
  CHECK(socket.try_send("more") == Outcome::refused);
  pair.client.reset();
  socket.offer_sending(pair.server.get());
  CHECK(socket.try_send("more") == Outcome::refused);
  CHECK(socket.revoke_sending().empty());
}

namespace {

std::string record_of(std::string_view body) {
  XdrWriter word;
  word.u32(kRpcLastFragment | static_cast<uint32_t>(body.size()));
  return word.take().append(body);
}

constexpr std::chrono::milliseconds kShort{5};
constexpr std::chrono::seconds kLong{60};
constexpr size_t kRecordMax = 1000;
constexpr auto kAny = [](std::string_view) { return true; };

}  // namespace

TEST_CASE("direct socket: records, one after another, whole", "[net][nfs]") {
  Pair pair;
  DirectSocket socket;
  pair.say(record_of("one"));
  CHECK(socket.receive(kShort, kRecordMax, kAny) == std::nullopt);
  socket.offer_receiving(pair.server.get());
  CHECK(socket.receive(kLong, kRecordMax, kAny) == "one");
  CHECK(socket.receive(kShort, kRecordMax, kAny) == std::nullopt);
  const std::string record = record_of("in pieces");
  std::thread slow([&] {
    for (const char byte : record) {
      pair.say({&byte, 1});
      std::this_thread::yield();
    }
  });
  CHECK(socket.receive(kLong, kRecordMax, kAny) == "in pieces");
  slow.join();
  CHECK(socket.records() == 2);
  CHECK(socket.revoke_receiving().empty());
}

TEST_CASE("direct socket: what is not one wanted record is the loop's, all of it", "[net][nfs]") {
  Pair pair;
  DirectSocket socket;
  const std::string said =
      GENERATE(as<std::string>(), record_of("one").substr(0, 2), record_of("one").substr(0, 6),
               record_of("one") + "\x80", record_of("one") + record_of("two"), std::string("\0\0\0\1x", 5),
               record_of(std::string(kRecordMax + 1, 'x')), record_of("unwanted"));
  pair.say(said);
  socket.offer_receiving(pair.server.get());
  const auto accept = [](std::string_view record) { return record != "unwanted"; };
  CHECK(socket.receive(kShort, kRecordMax, accept) == std::nullopt);
  CHECK(socket.records() == 0);
  CHECK(socket.revoke_receiving() == said);
  CHECK(socket.receive(kShort, kRecordMax, accept) == std::nullopt);
}

TEST_CASE("direct socket: the end of the input is the loop's to find, and a revoked offer ends the waiting",
          "[net][nfs]") {
  Pair pair;
  DirectSocket socket;
  socket.offer_receiving(pair.server.get());
  if (GENERATE(false, true)) {
    pair.client.reset();
    CHECK(socket.receive(kLong, kRecordMax, kAny) == std::nullopt);
  } else {
    std::thread loop([&] {
      socket.revoke_receiving();
      pair.say(record_of("for the loop"));
    });
    socket.receive(kLong, kRecordMax, kAny);  // None, or the record was there before: the loop has it otherwise.
    loop.join();
    CHECK(socket.receive(kLong, kRecordMax, kAny) == std::nullopt);
  }
}

}  // namespace sluice
