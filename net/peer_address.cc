#include "net/peer_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned kMappedBits = 96;

PeerAddress mapped(const in_addr& v4) {
  PeerAddress address;
  std::copy(kMapped.begin(), kMapped.end(), address.bytes.begin());
  std::memcpy(address.bytes.data() + kMapped.size(), &v4, sizeof v4);
  return address;
}

// With everything after the first `bits` zero.
PeerAddress network_of(PeerAddress address, unsigned bits) {
  for (unsigned i = 0; i < address.bytes.size(); ++i) {
    const unsigned kept = std::clamp(static_cast<int>(bits) - static_cast<int>(i * 8), 0, 8);
    address.bytes[i] &= static_cast<uint8_t>(0xff00U >> kept);
  }
  return address;
}

}  // namespace

bool PeerAddress::is_v4() const {
  return std::equal(kMapped.begin(), kMapped.end(), bytes.begin());
}

std::string PeerAddress::text() const {
  char buffer[INET6_ADDRSTRLEN];
  const char* const text = is_v4() ? ::inet_ntop(AF_INET, bytes.data() + kMapped.size(), buffer, sizeof buffer)
                                   : ::inet_ntop(AF_INET6, bytes.data(), buffer, sizeof buffer);
  return text;
}

PeerAddress peer_of(int fd) {
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  PeerAddress address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return address;
  if (peer.ss_family == AF_INET) return mapped(reinterpret_cast<const sockaddr_in&>(peer).sin_addr);
  if (peer.ss_family == AF_INET6)
    std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr, address.bytes.size());
  return address;
}

uint16_t peer_port_of(int fd) {
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return 0;
  if (peer.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(peer).sin_port);
  if (peer.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(peer).sin6_port);
  return 0;
}

Result<AddressRanges::Range> AddressRanges::parse_range(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  Range range;
  in_addr v4{};
  unsigned bits_max = 128;
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    range.first = mapped(v4);
    bits_max = 32;
  } else if (::inet_pton(AF_INET6, host.c_str(), range.first.bytes.data()) != 1) {
    return fail(EINVAL);
  }
  range.bits = bits_max;
  if (slash != std::string_view::npos) {
    const std::string_view bits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), range.bits);
    if (error != std::errc() || end != bits.data() + bits.size() || range.bits > bits_max) return fail(EINVAL);
  }
  if (bits_max == 32) range.bits += kMappedBits;
  if (network_of(range.first, range.bits) != range.first) return fail(EINVAL);
  return range;
}

Result<AddressRanges> AddressRanges::parse(std::string_view text) {
  AddressRanges ranges;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    ranges.ranges_.push_back(TRY(parse_range(text.substr(start, end - start))));
    start = end + 1;
  }
  return ranges;
}

bool AddressRanges::contain(const PeerAddress& address) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const Range& range) { return network_of(address, range.bits) == range.first; });
}

size_t AddressCounts::Hash::operator()(const PeerAddress& address) const {
  return XXH3_64bits(address.bytes.data(), address.bytes.size());
}

PeerAddress AddressCounts::client_of(PeerAddress address) {
  return address.is_v4() ? address : network_of(address, 64);
}

bool AddressCounts::enter(const PeerAddress& address) {
  if (each_max_ == 0) return true;
  MutexLock lock(&mutex_);
  uint32_t& count = counts_[client_of(address)];
  if (count >= each_max_) return false;
  ++count;
  return true;
}

void AddressCounts::leave(const PeerAddress& address) {
  if (each_max_ == 0) return;
  MutexLock lock(&mutex_);
  const auto found = counts_.find(client_of(address));
  ASSERT(found != counts_.end());
  if (--found->second == 0) counts_.erase(found);
}

}  // namespace sluice
