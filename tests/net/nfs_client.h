// A client of one connection that calls one procedure at a time, for tests of the NFS server.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

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
    XdrWriter call;
    call.u32(++xid_).u32(0).u32(2).u32(kNfsProgram).u32(kNfsVersion).u32(static_cast<uint32_t>(procedure));
    for (int i = 0; i < 4; ++i) call.u32(0);  // credential and verifier: none
    XdrWriter mark;
    mark.u32(kLastFragment | static_cast<uint32_t>(call.size() + arguments.size()));
    const std::string record = std::string(mark.bytes()) + std::string(call.bytes()) + std::string(arguments);
    ASSERT(::send(socket_.get(), record.data(), record.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(record.size()));
    const std::string head = take(sizeof(uint32_t));
    const std::string reply = take(XdrReader(head).u32() & ~kLastFragment);
    constexpr size_t kReplyHead = 6 * kXdrWord;
    ASSERT(reply.size() > kReplyHead);
    return reply.substr(kReplyHead);
  }

 private:
  static constexpr uint32_t kLastFragment = uint32_t{1} << 31;

  std::string take(size_t size) {
    std::string bytes(size, '\0');
    ASSERT(::recv(socket_.get(), bytes.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size));
    return bytes;
  }

  const UniqueFd socket_;
  uint32_t xid_ = 0;
};

}  // namespace sluice
