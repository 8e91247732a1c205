#include "net/nfs/export_rules.h"

#include <arpa/inet.h>

#include "tests/support/catch.h"

namespace sluice {
namespace {

PeerAddress peer(const std::string& text) {
  PeerAddress address;
  const bool is_v4 = text.find(':') == text.npos;
  REQUIRE(::inet_pton(AF_INET6, (is_v4 ? "::ffff:" + text : text).c_str(), address.bytes.data()) == 1);
  return address;
}

NfsExportRules rules(std::string_view text, const NfsClientOptions& defaults = {}) {
  std::string wrong;
  auto parsed = NfsExportRules::parse(text, defaults, &wrong);
  INFO(wrong);
  REQUIRE(parsed);
  return std::move(*parsed);
}

std::string wrong_part(std::string_view text) {
  std::string wrong;
  REQUIRE_FALSE(NfsExportRules::parse(text, {}, &wrong));
  return wrong;
}

TEST_CASE("nfs rules: the first that holds counts, and has the defaults where it is silent", "[net][nfs]") {
  const NfsExportRules some = rules(
      "192.0.2.7:no_root_squash,192.0.2.0/24:ro:anonuid=33,2001:db8::/32:all_squash:async", {.anonymous_gid = 44});
  REQUIRE(some.find(peer("192.0.2.7"), 5000));
  CHECK(some.find(peer("192.0.2.7"), 5000)->squash == NfsSquash::none);
  CHECK_FALSE(some.find(peer("192.0.2.7"), 5000)->read_only);
  CHECK(some.find(peer("192.0.2.8"), 5000)->read_only);
  CHECK(some.find(peer("192.0.2.8"), 5000)->anonymous_uid == 33);
  CHECK(some.find(peer("192.0.2.8"), 5000)->anonymous_gid == 44);
  CHECK(some.find(peer("192.0.2.8"), 5000)->squash == NfsSquash::root);
  CHECK(some.find(peer("2001:db8::1"), 5000)->squash == NfsSquash::all);
  CHECK_FALSE(some.find(peer("2001:db8::1"), 5000)->sync);
  CHECK(some.find(peer("192.0.3.1"), 5000) == nullptr);
  CHECK(some.find(peer("127.0.0.1"), 5000) == nullptr);
}

TEST_CASE("nfs rules: secure asks for a port that users cannot have", "[net][nfs]") {
  const NfsExportRules some = rules("10.0.0.0/8:secure");
  CHECK(some.find(peer("10.1.1.1"), 1023) != nullptr);
  CHECK(some.find(peer("10.1.1.1"), 1024) == nullptr);
}

TEST_CASE("nfs rules: without any, this machine", "[net][nfs]") {
  const NfsExportRules own = NfsExportRules::loopback({});
  CHECK(own.find(peer("127.0.0.1"), 5000));
  CHECK(own.find(peer("::1"), 5000));
  CHECK_FALSE(own.find(peer("10.0.0.1"), 5000));
}

TEST_CASE("nfs rules: what cannot be is named", "[net][nfs]") {
  CHECK(wrong_part("192.0.2.0/24:rx") == "rx");
  CHECK(wrong_part("192.0.2.0/33") == "192.0.2.0/33");
  CHECK(wrong_part("192.0.2.1/24") == "192.0.2.1/24");
  CHECK(wrong_part("::1:anonuid=-1") == "anonuid=-1");
  CHECK(wrong_part("::1:anonuid=4294967295") == "anonuid=4294967295");
  CHECK(wrong_part("10.0.0.1,") == "");
  CHECK(wrong_part("10.0.0.1,,10.0.0.2") == "");
  CHECK(wrong_part("host") == "host");
}

TEST_CASE("nfs rules: squashing changes who the caller is", "[net][nfs]") {
  const Caller root{.uid = 0, .gid = 0, .groups = {0, 5}};
  const Caller user{.uid = 1000, .gid = 0, .groups = {0, 5}};
  const NfsClientOptions squash_root{.anonymous_uid = 33, .anonymous_gid = 44};
  CHECK(squash_root.caller_for(root).uid == 33);
  CHECK(squash_root.caller_for(root).gid == 44);
  CHECK(squash_root.caller_for(root).groups.empty());
  CHECK(squash_root.caller_for(user).uid == 1000);
  CHECK(squash_root.caller_for(user).gid == 44);
  CHECK(squash_root.caller_for(user).groups == std::vector<gid_t>{44, 5});
  CHECK(squash_root.caller_for(std::nullopt).uid == 33);
  const NfsClientOptions none{.squash = NfsSquash::none};
  CHECK(none.caller_for(root).uid == 0);
  CHECK(none.caller_for(std::nullopt).uid == 65534);
  const NfsClientOptions all{.squash = NfsSquash::all};
  CHECK(all.caller_for(user).uid == 65534);
  CHECK(all.caller_for(user).groups.empty());
}

}  // namespace
}  // namespace sluice
