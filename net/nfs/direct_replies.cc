#include "net/nfs/direct_replies.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace sluice {

void DirectReplies::offer(int socket) {
  MutexLock lock(&mutex_);
  socket_ = socket;
}

std::string DirectReplies::revoke() {
  MutexLock lock(&mutex_);
  socket_ = -1;
  return std::exchange(rest_, {});
}

// What the socket says against it the loop finds, too, when it sends the rest.
DirectReplies::Outcome DirectReplies::try_send(std::string_view reply) {
  MutexLock lock(&mutex_);
  if (socket_ < 0) return Outcome::refused;
  const auto sent = std::max<ssize_t>(0, ::send(socket_, reply.data(), reply.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  if (static_cast<size_t>(sent) == reply.size()) return Outcome::sent;
  socket_ = -1;
  if (sent == 0) return Outcome::refused;
  rest_ = reply.substr(static_cast<size_t>(sent));
  return Outcome::begun;
}

}  // namespace sluice
