// Replies that the thread sends which made them: whole, whatever the socket takes at once and the loop sends meanwhile.
#include "net/nfs/direct_replies.h"

#include <sys/socket.h>

#include <string>

#include "cache/assert.h"
#include "cache/unique_fd.h"
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
  UniqueFd server;
  UniqueFd client;
};

using Outcome = DirectReplies::Outcome;

}  // namespace

TEST_CASE("direct replies: only while the socket is on offer", "[net][nfs]") {
  Pair pair;
  DirectReplies replies;
  CHECK(replies.try_send("early") == Outcome::refused);
  replies.offer(pair.server.get());
  CHECK(replies.try_send("one") == Outcome::sent);
  CHECK(replies.try_send("two") == Outcome::sent);
  CHECK(replies.revoke().empty());
  CHECK(replies.try_send("late") == Outcome::refused);
  CHECK(pair.taken() == "onetwo");
}

TEST_CASE("direct replies: the rest of what a full socket took in part comes first", "[net][nfs]") {
  Pair pair;
  DirectReplies replies;
  replies.offer(pair.server.get());
  const std::string large(8 << 20, 'x');
  CHECK(replies.try_send(large) == Outcome::begun);
  CHECK(replies.try_send("next") == Outcome::refused);
  const std::string rest = replies.revoke();
  CHECK(!rest.empty());
  CHECK(replies.revoke().empty());
  CHECK(pair.taken().size() + rest.size() == large.size());
}

TEST_CASE("direct replies: a socket that takes nothing, or is closed, leaves the reply to the loop", "[net][nfs]") {
  Pair pair;
  DirectReplies replies;
  const std::string large(8 << 20, 'x');
  replies.offer(pair.server.get());
  CHECK(replies.try_send(large) == Outcome::begun);
  replies.revoke();
  replies.offer(pair.server.get());
  CHECK(replies.try_send("more") == Outcome::refused);
  pair.client.reset();
  replies.offer(pair.server.get());
  CHECK(replies.try_send("more") == Outcome::refused);
  CHECK(replies.revoke().empty());
}

}  // namespace sluice
