#include "net/nfs/rpc.h"

#include <random>

#include "net/nfs/xdr.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

std::string words(std::initializer_list<uint32_t> values) {
  XdrWriter writer;
  for (const uint32_t value : values) writer.u32(value);
  return writer.take();
}

std::string call(uint32_t flavor, std::string_view credential, std::string_view arguments) {
  XdrWriter writer;
  for (const uint32_t word : {7U, 0U, 2U, 100003U, 3U, 6U, flavor}) writer.u32(word);
  writer.opaque(credential);
  writer.u32(0);
  writer.opaque("");
  return writer.take() + std::string(arguments);
}

std::string auth_sys(uint32_t groups, std::string_view name = "host") {
  XdrWriter writer;
  writer.u32(1);
  writer.opaque(name);
  writer.u32(1000);
  writer.u32(100);
  writer.u32(groups);
  for (uint32_t i = 0; i < groups; ++i) writer.u32(i);
  return writer.take();
}

TEST_CASE("xdr: what was written is read, padding included", "[net][nfs]") {
  for (size_t length = 0; length < 10; ++length) {
    const std::string bytes(length, 'x');
    XdrWriter writer;
    writer.u32(0xfffefdfc);
    writer.opaque(bytes);
    writer.u64(0x0102030405060708);
    writer.fixed(bytes);
    writer.boolean(true);
    CHECK(writer.size() % kXdrWord == 0);
    XdrReader reader(writer.bytes());
    CHECK(reader.u32() == 0xfffefdfc);
    CHECK(reader.opaque(length) == bytes);
    CHECK(reader.u64() == 0x0102030405060708);
    CHECK(reader.fixed(length) == bytes);
    CHECK(reader.boolean());
    CHECK(reader.ok());
    CHECK(reader.rest().empty());
  }
}

TEST_CASE("xdr: what is too short or too long fails for good", "[net][nfs]") {
  const auto fails = [](std::string_view bytes, auto read) {
    XdrReader reader(bytes);
    read(reader);
    CHECK_FALSE(reader.ok());
    CHECK(reader.u32() == 0);
    CHECK(reader.opaque(100).empty());
    CHECK_FALSE(reader.ok());
  };
  fails("abc", [](XdrReader& reader) { reader.u32(); });
  fails("abcdefg", [](XdrReader& reader) { reader.u64(); });
  fails(words({5, 0}), [](XdrReader& reader) { reader.opaque(100); });
  fails(words({5, 0, 0}), [](XdrReader& reader) { reader.opaque(4); });
  fails(words({0xffffffff, 0}), [](XdrReader& reader) { reader.opaque(0xffffffff); });
  fails(words({2}), [](XdrReader& reader) { reader.boolean(); });
  fails(words({3}), [](XdrReader& reader) { reader.choice(3); });
  fails(words({1, 0}).substr(0, 5), [](XdrReader& reader) { reader.opaque(4); });  // no room for the padding
}

TEST_CASE("rpc: a call is taken apart", "[net][nfs]") {
  uint32_t xid = 0;
  const std::string record = call(1, auth_sys(2), "abcd");
  const auto parsed = parse_rpc_call(record, &xid);
  REQUIRE(parsed);
  CHECK(xid == 7);
  CHECK(parsed->program == 100003);
  CHECK(parsed->procedure == 6);
  CHECK(parsed->arguments == "abcd");
  const auto caller = parse_auth_sys(parsed->credential_body);
  REQUIRE(caller);
  CHECK(caller->uid == 1000);
  CHECK(caller->groups == std::vector<gid_t>{0, 1});
}

TEST_CASE("rpc: what is no call is told apart", "[net][nfs]") {
  uint32_t xid = 0;
  const std::string record = call(1, auth_sys(2), "");
  for (size_t length = 0; length < record.size(); ++length) {
    CAPTURE(length);
    const auto parsed = parse_rpc_call(std::string_view(record).substr(0, length), &xid);
    CHECK((!parsed && parsed.error() == RpcError::not_a_call));
  }
  CHECK(parse_rpc_call(words({1, 1, 0, 0, 0, 0}), &xid).error() == RpcError::not_a_call);  // a reply
  CHECK(parse_rpc_call(words({9, 0, 3, 0, 0, 0}), &xid).error() == RpcError::rpc_mismatch);
  CHECK(xid == 9);
  CHECK(parse_rpc_call(call(1, std::string(404, 'x'), ""), &xid).error() == RpcError::not_a_call);
}

TEST_CASE("rpc: credentials of the wrong form are none", "[net][nfs]") {
  CHECK(parse_auth_sys(auth_sys(16)));
  CHECK_FALSE(parse_auth_sys(auth_sys(17)));
  CHECK_FALSE(parse_auth_sys(auth_sys(3).substr(0, 24)));
  CHECK_FALSE(parse_auth_sys(auth_sys(3) + "abcd"));
  CHECK(parse_auth_sys(auth_sys(0, std::string(255, 'h'))));
  CHECK_FALSE(parse_auth_sys(auth_sys(0, std::string(256, 'h'))));
  CHECK_FALSE(parse_auth_sys(""));
}

TEST_CASE("rpc: a refusal has the form that RFC 5531 gives it", "[net][nfs]") {
  const auto body = [](RpcError error, uint32_t version = 0) {
    const std::string reply = rpc_refusal(5, error, version);
    XdrReader reader(reply);
    const uint32_t word = reader.u32();
    CHECK(word == (kRpcLastFragment | (reply.size() - 4)));
    return std::string(reader.rest());
  };
  CHECK(body(RpcError::rpc_mismatch) == words({5, 1, 1, 0, 2, 2}));
  CHECK(body(RpcError::bad_credential) == words({5, 1, 1, 1, 1}));
  CHECK(body(RpcError::too_weak) == words({5, 1, 1, 1, 5}));
  CHECK(body(RpcError::program_unavailable) == words({5, 1, 0, 0, 0, 1}));
  CHECK(body(RpcError::program_mismatch, 3) == words({5, 1, 0, 0, 0, 2, 3, 3}));
  CHECK(body(RpcError::procedure_unavailable) == words({5, 1, 0, 0, 0, 3}));
  CHECK(body(RpcError::garbage_arguments) == words({5, 1, 0, 0, 0, 4}));
  CHECK(body(RpcError::system_error) == words({5, 1, 0, 0, 0, 5}));
}

TEST_CASE("rpc: calls with any byte changed do no harm", "[net][nfs]") {
  std::mt19937_64 random(test_seed());
  const std::string good = call(1, auth_sys(3), "arguments...");
  for (int round = 0; round < 100'000; ++round) {
    std::string record = good.substr(0, random() % 8 == 0 ? random() % good.size() : good.size());
    for (int changes = static_cast<int>(random() % 4); changes > 0 && !record.empty(); --changes)
      record[random() % record.size()] = static_cast<char>(random());
    uint32_t xid = 0;
    const auto parsed = parse_rpc_call(record, &xid);
    if (parsed) parse_auth_sys(parsed->credential_body);
  }
}

}  // namespace
}  // namespace sluice
