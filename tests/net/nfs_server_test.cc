// NfsServer over a small tree in memory: what a client hears whose file changes while it is read.
#include "net/nfs/server.h"

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "net/nfs/handles.h"
#include "net/nfs/protocol.h"
#include "net/nfs/rpc.h"
#include "net/nfs/xdr.h"
#include "tests/net/fake_tree.h"
#include "tests/net/nfs_client.h"
#include "tests/support/catch.h"

namespace sluice {
namespace {

// The server runs one call at a time, so the tree may be changed between two.
struct Export {
  FakeTree tree;
  const InodeNumber file = tree.make(kRootInode, "file", S_IFREG | 0644);
  const NfsExportKey key = NfsExportKey::random();
  std::unique_ptr<NfsServer> server = start();

  std::unique_ptr<NfsServer> start() {
    NfsOptions options;
    options.address = "127.0.0.1:0";
    options.key = key;
    return std::move(*NfsServer::start(&tree, std::move(options)));
  }
  std::string handle() { return NfsHandles(key).seal(*tree.persistent_handle(file)); }
};

uint32_t status_of_read(Export& exported, NfsClient& client) {
  XdrWriter arguments;
  arguments.opaque(exported.handle()).u64(0).u32(4096);
  const std::string results = client.call(NfsProcedure::read, arguments.bytes());
  return XdrReader(results).u32();
}

}  // namespace

TEST_CASE("nfs server: READ of a file that ends early is tried again, and stale only if the file is gone",
          "[net][nfs]") {
  Export exported;
  exported.tree.file_of(exported.file).size = 1000;
  exported.tree.file_of(exported.file).read_error = ESTALE;
  NfsClient client(exported.server->port());
  exported.tree.file_of(exported.file).read_errors_max = 1;
  CHECK(status_of_read(exported, client) == static_cast<uint32_t>(NfsStatus::ok));
  exported.tree.file_of(exported.file).read_errors_max = UINT32_MAX;
  CHECK(status_of_read(exported, client) == static_cast<uint32_t>(NfsStatus::jukebox));
  REQUIRE(exported.tree.unlink(Caller{}, kRootInode, "file"));
  CHECK(status_of_read(exported, client) == static_cast<uint32_t>(NfsStatus::stale));
  exported.server->stop(std::chrono::seconds(0));
}

}  // namespace sluice
