#include "fs/fuse/ring_entry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <string>
#include <string_view>

#include "tests/support/catch.h"

using namespace sluice;

namespace {

constexpr size_t kPayloadMax = 16384;
constexpr uint64_t kKernels = 1234;
constexpr uint64_t kOurs = uint64_t{1} << 63 | 5;

// Does what the kernel does with an entry.
struct Fixture {
  std::unique_ptr<char, decltype(&::free)> memory{
      static_cast<char*>(::aligned_alloc(4096, RingEntry::kHeadSize + kPayloadMax)), &::free};
  RingEntry entry;

  Fixture() { entry.place({nullptr, 3, 9}, memory.get(), kPayloadMax); }

  RingHeader& header() { return *reinterpret_cast<RingHeader*>(memory.get()); }
  char* payload() { return memory.get() + RingEntry::kHeadSize; }

  void put(uint32_t opcode, std::string_view argument, std::string_view rest) {
    fuse_in_header in{};
    in.len = static_cast<uint32_t>(sizeof(in) + argument.size() + rest.size());
    in.opcode = opcode;
    in.unique = kKernels;
    in.uid = 1000;
    header() = {};
    ::memcpy(header().message, &in, sizeof(in));
    ::memcpy(header().argument, argument.data(), argument.size());
    ::memcpy(payload(), rest.data(), rest.size());
    header().lengths.payload_size = static_cast<uint32_t>(rest.size());
    header().lengths.commit_id = kKernels;
  }
  fuse_out_header out() {
    fuse_out_header out;
    ::memcpy(&out, header().message, sizeof(out));
    return out;
  }
};

fuse_in_header head_of(std::span<const char> request) {
  fuse_in_header in;
  ::memcpy(&in, request.data(), sizeof(in));
  return in;
}
std::string_view body_of(std::span<const char> request) {
  return std::string_view(request.data(), request.size()).substr(sizeof(fuse_in_header));
}

}  // namespace

TEST_CASE("ring entry: header, argument and payload become one piece", "[fuse][ring]") {
  Fixture fixture;
  const std::string argument(sizeof(fuse_write_in), 'a');
  const std::string bytes(8192, 'w');
  fixture.put(FUSE_WRITE, argument, bytes);
  const auto request = fixture.entry.receive(kOurs);
  REQUIRE(request.size() == sizeof(fuse_in_header) + argument.size() + bytes.size());
  const fuse_in_header in = head_of(request);
  CHECK(in.unique == kOurs);
  CHECK(in.uid == 1000);
  CHECK(in.len == request.size());
  CHECK(body_of(request) == argument + bytes);
  CHECK(fixture.entry.opcode() == FUSE_WRITE);
  CHECK(request.data() + request.size() - bytes.size() == fixture.payload());  // the bytes stayed where they were
  CHECK(fixture.entry.commit_id() == kKernels);
}

TEST_CASE("ring entry: a request without an argument is header and payload", "[fuse][ring]") {
  Fixture fixture;
  fixture.put(FUSE_LOOKUP, "", std::string_view("name\0", 5));
  CHECK(body_of(fixture.entry.receive(kOurs)) == std::string_view("name\0", 5));
  fixture.put(FUSE_STATFS, "", "");
  CHECK(body_of(fixture.entry.receive(kOurs)).empty());
}

TEST_CASE("ring entry: lengths that make no sense give no request", "[fuse][ring]") {
  Fixture fixture;
  fixture.put(FUSE_LOOKUP, "", "name");
  fixture.header().lengths.payload_size = kPayloadMax + 1;
  CHECK(fixture.entry.receive(kOurs).empty());
  fixture.header().lengths.payload_size = 5;
  CHECK(fixture.entry.receive(kOurs).empty());
  fuse_in_header in{};
  in.len = sizeof(in) + kRingHeaderSize + 1;
  ::memcpy(fixture.header().message, &in, sizeof(in));
  fixture.header().lengths.payload_size = 0;
  CHECK(fixture.entry.receive(kOurs).empty());
}

TEST_CASE("ring entry: a reply in parts becomes header and payload, under the kernel's number", "[fuse][ring]") {
  Fixture fixture;
  fixture.put(FUSE_READ, std::string(sizeof(fuse_read_in), 'r'), "");
  fixture.entry.receive(kOurs);
  fuse_out_header header{.len = 0, .error = 0, .unique = kOurs};
  std::string one(5000, '1'), two(3, '2');
  const iovec parts[] = {{&header, sizeof(header)}, {one.data(), one.size()}, {two.data(), two.size()}};
  fixture.entry.reply(parts, 3);
  CHECK(fixture.out().unique == kKernels);
  CHECK(fixture.out().error == 0);
  CHECK(fixture.out().len == sizeof(header) + 5003);
  CHECK(fixture.entry.payload_size() == 5003);
  CHECK(std::string_view(fixture.payload(), 5003) == one + two);
  CHECK(fixture.entry.touched() == RingEntry::kHeadSize + 8192);
}

TEST_CASE("ring entry: an errno has no payload, and what is too long becomes one", "[fuse][ring]") {
  Fixture fixture;
  fixture.put(FUSE_READ, std::string(sizeof(fuse_read_in), 'r'), "");
  fixture.entry.receive(kOurs);
  fuse_out_header header{.len = sizeof(header), .error = -ENOENT, .unique = kOurs};
  const iovec parts[] = {{&header, sizeof(header)}};
  fixture.entry.reply(parts, 1);
  CHECK(fixture.out().error == -ENOENT);
  CHECK(fixture.entry.payload_size() == 0);

  header.error = 0;
  std::string long_one(kPayloadMax + 1, 'x');
  const iovec too_long[] = {{&header, sizeof(header)}, {long_one.data(), long_one.size()}};
  fixture.entry.reply(too_long, 2);
  CHECK(fixture.out().error == -EIO);
  CHECK(fixture.entry.payload_size() == 0);
}

TEST_CASE("ring entry: it is found by the kernel's number until it was answered", "[fuse][ring]") {
  Fixture fixture;
  CHECK_FALSE(fixture.entry.is_ours());
  fixture.put(FUSE_STATFS, "", "");
  fixture.entry.receive(kOurs);
  CHECK(fixture.entry.is_ours());
  CHECK(fixture.entry.number_of(kKernels) == kOurs);
  CHECK(fixture.entry.number_of(kKernels + 2) == 0);
  fixture.entry.release();
  CHECK(fixture.entry.number_of(kKernels) == 0);
}
