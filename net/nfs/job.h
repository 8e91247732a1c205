// NfsJob is one call that runs on a thread that may block: the procedure, what is announced of its changes, then its
// reply. The reply of a call that must not run twice goes by the reply cache, which knows by then who waits for it.
//
//   auto job = NfsJob::begin(&shared, call, client, send);
//   if (job != nullptr && !pool.submit([job] { job->run(); })) job->refuse();
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "net/nfs/reply_cache.h"
#include "net/nfs/rpc.h"
#include "net/nfs/service.h"
#include "net/nfs/worker.h"
#include "net/peer_address.h"

namespace sluice {

class NfsJob : public std::enable_shared_from_this<NfsJob> {
 public:
  struct Client {
    std::shared_ptr<const Caller> caller;
    PeerAddress peer;
    const NfsClientOptions* options;  // outlive the job

    NfsCall prepare(std::string_view arguments) const;  // outlived by both
  };
  // The reply of a call that needs no thread that may block. Never blocks. Nothing: it does, or is refused there.
  static std::optional<std::string> answer_known(NfsShared& shared, const RpcCall& call, const Client& client);
  // `data`: see NfsCall. Null: there is nothing to run, the call came before. `send` is called with the first one's
  // reply, now or later.
  static std::shared_ptr<NfsJob> begin(NfsShared* shared, const RpcCall& call, const Client& client,
                                       ReplyCache::Send send, std::unique_ptr<PreparedWrite> data = nullptr);

  // One of them, once. Any thread; `run` blocks, and `send` may be called after it has returned.
  void run();
  void refuse();  // nobody has time for it

  // Bytes that a call's reply may take, where that is more than a few. Of a READ they stay in the cache.
  static uint64_t reply_room(const RpcCall& call);

 private:
  NfsJob(NfsShared* shared, const RpcCall& call, const Client& client);

  bool run_procedure(NfsCall& call);
  void finish(std::string reply, bool was_run);

  NfsShared& shared_;
  const uint32_t program_;
  const uint32_t procedure_;
  const uint32_t xid_;
  const std::string arguments_;
  const Client client_;
  std::unique_ptr<PreparedWrite> data_;
  std::optional<ReplyCache::Key> once_;  // of a call that must not run twice: the cache has its sender
  ReplyCache::Send send_;                // of others
};

}  // namespace sluice
