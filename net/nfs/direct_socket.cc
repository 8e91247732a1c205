#include "net/nfs/direct_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/nfs/rpc.h"

namespace sluice {
namespace {

constexpr size_t kReceiveAtOnce = 16 << 10;

}  // namespace

void DirectSocket::offer_sending(int socket) {
  MutexLock lock(&mutex_);
  sending_socket_ = socket;
}

std::string DirectSocket::revoke_sending() {
  MutexLock lock(&mutex_);
  sending_socket_ = -1;
  return std::exchange(unsent_, {});
}

void DirectSocket::offer_receiving(int socket) {
  MutexLock lock(&mutex_);
  receiving_socket_ = socket;
}

std::string DirectSocket::revoke_receiving() {
  MutexLock lock(&mutex_);
  receiving_socket_ = -1;
  return std::exchange(received_, {});
}

uint64_t DirectSocket::records() {
  MutexLock lock(&mutex_);
  return records_;
}

// What the socket says against it the loop finds, too, when it sends the rest.
DirectSocket::Outcome DirectSocket::try_send(std::string_view reply) {
  MutexLock lock(&mutex_);
  if (sending_socket_ < 0) return Outcome::refused;
  const auto sent =
      std::max<ssize_t>(0, ::send(sending_socket_, reply.data(), reply.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  if (static_cast<size_t>(sent) == reply.size()) return Outcome::sent;
  sending_socket_ = -1;
  if (sent == 0) return Outcome::refused;
  unsent_ = reply.substr(static_cast<size_t>(sent));
  return Outcome::begun;
}

std::optional<std::string> DirectSocket::receive(std::chrono::nanoseconds wait, size_t record_max,
                                                 const std::function<bool(std::string_view record)>& accept) {
  const auto until = std::chrono::steady_clock::now() + wait;
  for (auto left = wait; left.count() > 0; left = until - std::chrono::steady_clock::now()) {
    if (!wait_for_bytes(left)) return std::nullopt;
    MutexLock lock(&mutex_);
    if (!take_bytes()) return std::nullopt;
    switch (look(record_max)) {
      case Arrival::other: return std::nullopt;
      case Arrival::part: continue;
      case Arrival::record: break;
    }
    if (!accept(std::string_view(received_).substr(kXdrWord))) return std::nullopt;
    std::string record = std::exchange(received_, {});
    record.erase(0, kXdrWord);
    ++records_;
    return record;
  }
  return std::nullopt;
}

// Without the lock. The socket may be closed meanwhile and its number be another's: then this waits in vain, and the
// offer is found revoked.
bool DirectSocket::wait_for_bytes(std::chrono::nanoseconds wait) {
  pollfd readable{.fd = -1, .events = POLLIN, .revents = 0};
  {
    MutexLock lock(&mutex_);
    readable.fd = receiving_socket_;
  }
  const auto limit = std::chrono::ceil<std::chrono::milliseconds>(wait);
  return readable.fd >= 0 && ::poll(&readable, 1, static_cast<int>(limit.count())) > 0;
}

// False: not offered (any more), or the input's end or an error, which are for the loop to find.
bool DirectSocket::take_bytes() {
  if (receiving_socket_ < 0) return false;
  char bytes[kReceiveAtOnce];
  const ssize_t got = ::recv(receiving_socket_, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
  received_.append(bytes, static_cast<size_t>(got));
  return true;
}

DirectSocket::Arrival DirectSocket::look(size_t record_max) const {
  if (received_.size() < kXdrWord) return Arrival::part;
  const uint32_t word = XdrReader(received_).u32();
  const size_t length = word & ~kRpcLastFragment;
  if ((word & kRpcLastFragment) == 0 || length > record_max || received_.size() > kXdrWord + length)
    return Arrival::other;
  return received_.size() == kXdrWord + length ? Arrival::record : Arrival::part;
}

}  // namespace sluice
