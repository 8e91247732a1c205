#include "net/peer_address.h"

#include <arpa/inet.h>

#include "tests/support/catch.h"

namespace sluice {
namespace {

PeerAddress address(const char* text) {
  PeerAddress result;
  std::string v6(text);
  if (v6.find(':') == std::string::npos) v6 = "::ffff:" + v6;
  REQUIRE(::inet_pton(AF_INET6, v6.c_str(), result.bytes.data()) == 1);
  return result;
}

TEST_CASE("peer address: shown as people write it", "[net]") {
  for (const char* text : {"192.0.2.1", "2001:db8::1", "::1", "255.255.255.255"}) CHECK(address(text).text() == text);
}

TEST_CASE("address ranges: networks of both kinds hold what is in them", "[net]") {
  const AddressRanges ranges = *AddressRanges::parse("10.0.0.0/8,192.0.2.128/25,127.0.0.1,2001:db8::/33,::1");
  for (const char* inside : {"10.0.0.0", "10.255.255.255", "192.0.2.128", "192.0.2.255", "127.0.0.1", "2001:db8::5",
                             "2001:db8:7fff::", "::1"}) {
    INFO(inside);
    CHECK(ranges.contain(address(inside)));
  }
  for (const char* outside : {"9.255.255.255", "11.0.0.0", "192.0.2.127", "127.0.0.2", "2001:db8:8000::", "::2",
                              "2001:db7::", "::", "::a00:1"}) {
    INFO(outside);
    CHECK_FALSE(ranges.contain(address(outside)));
  }
  CHECK(AddressRanges::parse("0.0.0.0/0")->contain(address("1.2.3.4")));
  CHECK_FALSE(AddressRanges::parse("0.0.0.0/0")->contain(address("2001:db8::1")));
  CHECK(AddressRanges::parse("::/0")->contain(address("1.2.3.4")));
  CHECK(AddressRanges::parse("::ffff:10.0.0.0/104")->contain(address("10.1.2.3")));
}

TEST_CASE("address ranges: what is no network is refused", "[net]") {
  for (const char* bad : {"", ",", "10.0.0.0/8,", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8x", "10.0.0/8",
                          "10.0.0.1/8", "2001:db8::1/64", "2001:db8::/129", "host", "10.0.0.0/ 8", " 10.0.0.0"}) {
    INFO(bad);
    CHECK_FALSE(AddressRanges::parse(bad));
  }
}

TEST_CASE("address counts: each client has its share, and gets it back", "[net]") {
  AddressCounts counts(2);
  const PeerAddress one = address("192.0.2.1");
  CHECK(counts.enter(one));
  CHECK(counts.enter(one));
  CHECK_FALSE(counts.enter(one));
  CHECK(counts.enter(address("192.0.2.2")));
  counts.leave(one);
  CHECK(counts.enter(one));
  // A network of 64 bits is one client.
  CHECK(counts.enter(address("2001:db8::1")));
  CHECK(counts.enter(address("2001:db8::ffff:1")));
  CHECK_FALSE(counts.enter(address("2001:db8::2")));
  CHECK(counts.enter(address("2001:db8:0:1::2")));
  AddressCounts unlimited(0);
  for (int i = 0; i < 1000; ++i) CHECK(unlimited.enter(one));
}

}  // namespace
}  // namespace sluice
