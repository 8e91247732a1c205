#include "fs/fuse/init_reply.h"

#include <string.h>

#include <algorithm>

namespace sluice {
namespace {

constexpr uint64_t kAdded = kInitDirectIoAllowMmap | FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV;

}  // namespace

void InitReply::observe_request(const void* message, size_t bytes) {
  fuse_in_header header;
  if (bytes < sizeof(header)) return;
  ::memcpy(&header, message, sizeof(header));
  if (header.opcode != FUSE_INIT) return;

  fuse_init_in request{};  // older kernels send less: no flags2
  ::memcpy(&request, static_cast<const char*>(message) + sizeof(header),
           std::min(bytes - sizeof(header), sizeof(request)));
  unique_ = header.unique;
  offered_ = request.flags;
  if (request.flags & FUSE_INIT_EXT) offered_ |= uint64_t{request.flags2} << 32;
}

std::optional<fuse_init_out> InitReply::correct_reply(const iovec* parts, int count) {
  fuse_out_header header;
  fuse_init_out reply;
  if (count != 2 || parts[0].iov_len != sizeof(header) || parts[1].iov_len != sizeof(reply)) return std::nullopt;
  ::memcpy(&header, parts[0].iov_base, sizeof(header));
  if (unique_ == 0 || header.unique != unique_ || header.error != 0) return std::nullopt;

  ::memcpy(&reply, parts[1].iov_base, sizeof(reply));
  const uint64_t flags = reply.flags | uint64_t{reply.flags2} << 32 | (kAdded & offered_);
  reply.flags = static_cast<uint32_t>(flags);
  reply.flags2 = static_cast<uint32_t>(flags >> 32);
  if (reply.flags2 != 0) reply.flags |= FUSE_INIT_EXT;
  done_.store(true, std::memory_order_release);
  return reply;
}

}  // namespace sluice
