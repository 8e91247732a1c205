#include "net/nfs/rpc.h"

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr uint32_t kCall = 0;
constexpr uint32_t kReply = 1;
constexpr uint32_t kRpcVersion = 2;
constexpr size_t kAuthBytesMax = 400;
constexpr size_t kMachineNameMax = 255;
constexpr uint32_t kGroupsMax = 16;

// reply_stat
constexpr uint32_t kAccepted = 0;
constexpr uint32_t kDenied = 1;
// reject_stat
constexpr uint32_t kRpcMismatch = 0;
constexpr uint32_t kAuthError = 1;
// auth_stat
constexpr uint32_t kBadCredential = 1;
constexpr uint32_t kTooWeak = 5;
// accept_stat
constexpr uint32_t kSuccess = 0;
constexpr uint32_t kProgramUnavailable = 1;
constexpr uint32_t kProgramMismatch = 2;
constexpr uint32_t kProcedureUnavailable = 3;
constexpr uint32_t kGarbageArguments = 4;
constexpr uint32_t kSystemError = 5;

void write_verifier(XdrWriter& reply) {
  reply.u32(static_cast<uint32_t>(RpcFlavor::none));
  reply.u32(0);
}

void write_head(XdrWriter& reply, uint32_t xid, uint32_t status) {
  reply.u32(0);  // the fragment's word
  reply.u32(xid);
  reply.u32(kReply);
  reply.u32(status);
}

void write_accepted(XdrWriter& reply, uint32_t xid, uint32_t status) {
  write_head(reply, xid, kAccepted);
  write_verifier(reply);
  reply.u32(status);
}

}  // namespace

tl::expected<RpcCall, RpcError> parse_rpc_call(std::string_view record, uint32_t* xid) {
  XdrReader reader(record);
  RpcCall call;
  call.xid = *xid = reader.u32();
  const uint32_t direction = reader.u32();
  const uint32_t rpc_version = reader.u32();
  if (!reader.ok() || direction != kCall) return tl::unexpected(RpcError::not_a_call);
  if (rpc_version != kRpcVersion) return tl::unexpected(RpcError::rpc_mismatch);
  call.program = reader.u32();
  call.version = reader.u32();
  call.procedure = reader.u32();
  call.flavor = reader.u32();
  call.credential_body = reader.opaque(kAuthBytesMax);
  reader.u32();  // the verifier's flavor; nothing here signs
  reader.opaque(kAuthBytesMax);
  if (!reader.ok()) return tl::unexpected(RpcError::not_a_call);
  call.arguments = reader.rest();
  return call;
}

std::optional<Caller> parse_auth_sys(std::string_view body) {
  XdrReader reader(body);
  Caller caller;
  reader.u32();  // stamp
  reader.opaque(kMachineNameMax);
  caller.uid = reader.u32();
  caller.gid = reader.u32();
  const uint32_t groups = reader.choice(kGroupsMax + 1);
  for (uint32_t i = 0; i < groups; ++i) caller.groups.push_back(reader.u32());
  if (!reader.ok() || !reader.rest().empty()) return std::nullopt;
  return caller;
}

void begin_rpc_reply(XdrWriter& reply, uint32_t xid) {
  write_accepted(reply, xid, kSuccess);
}

void end_rpc_reply(XdrWriter& reply, uint64_t more) {
  const uint64_t length = reply.size() - kXdrWord + more;
  ASSERT(length < kRpcLastFragment);
  reply.patch(0, kRpcLastFragment | static_cast<uint32_t>(length));
}

std::string rpc_refusal(uint32_t xid, RpcError error, uint32_t version) {
  XdrWriter reply;
  const auto deny = [&](uint32_t why, uint32_t detail) {
    write_head(reply, xid, kDenied);
    reply.u32(why);
    reply.u32(detail);
  };
  switch (error) {
    case RpcError::not_a_call: ASSERT(false); break;
    case RpcError::rpc_mismatch:
      deny(kRpcMismatch, kRpcVersion);
      reply.u32(kRpcVersion);
      break;
    case RpcError::bad_credential: deny(kAuthError, kBadCredential); break;
    case RpcError::too_weak: deny(kAuthError, kTooWeak); break;
    case RpcError::program_unavailable: write_accepted(reply, xid, kProgramUnavailable); break;
    case RpcError::program_mismatch:
      write_accepted(reply, xid, kProgramMismatch);
      reply.u32(version);
      reply.u32(version);
      break;
    case RpcError::procedure_unavailable: write_accepted(reply, xid, kProcedureUnavailable); break;
    case RpcError::garbage_arguments: write_accepted(reply, xid, kGarbageArguments); break;
    case RpcError::system_error: write_accepted(reply, xid, kSystemError); break;
  }
  end_rpc_reply(reply);
  return reply.take();
}

}  // namespace sluice
