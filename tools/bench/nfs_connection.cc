#include "tools/bench/nfs_connection.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "cache/log.h"
#include "cache/result.h"

namespace sluice {

namespace {

constexpr uint32_t kLastFragment = 1u << 31;
constexpr uint32_t kRpcVersion = 2;
constexpr uint32_t kVersion = 3;  // of NFS and of MOUNT
constexpr uint32_t kAuthSys = 1;
constexpr int kPatienceSeconds = 60;
constexpr size_t kOpaqueMost = 1 << 20;

std::string credentials() {
  XdrWriter body;
  body.u32(0).opaque("sluice").u32(::getuid()).u32(::getgid()).u32(0);
  XdrWriter whole;
  whole.u32(kAuthSys).opaque(body.bytes()).u32(0).u32(0);
  return whole.bytes();
}

void append_u32(std::string& bytes, uint32_t value) {
  const uint32_t big = htobe32(value);
  bytes.append(reinterpret_cast<const char*>(&big), sizeof big);
}

tl::unexpected<Complaint> broken(int number) {
  return complain("the connection broke: {}", error_text(number));
}

}  // namespace

Checked<NfsConnection> NfsConnection::connect(const std::string& address, uint16_t port) {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  if (::inet_pton(AF_INET, address.c_str(), &where.sin_addr) != 1) return complain("{}: is no IPv4 address", address);
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return complain("no socket: {}", error_text(errno));
  const int on = 1;
  const timeval patience{.tv_sec = kPatienceSeconds, .tv_usec = 0};
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0)
    return complain("{}:{}: {}", address, port, error_text(errno));
  return NfsConnection(std::move(socket));
}

void NfsConnection::call(RpcProgram program, uint32_t procedure, const XdrWriter& arguments, std::string_view data) {
  static const std::string kCredentials = credentials();
  constexpr size_t kHead = 6 * sizeof(uint32_t);
  const size_t size = kHead + kCredentials.size() + arguments.bytes().size() + data.size();
  for (const uint32_t word : {static_cast<uint32_t>(size) | kLastFragment, calls_++, 0u, kRpcVersion,
                              static_cast<uint32_t>(program), kVersion, procedure})
    append_u32(queued_, word);
  queued_ += kCredentials;
  queued_ += arguments.bytes();
  if (!data.empty() && failure_) failure_ = flush(data);
}

Checked<> NfsConnection::flush(std::string_view data) {
  std::array<iovec, 2> pieces{{{queued_.data(), queued_.size()}, {const_cast<char*>(data.data()), data.size()}}};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  size_t left = queued_.size() + data.size();
  while (left > 0) {
    const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return broken(errno);
    }
    left -= static_cast<size_t>(sent);
    size_t done = static_cast<size_t>(sent);
    for (iovec& piece : pieces) {
      const size_t part = std::min(done, piece.iov_len);
      piece.iov_base = static_cast<char*>(piece.iov_base) + part;
      piece.iov_len -= part;
      done -= part;
    }
  }
  queued_.clear();
  return {};
}

// Waits for bytes, so everything that was asked must be on its way.
Checked<> NfsConnection::fill() {
  TRY(std::exchange(failure_, {}));
  if (!queued_.empty()) TRY(flush({}));
  while (true) {
    const ssize_t got = ::recv(socket_.get(), buffer_.data(), buffer_.size(), 0);
    if (got > 0) {
      at_ = 0;
      end_ = static_cast<size_t>(got);
      return {};
    }
    if (got == 0) return complain("the server closed the connection");
    if (errno != EINTR) return broken(errno);
  }
}

Checked<> NfsConnection::read_raw(void* target, size_t count) {
  char* next = static_cast<char*>(target);
  while (count > 0) {
    if (at_ == end_) TRY(fill());
    const size_t part = std::min(count, end_ - at_);
    ::memcpy(next, buffer_.data() + at_, part);
    at_ += part;
    next += part;
    count -= part;
  }
  return {};
}

Checked<> NfsConnection::skip_raw(size_t count) {
  const size_t buffered = std::min(count, end_ - at_);
  at_ += buffered;
  count -= buffered;
  while (count > 0) {
    if (count < buffer_.size()) {  // the next reply comes with the rest
      TRY(fill());
      return skip_raw(count);
    }
    // MSG_TRUNC: TCP drops the bytes instead of copying them.
    const ssize_t got = ::recv(socket_.get(), nullptr, count, MSG_TRUNC);
    if (got == 0) return complain("the server closed the connection");
    if (got < 0) {
      if (errno == EINTR) continue;
      return broken(errno);
    }
    count -= static_cast<size_t>(got);
  }
  return {};
}

Checked<> NfsConnection::next_fragment() {
  if (last_fragment_) return complain("a reply ends early");
  uint32_t mark = 0;
  TRY(read_raw(&mark, sizeof mark));
  mark = be32toh(mark);
  last_fragment_ = (mark & kLastFragment) != 0;
  fragment_left_ = mark & ~kLastFragment;
  return {};
}

Checked<> NfsConnection::read(void* target, size_t count) {
  char* next = static_cast<char*>(target);
  while (count > 0) {
    if (fragment_left_ == 0) TRY(next_fragment());
    const size_t part = std::min(count, fragment_left_);
    TRY(read_raw(next, part));
    fragment_left_ -= part;
    next += part;
    count -= part;
  }
  return {};
}

Checked<> NfsConnection::skip(size_t count) {
  while (count > 0) {
    if (fragment_left_ == 0) TRY(next_fragment());
    const size_t part = std::min(count, fragment_left_);
    TRY(skip_raw(part));
    fragment_left_ -= part;
    count -= part;
  }
  return {};
}

Checked<uint32_t> NfsConnection::begin_reply() {
  last_fragment_ = false;
  fragment_left_ = 0;
  std::array<uint32_t, 5> head{};  // xid, REPLY, MSG_ACCEPTED, the verifier's flavour and length
  TRY(read(head.data(), sizeof head));
  if (be32toh(head[1]) != 1) return complain("the server sends something else than replies");
  if (be32toh(head[2]) != 0) return complain("the server denies the call");
  TRY(skip((be32toh(head[4]) + 3) / 4 * 4));
  if (const uint32_t accepted = TRY(u32()); accepted != 0)
    return complain("the server does not accept the call: {}", accepted);
  return be32toh(head[0]);
}

Checked<uint32_t> NfsConnection::u32() {
  uint32_t value = 0;
  TRY(read(&value, sizeof value));
  return be32toh(value);
}

Checked<uint64_t> NfsConnection::u64() {
  uint64_t value = 0;
  TRY(read(&value, sizeof value));
  return be64toh(value);
}

Checked<std::string> NfsConnection::opaque() {
  const uint32_t size = TRY(u32());
  if (size > kOpaqueMost) return complain("a reply with {} bytes in a field", size);
  std::string bytes(size, '\0');
  TRY(read(bytes.data(), size));
  TRY(skip(-size % 4));
  return bytes;
}

Checked<> NfsConnection::skip_opaque() {
  const uint64_t size = TRY(u32());
  return skip((size + 3) / 4 * 4);
}

Checked<> NfsConnection::end_reply() {
  while (!last_fragment_ && fragment_left_ == 0) TRY(next_fragment());
  if (fragment_left_ != 0) return complain("a reply is longer than its fields");
  return {};
}

}  // namespace sluice
