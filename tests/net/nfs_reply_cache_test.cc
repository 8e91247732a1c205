#include "net/nfs/reply_cache.h"

#include <vector>

#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

namespace sluice {
namespace {

using Key = ReplyCache::Key;
constexpr std::chrono::seconds kLifetime{60};

struct Fixture {
  ManualClock clock;
  ReplyCache cache{4, kLifetime, &clock};
  std::vector<std::string> sent;

  bool begin(const Key& key, const std::string& who = "") {
    ReplyCache::Send send([this, who](const std::string& reply) { sent.push_back(who + reply); });
    return cache.begin(key, std::move(send));
  }
};

TEST_CASE("reply cache: a call that comes again gets the first one's reply", "[net][nfs]") {
  Fixture fixture;
  const Key key{.client = {}, .xid = 1, .procedure = 12, .call_hash = 7};
  REQUIRE(fixture.begin(key));
  fixture.cache.answered(key, "removed");
  CHECK_FALSE(fixture.begin(key));
  CHECK(fixture.sent == std::vector<std::string>{"removed", "removed"});
  CHECK(fixture.cache.hits() == 1);
}

TEST_CASE("reply cache: calls that differ in anything are different ones", "[net][nfs]") {
  Fixture fixture;
  const Key key{.client = {}, .xid = 1, .procedure = 12, .call_hash = 7};
  REQUIRE(fixture.begin(key));
  fixture.cache.answered(key, "");
  Key other = key;
  other.client.bytes[15] = 9;
  CHECK(fixture.begin(other));
  for (auto member : {&Key::xid, &Key::procedure}) {
    other = key;
    other.*member += 1;
    CHECK(fixture.begin(other));
  }
}

TEST_CASE("reply cache: a call that comes again while it runs is answered wherever it came from", "[net][nfs]") {
  Fixture fixture;
  const Key key{.client = {}, .xid = 1};
  REQUIRE(fixture.begin(key, "old: "));
  CHECK_FALSE(fixture.begin(key, "new: "));
  CHECK(fixture.sent.empty());
  fixture.cache.answered(key, "done");
  CHECK(fixture.sent == std::vector<std::string>{"old: done", "new: done"});
}

TEST_CASE("reply cache: a call that comes again very often is answered where it came from last", "[net][nfs]") {
  Fixture fixture;
  const Key key{.client = {}, .xid = 1};
  REQUIRE(fixture.begin(key));
  for (size_t i = 0; i < ReplyCache::kSendersMax; ++i) CHECK_FALSE(fixture.begin(key, std::to_string(i)));
  fixture.cache.answered(key, "");
  CHECK(fixture.sent == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7"});
}

TEST_CASE("reply cache: what was not run is not kept", "[net][nfs]") {
  Fixture fixture;
  const Key key{.client = {}, .xid = 1};
  REQUIRE(fixture.begin(key));
  fixture.cache.answered(key, "busy", false);
  CHECK(fixture.sent == std::vector<std::string>{"busy"});
  CHECK(fixture.begin(key));
}

TEST_CASE("reply cache: old replies go, and no more than so many stay", "[net][nfs]") {
  Fixture fixture;
  const auto run = [&](uint32_t xid) {
    if (!fixture.begin({.client = {}, .xid = xid})) return false;
    fixture.cache.answered({.client = {}, .xid = xid}, "");
    return true;
  };
  for (uint32_t xid = 0; xid < 4; ++xid) CHECK(run(xid));
  CHECK_FALSE(run(0));
  CHECK(run(4));  // the oldest made room
  CHECK(run(0));
  CHECK_FALSE(run(4));
  fixture.clock.advance(kLifetime);
  CHECK(run(4));
}

TEST_CASE("reply cache: calls under way are never dropped", "[net][nfs]") {
  Fixture fixture;
  for (uint32_t xid = 0; xid < 10; ++xid) REQUIRE(fixture.begin({.client = {}, .xid = xid}));
  fixture.clock.advance(kLifetime * 2);
  for (uint32_t xid = 0; xid < 10; ++xid) CHECK_FALSE(fixture.begin({.client = {}, .xid = xid}));
  for (uint32_t xid = 0; xid < 10; ++xid) fixture.cache.answered({.client = {}, .xid = xid}, "");
  CHECK(fixture.sent.size() == 20);
}

}  // namespace
}  // namespace sluice
