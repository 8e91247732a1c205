// The addresses of clients: which are let in, and how many connections each has.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/mutex.h"
#include "cache/result.h"

namespace sluice {

// An IPv6 address; IPv4 ones are mapped (::ffff:0:0/96), as sockets on "[::]" show them.
struct PeerAddress {
  std::array<uint8_t, 16> bytes{};

  bool is_v4() const;
  std::string text() const;  // "192.0.2.1", "2001:db8::1"
  bool operator==(const PeerAddress&) const = default;
};
// Who is at the other end of a socket. All zeros when that is no Internet address, or gone.
PeerAddress peer_of(int fd);
uint16_t peer_port_of(int fd);  // 0: not known

// Networks in CIDR notation.
class AddressRanges {
 public:
  // "192.0.2.0/24,2001:db8::/32,127.0.0.1". Errors: EINVAL, also for bits set beyond the length, which are mistakes.
  static Result<AddressRanges> parse(std::string_view text);

  bool empty() const { return ranges_.empty(); }
  bool contain(const PeerAddress& address) const;

 private:
  struct Range {
    PeerAddress first;
    unsigned bits = 0;
  };
  static Result<Range> parse_range(std::string_view text);

  std::vector<Range> ranges_;
};

// How many connections each client has. Of IPv6 the first 64 bits count as one client: who has one such address has all
// of them. Thread-safe.
class AddressCounts {
 public:
  explicit AddressCounts(uint32_t each_max) : each_max_(each_max) {}

  bool enter(const PeerAddress& address);  // false: it has its share. Balance with `leave`
  void leave(const PeerAddress& address);

 private:
  struct Hash {
    size_t operator()(const PeerAddress& address) const;
  };
  static PeerAddress client_of(PeerAddress address);

  const uint32_t each_max_;  // 0: no limit
  Mutex mutex_;              // Leaf lock.
  std::unordered_map<PeerAddress, uint32_t, Hash> counts_ GUARDED_BY(mutex_);
};

}  // namespace sluice
