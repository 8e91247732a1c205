// A client of one connection, for tests of the NFS server.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/assert.h"
#include "cache/unique_fd.h"
#include "net/nfs/protocol.h"
#include "net/nfs/rpc.h"
#include "net/nfs/xdr.h"

namespace sluice {

class NfsClient {
 public:
  explicit NfsClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }

  // The results of an accepted call, without a credential.
  std::string call(NfsProcedure procedure, std::string_view arguments) {
    const std::string record = record_of(++xid_, procedure, arguments);
    ASSERT(::send(socket_.get(), record.data(), record.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(record.size()));
    uint32_t answered = 0;
    std::string results = take_reply(&answered);
    ASSERT(answered == xid_);
    return results;
  }

  static std::string record_of(uint32_t xid, NfsProcedure procedure, std::string_view arguments) {
    XdrWriter call;
    call.u32(xid).u32(0).u32(2).u32(kNfsProgram).u32(kNfsVersion).u32(static_cast<uint32_t>(procedure));
    for (int i = 0; i < 4; ++i) call.u32(0);  // credential and verifier: none
    XdrWriter mark;
    mark.u32(kLastFragment | static_cast<uint32_t>(call.size() + arguments.size()));
    return std::string(mark.bytes()) + std::string(call.bytes()) + std::string(arguments);
  }

  // As much as the socket takes now; returns the rest.
  std::string_view send_some(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent <= 0) break;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return bytes;
  }

  // Calls, without arguments, and leaves the reply.
  bool has_reply_within(std::chrono::milliseconds patience, NfsProcedure procedure) {
    ASSERT(send_some(record_of(++xid_, procedure, {})).empty());
    pollfd ready{socket_.get(), POLLIN, 0};
    return ::poll(&ready, 1, static_cast<int>(patience.count())) > 0;
  }

  // Waits for the server to close the connection, without another reply.
  bool ended() {
    char byte;
    return ::recv(socket_.get(), &byte, 1, 0) <= 0;
  }

  // Waits for it.
  std::string take_reply(uint32_t* xid) {
    const std::string head = take(sizeof(uint32_t));
    const std::string reply = take(XdrReader(head).u32() & ~kLastFragment);
    constexpr size_t kReplyHead = 6 * kXdrWord;
    ASSERT(reply.size() >= kReplyHead);
    *xid = XdrReader(reply).u32();
    return reply.substr(kReplyHead);
  }

 private:
  static constexpr uint32_t kLastFragment = uint32_t{1} << 31;

  std::string take(size_t size) {
    std::string bytes(size, '\0');
    // Not MSG_WAITALL: the end of another io_uring of this thread, in a test before, interrupts that without EINTR.
    for (size_t taken = 0; taken < size;) {
      const ssize_t got = ::recv(socket_.get(), bytes.data() + taken, size - taken, 0);
      ASSERT(got > 0);
      taken += static_cast<size_t>(got);
    }
    return bytes;
  }

  const UniqueFd socket_;
  uint32_t xid_ = 0;
};

}  // namespace sluice
