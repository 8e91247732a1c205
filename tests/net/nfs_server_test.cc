// NfsServer over a small tree in memory: what a client hears whose file changes while it is read, who has a connection,
// and which thread serves it.
#include "net/nfs/server.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "net/nfs/handles.h"
#include "net/nfs/protocol.h"
#include "net/nfs/rpc.h"
#include "net/nfs/xdr.h"
#include "tests/net/fake_tree.h"
#include "tests/net/nfs_client.h"
#include "tests/support/catch.h"

namespace sluice {
namespace {

// The tree is changed only while there is no server.
struct Export {
  FakeTree tree;
  const InodeNumber file = tree.make(kRootInode, "file", S_IFREG | 0666);
  const NfsExportKey key = NfsExportKey::random();

  std::unique_ptr<NfsServer> start(NfsOptions options = {}, uint32_t blocking_threads = 1) {
    options.address = "127.0.0.1:0";
    options.key = key;
    options.blocking_threads = options.blocking_threads_max = blocking_threads;
    return std::move(*NfsServer::start(&tree, std::move(options)));
  }
  std::string handle() { return NfsHandles(key).seal(*tree.persistent_handle(file)); }
};

std::unique_ptr<NfsServer> start_limited(Export& exported, uint32_t threads, uint32_t connections_max) {
  NfsOptions options;
  options.threads = threads;
  options.connections_max = connections_max;
  return exported.start(std::move(options));
}

std::string write_arguments(Export& exported) {
  XdrWriter arguments;
  arguments.opaque(exported.handle()).u64(0).u32(8).u32(0).opaque("8 bytes.");
  return arguments.take();
}

// WRITEs one by one, until a thread of the pool receives them.
void write_until_direct(NfsServer& server, NfsClient& client, const std::string& arguments) {
  for (const uint64_t before = server.stats().direct_calls; server.stats().direct_calls == before;)
    REQUIRE(XdrReader(client.call(NfsProcedure::write, arguments)).u32() == 0);
}

uint32_t status_of_read(Export& exported) {
  const auto server = exported.start();
  NfsClient client(server->port());
  XdrWriter arguments;
  arguments.opaque(exported.handle()).u64(0).u32(4096);
  const std::string results = client.call(NfsProcedure::read, arguments.bytes());
  server->stop(std::chrono::seconds(0));
  return XdrReader(results).u32();
}

}  // namespace

TEST_CASE("nfs server: READ of a file that ends early is tried again, and stale only if the file is gone",
          "[net][nfs]") {
  Export exported;
  exported.tree.file_of(exported.file).size = 1000;
  exported.tree.file_of(exported.file).read_error = ESTALE;
  exported.tree.file_of(exported.file).read_errors_max = 1;
  CHECK(status_of_read(exported) == static_cast<uint32_t>(NfsStatus::ok));
  exported.tree.file_of(exported.file).read_errors_max = UINT32_MAX;
  CHECK(status_of_read(exported) == static_cast<uint32_t>(NfsStatus::jukebox));
  REQUIRE(exported.tree.unlink(Caller{}, kRootInode, "file"));
  CHECK(status_of_read(exported) == static_cast<uint32_t>(NfsStatus::stale));
}

TEST_CASE("nfs server: the connection that is idle longest gives way", "[net][nfs]") {
  Export exported;
  const auto server = start_limited(exported, 1, 2);
  NfsClient first(server->port());
  first.call(NfsProcedure::null, {});
  NfsClient second(server->port());
  second.call(NfsProcedure::null, {});
  first.call(NfsProcedure::null, {});
  NfsClient third(server->port());
  third.call(NfsProcedure::null, {});
  CHECK(second.ended());
  first.call(NfsProcedure::null, {});
  CHECK(server->stats().connections_displaced == 1);
  CHECK(server->stats().connections_open == 2);
  server->stop(std::chrono::seconds(0));
}

TEST_CASE("nfs server: a connection with a part of a call does not give way, others wait until it is idle",
          "[net][nfs]") {
  Export exported;
  const auto server = start_limited(exported, 1, 2);
  const std::string call = NfsClient::record_of(2, NfsProcedure::null, {});
  NfsClient first(server->port());
  first.call(NfsProcedure::null, {});
  first.send_some(std::string_view(call).substr(0, 10));
  NfsClient second(server->port());
  second.call(NfsProcedure::null, {});
  second.send_some(std::string_view(call).substr(0, 10));
  NfsClient third(server->port());
  CHECK(!third.has_reply_within(std::chrono::milliseconds(50), NfsProcedure::null));
  first.send_some(std::string_view(call).substr(10));
  uint32_t xid = 0;
  first.take_reply(&xid);
  CHECK(xid == 2);
  third.take_reply(&xid);
  CHECK(first.ended());
  CHECK(server->stats().connections_displaced == 1);
  server->stop(std::chrono::seconds(0));
}

TEST_CASE("nfs server: the limit is one for all threads", "[net][nfs]") {
  Export exported;
  const auto server = start_limited(exported, 3, 1);
  std::deque<NfsClient> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(server->port()).call(NfsProcedure::null, {});
  CHECK(server->stats().connections_open == 1);
  CHECK(server->stats().connections_displaced == 19);
  server->stop(std::chrono::seconds(0));
}

TEST_CASE("nfs server: an address has its share of connections", "[net][nfs]") {
  Export exported;
  NfsOptions options;
  options.threads = 1;
  options.connections_per_address_max = 2;
  const auto server = exported.start(std::move(options));
  {
    NfsClient first(server->port());
    first.call(NfsProcedure::null, {});
    NfsClient second(server->port());
    second.call(NfsProcedure::null, {});
    NfsClient third(server->port());
    CHECK(third.ended());
    first.call(NfsProcedure::null, {});
  }
  while (server->stats().connections_open > 0) std::this_thread::yield();
  NfsClient(server->port()).call(NfsProcedure::null, {});
  CHECK(server->stats().connections_refused == 1);
  CHECK(server->stats().connections_accepted == 3);
  server->stop(std::chrono::seconds(0));
}

// Replies larger than a socket takes at once, which the thread begins to send that made them, among small ones of the
// loop's.
TEST_CASE("nfs server: replies that two threads send do not mix", "[net][nfs]") {
  Export exported;
  const std::string target(6 << 20, 'x');
  const InodeNumber link = exported.tree.symlink(Caller{}, kRootInode, "link", target)->number;
  XdrWriter arguments;
  arguments.opaque(NfsHandles(exported.key).seal(*exported.tree.persistent_handle(link)));
  const auto server = exported.start();
  NfsClient client(server->port());
  constexpr uint32_t kCalls = 2000;
  const auto is_large = [](uint32_t xid) { return xid % 50 == 0; };
  std::atomic<uint32_t> taken{0};
  std::thread sender([&] {
    for (uint32_t xid = 1; xid <= kCalls; ++xid) {
      const auto procedure = is_large(xid) ? NfsProcedure::readlink : NfsProcedure::null;
      const std::string record = NfsClient::record_of(xid, procedure, is_large(xid) ? arguments.bytes() : "");
      for (uint32_t now; is_large(xid) && (now = taken) < xid - 1;)
        taken.wait(now);  // the server has nothing to send then
      for (std::string_view rest = record; !rest.empty();) rest = client.send_some(rest);
    }
  });
  std::vector<bool> seen(kCalls + 1);
  for (uint32_t i = 0; i < kCalls; ++i) {
    uint32_t xid = 0;
    const std::string results = client.take_reply(&xid);
    REQUIRE((xid > 0 && xid <= kCalls && !seen[xid]));
    seen[xid] = true;
    constexpr size_t kHead = 3 * kXdrWord + kNfsAttributesSize;  // status, attributes, the target's length
    REQUIRE(results.size() == (is_large(xid) ? kHead + target.size() : 0));
    REQUIRE((results.empty() || results.ends_with(target)));
    ++taken;
    taken.notify_one();
  }
  sender.join();
  server->stop(std::chrono::seconds(0));
}

TEST_CASE("nfs server: who ran a call receives the next one, until it is not for it", "[net][nfs]") {
  Export exported;
  NfsOptions options;
  options.backend = GENERATE(LoopBackend::automatic, LoopBackend::epoll);
  const auto server = exported.start(std::move(options), 2);
  const std::string write = write_arguments(exported);
  XdrWriter read;
  read.opaque(exported.handle()).u64(0).u32(8);
  const std::string null_record = NfsClient::record_of(99, NfsProcedure::null, {});
  NfsClient client(server->port());
  uint32_t xid = 0;
  for (int round = 0; round < 20; ++round) {
    write_until_direct(*server, client, write);
    switch (round % 4) {
      case 0: CHECK(XdrReader(client.call(NfsProcedure::read, read.bytes())).u32() == 0); break;
      case 1: client.call(NfsProcedure::null, {}); break;
      case 2:
        client.send_some(std::string_view(null_record).substr(0, 6));
        std::this_thread::sleep_for(std::chrono::milliseconds(3));  // longer than anybody waits for the rest
        client.send_some(std::string_view(null_record).substr(6));
        client.take_reply(&xid);
        CHECK(xid == 99);
        break;
      case 3: std::this_thread::sleep_for(std::chrono::milliseconds(3)); break;
    }
  }
  write_until_direct(*server, client, write);
  if (GENERATE(false, true)) {  // it stops while a thread waits for the next call, or at a moment after
    server->stop(std::chrono::seconds(10));
    CHECK(client.ended());
  }
  server->stop(std::chrono::seconds(0));
  CHECK(server->stats().connections_open == 0);
}

TEST_CASE("nfs server: a call that hangs does not hold up the next of its client", "[net][nfs]") {
  Export exported;
  std::atomic<bool> hangs{false};
  exported.tree.before_write = [&] { hangs.wait(true); };
  const auto server = exported.start({}, 2);
  const std::string write = write_arguments(exported);
  NfsClient client(server->port());
  for (int round = 0; round < 20; ++round) {
    write_until_direct(*server, client, write);
    hangs = true;
    client.send_some(NfsClient::record_of(1000, NfsProcedure::write, write));
    if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(round));
    client.send_some(NfsClient::record_of(1001, NfsProcedure::null, {}));
    uint32_t first = 0, second = 0;
    client.take_reply(&first);
    hangs = false;
    hangs.notify_all();
    client.take_reply(&second);
    CHECK((first == 1001 && second == 1000));
  }
  server->stop(std::chrono::seconds(0));
}

TEST_CASE("nfs server: a client that leaves while a thread waits for its next call is gone", "[net][nfs]") {
  Export exported;
  const auto server = exported.start({}, 2);
  const std::string write = write_arguments(exported);
  for (int round = 0; round < 20; ++round) {
    NfsClient client(server->port());
    write_until_direct(*server, client, write);
    if (round % 2 == 0) client.send_some(NfsClient::record_of(7, NfsProcedure::write, write).substr(0, 50));
  }
  while (server->stats().connections_open > 0) std::this_thread::yield();
  server->stop(std::chrono::seconds(0));
}

}  // namespace sluice
