// ONC RPC version 2 (RFC 5531) over TCP: records, calls, AUTH_SYS credentials, replies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "fs/store/types.h"
#include "net/nfs/xdr.h"

namespace sluice {

// A record is sent in fragments, each after a word: the last one's flag and its length (RFC 5531 section 11).
inline constexpr uint32_t kRpcLastFragment = uint32_t{1} << 31;

struct RpcCall {
  uint32_t xid = 0;
  uint32_t program = 0;
  uint32_t version = 0;
  uint32_t procedure = 0;
  uint32_t flavor = 0;               // of the credential
  std::string_view credential_body;  // points into the record, as `arguments` does
  std::string_view arguments;
};

enum class RpcFlavor : uint32_t { none = 0, sys = 1 };

// How a call is refused: the reply's accept_stat, and those of rejected calls.
enum class RpcError : uint8_t {
  not_a_call,  // nothing can be answered: the connection ends
  rpc_mismatch,
  bad_credential,
  too_weak,
  program_unavailable,
  program_mismatch,
  procedure_unavailable,
  garbage_arguments,
  system_error,
};

// Errors: not_a_call; rpc_mismatch with `xid` set.
tl::expected<RpcCall, RpcError> parse_rpc_call(std::string_view record, uint32_t* xid);

// The identity in an AUTH_SYS credential's body. Nothing: malformed, or more than its 16 groups.
std::optional<Caller> parse_auth_sys(std::string_view body);

// Begins a reply: a place for the fragment's word, then the head of an accepted and successful one.
void begin_rpc_reply(XdrWriter& reply, uint32_t xid);
// Sets the fragment's word. `more`: bytes that are sent after these.
void end_rpc_reply(XdrWriter& reply, uint64_t more = 0);
// A whole reply. `version`: the only one there is, for program_mismatch.
std::string rpc_refusal(uint32_t xid, RpcError error, uint32_t version = 0);

}  // namespace sluice
