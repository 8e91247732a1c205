#include "fs/fuse/init_reply.h"

#include <cstring>
#include <string>

#include "tests/support/catch.h"

using namespace sluice;

namespace {

constexpr uint64_t kUnique = 77;

std::string init_request(uint64_t flags, size_t body_size = sizeof(fuse_init_in)) {
  fuse_in_header header{};
  header.opcode = FUSE_INIT;
  header.unique = kUnique;
  fuse_init_in body{};
  body.major = 7;
  body.minor = 45;
  body.flags = static_cast<uint32_t>(flags) | (flags >> 32 ? FUSE_INIT_EXT : 0);
  body.flags2 = static_cast<uint32_t>(flags >> 32);
  std::string message(reinterpret_cast<const char*>(&header), sizeof(header));
  return message.append(reinterpret_cast<const char*>(&body), body_size);
}

struct Reply {
  explicit Reply(uint64_t unique = kUnique, int error = 0) {
    header.unique = unique;
    header.error = error;
    body.major = 7;
    body.minor = 38;
    body.flags = FUSE_ASYNC_READ;
    body.max_write = 1 << 20;
  }
  fuse_out_header header{};
  fuse_init_out body{};
  iovec parts[2] = {{&header, sizeof(header)}, {&body, sizeof(body)}};
};

struct Fixture {
  explicit Fixture(uint64_t offered) {
    const std::string request = init_request(offered);
    init.observe_request(request.data(), request.size());
  }
  InitReply init;
};

}  // namespace

TEST_CASE("init reply: mmap of direct files is added when the kernel offers it", "[fuse][init]") {
  Fixture fixture(kInitDirectIoAllowMmap | FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS);
  Reply reply;
  const auto corrected = fixture.init.correct_reply(reply.parts, 2);
  REQUIRE(corrected);
  CHECK(corrected->flags2 == kInitDirectIoAllowMmap >> 32);
  CHECK(corrected->flags == (FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS | FUSE_INIT_EXT));
  CHECK(corrected->max_write == 1 << 20);
  CHECK(fixture.init.is_done());
}

TEST_CASE("init reply: nothing is added that the kernel did not offer", "[fuse][init]") {
  Fixture fixture(FUSE_ASYNC_READ);
  Reply reply;
  const auto corrected = fixture.init.correct_reply(reply.parts, 2);
  REQUIRE(corrected);
  CHECK(std::memcmp(&*corrected, &reply.body, sizeof(reply.body)) == 0);
}

TEST_CASE("init reply: the upper flags of a kernel that does not announce them are ignored", "[fuse][init]") {
  InitReply init;
  std::string request = init_request(kInitDirectIoAllowMmap);
  auto* body = reinterpret_cast<fuse_init_in*>(request.data() + sizeof(fuse_in_header));
  body->flags &= ~uint32_t{FUSE_INIT_EXT};
  init.observe_request(request.data(), request.size());
  CHECK(init.offered() == 0);
}

TEST_CASE("init reply: an INIT request of an old kernel ends after the lower flags", "[fuse][init]") {
  InitReply init;
  const std::string request = init_request(FUSE_PARALLEL_DIROPS, 4 * sizeof(uint32_t));
  init.observe_request(request.data(), request.size());
  CHECK(init.offered() == FUSE_PARALLEL_DIROPS);
}

TEST_CASE("init reply: other messages pass unchanged", "[fuse][init]") {
  Fixture fixture(kInitDirectIoAllowMmap);

  Reply other(kUnique + 1);
  CHECK_FALSE(fixture.init.correct_reply(other.parts, 2));
  Reply refusal(kUnique, -EPROTO);
  CHECK_FALSE(fixture.init.correct_reply(refusal.parts, 2));
  Reply shorter;
  shorter.parts[1].iov_len = 24;  // of protocol 7.22 and before
  CHECK_FALSE(fixture.init.correct_reply(shorter.parts, 2));
  CHECK_FALSE(fixture.init.correct_reply(shorter.parts, 1));
  CHECK_FALSE(fixture.init.is_done());
}

TEST_CASE("init reply: a reply before any INIT, and a message too short for a header, change nothing", "[fuse][init]") {
  InitReply init;
  init.observe_request("short", 5);
  Reply notification(0);
  CHECK_FALSE(init.correct_reply(notification.parts, 2));
}

TEST_CASE("init reply: a second INIT replaces the first", "[fuse][init]") {
  Fixture fixture(FUSE_PARALLEL_DIROPS);
  const std::string again = init_request(kInitDirectIoAllowMmap);
  fixture.init.observe_request(again.data(), again.size());
  CHECK(fixture.init.offered() == (kInitDirectIoAllowMmap | FUSE_INIT_EXT));
}
