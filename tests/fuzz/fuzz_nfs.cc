// Records of one connection, each behind its mark: RPC calls, credentials, and every procedure of NFS and MOUNT on a
// small tree. Whatever the bytes, a call is refused or has one reply of whole words, no longer than a client asked for,
// and when the connection is over nothing of the store is left in use.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "cache/assert.h"
#include "net/nfs/export_rules.h"
#include "net/nfs/service.h"
#include "tests/net/fake_tree.h"

using namespace sluice;  // NOLINT(google-build-using-namespace): a driver has nothing else

namespace {

constexpr size_t kHeadMax = 1 << 10;  // of a reply, before what the client set a limit to
constexpr size_t kCallsMax = 32;

void check_reply(const XdrWriter& reply, size_t data) {
  ASSERT(reply.size() % kXdrWord == 0);
  ASSERT(reply.size() + data <= kNfsTransferMax + kHeadMax);
}

void check_refusal(uint32_t xid, RpcError error) {
  ASSERT(rpc_refusal(xid, error, kNfsVersion).size() % kXdrWord == 0);
}

class Connection {
 public:
  Connection() {
    tree_.knows = true;
    const InodeNumber directory = tree_.make(kRootInode, "directory", S_IFDIR | 0777);
    tree_.make(directory, "file", S_IFREG | 0666);
    tree_.make(kRootInode, "file", S_IFREG | 0644);
    tree_.make(kRootInode, "link", S_IFLNK | 0777);
  }
  ~Connection() {
    service_.stop();
    ASSERT(tree_.references() == 0);
  }

  void take(std::string_view record) {
    uint32_t xid = 0;
    const auto call = parse_rpc_call(record, &xid);
    if (!call) {
      if (call.error() != RpcError::not_a_call) check_refusal(xid, call.error());
      return;
    }
    Caller caller = options_.caller_for(std::nullopt);
    if (call->flavor == static_cast<uint32_t>(RpcFlavor::sys)) {
      const auto claimed = parse_auth_sys(call->credential_body);
      if (!claimed) return check_refusal(xid, RpcError::bad_credential);
      ASSERT(claimed->groups.size() <= 16);
      caller = options_.caller_for(claimed);
      ASSERT(caller.uid != 0);
    }
    // The last bit of its number says whether the caller may use the export, the one before whether it may write.
    options_.read_only = (xid & 2) != 0;
    NfsCall run(call->arguments, (xid & 1) == 0 ? &options_ : nullptr);
    run.caller = std::make_shared<const Caller>(caller);
    begin_rpc_reply(run.reply, xid);
    if (call->program == kNfsProgram && call->procedure < kNfsProcedures) {
      run_nfs(static_cast<NfsProcedure>(call->procedure), run);
    } else if (call->program == kMountProgram && call->procedure < kMountProcedures) {
      finish(run, service_.run(static_cast<MountProcedure>(call->procedure), run));
    }
  }

 private:
  void run_nfs(NfsProcedure procedure, NfsCall& run) {
    if (procedure == NfsProcedure::read) return read(run);
    NfsCall known(run.arguments.rest(), run.options);
    known.caller = run.caller;
    if (service_.try_run(procedure, known)) check_reply(known.reply, 0);
    finish(run, service_.run(procedure, run));
  }
  void finish(NfsCall& run, bool was_run) {
    XdrWriter head;
    begin_rpc_reply(head, 0);
    if (!was_run) ASSERT(run.reply.size() == head.size());
    if (run.options == nullptr) ASSERT(run.announcements.empty());
    end_rpc_reply(run.reply);
    check_reply(run.reply, 0);
  }
  void read(NfsCall& run) {
    NfsCall known(run.arguments.rest(), run.options);
    known.caller = run.caller;
    service_.begin_read(known, NfsService::Wait::no);
    const auto target = service_.begin_read(run, NfsService::Wait::yes);
    if (!target) return;
    if (!*target) {
      service_.write_read_failure(run.reply, target->error());
      return check_reply(run.reply, 0);
    }
    ASSERT((*target)->count <= kNfsTransferMax);
    const uint64_t size = (*target)->file->data().size();
    const uint64_t length =
        (*target)->offset < size ? std::min<uint64_t>((*target)->count, size - (*target)->offset) : 0;
    service_.write_read_head(run.reply, **target, length);
    end_rpc_reply(run.reply, length + xdr_padding(length));
    check_reply(run.reply, length);
  }

  FakeTree tree_;
  NfsClientOptions options_;
  NfsService service_{&tree_, NfsExportKey{}, {.files_max = 8, .open_max = 2, .on_lost = nullptr}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  Connection connection;
  for (size_t calls = 0; rest.size() >= kXdrWord && calls < kCallsMax; ++calls) {
    const size_t length = std::min<size_t>(XdrReader(rest).u32() & ~kRpcLastFragment, rest.size() - kXdrWord);
    connection.take(std::string(rest.substr(kXdrWord, length)));
    rest.remove_prefix(kXdrWord + length);
  }
  return 0;
}
