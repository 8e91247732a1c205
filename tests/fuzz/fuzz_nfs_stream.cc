// The bytes of one connection as they come from the network, cut anywhere: records and their fragments, calls one
// behind the other, and a WRITE's data on their way to the store. Of whatever comes, what is sent back are whole
// records, and the connection ends when the client's side does. The first byte says where the rest is cut.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cache/assert.h"
#include "net/nfs/rpc.h"
#include "net/nfs/server.h"
#include "net/nfs/xdr.h"
#include "tests/net/fake_tree.h"

using namespace sluice;  // NOLINT(google-build-using-namespace): a driver has nothing else

namespace {

constexpr time_t kPatienceSeconds = 10;

// Nothing can be changed: the tree is not made for several threads.
struct Export {
  Export() {
    const InodeNumber directory = tree.make(kRootInode, "directory", S_IFDIR | 0777);
    tree.make(directory, "file", S_IFREG | 0666);
    tree.make(kRootInode, "file", S_IFREG | 0644);
    tree.make(kRootInode, "link", S_IFLNK | 0777);
    NfsOptions options;
    options.address = "127.0.0.1:0";
    options.rules = NfsExportRules::loopback({.read_only = true});
    options.threads = options.blocking_threads = options.blocking_threads_max = 1;
    server = std::move(*NfsServer::start(&tree, std::move(options)));
  }
  FakeTree tree;
  std::unique_ptr<NfsServer> server;
};

UniqueFd connect_to(uint16_t port) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  const timeval patience{.tv_sec = kPatienceSeconds, .tv_usec = 0};
  const linger reset{.l_onoff = 1, .l_linger = 0};  // no port waits after the end
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return socket;
}

std::string all_from(int socket) {
  std::string replies;
  char bytes[16 << 10];
  for (;;) {
    const ssize_t got = ::recv(socket, bytes, sizeof bytes, 0);
    ASSERT(got >= 0 || errno == ECONNRESET);
    if (got <= 0) return replies;
    replies.append(bytes, static_cast<size_t>(got));
  }
}

// The last may be cut: a connection that is refused takes its replies along.
void check(std::string_view replies) {
  while (replies.size() >= kXdrWord) {
    const uint32_t word = XdrReader(replies).u32();
    const size_t length = word & ~kRpcLastFragment;
    ASSERT((word & kRpcLastFragment) != 0 && length % kXdrWord == 0 && length > 0);
    replies.remove_prefix(std::min(replies.size(), kXdrWord + length));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const exported = new Export;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const UniqueFd socket = connect_to(exported->server->port());
  const bool is_cut = size % 4 != 0;
  for (size_t piece = size; !rest.empty(); piece = piece * 7 + 1) {
    const size_t length = std::min(rest.size(), is_cut ? piece % 600 + 1 : rest.size());
    if (::send(socket.get(), rest.data(), length, MSG_NOSIGNAL) < 0) break;
    rest.remove_prefix(length);
  }
  ::shutdown(socket.get(), SHUT_WR);
  check(all_from(socket.get()));
  return 0;
}
