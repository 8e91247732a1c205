// Calls of a client that sends the next one when it has the reply of the last, as those do that write durably, or make
// and remove names: the thread that ran one of them waits a moment for the next and runs that, too, from the socket to
// the socket. So no call costs the wake-ups of the loop and of another thread.
//
// The loop does not receive meanwhile. It looks every two milliseconds, and takes the socket back from a call that
// takes longer; the thread gives it back when nothing comes, or something that is not for it. At most half of the
// pool's threads wait so.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cache/mutex.h"
#include "net/nfs/job.h"
#include "net/nfs/rpc.h"
#include "net/nfs/session_ticket.h"

namespace sluice {

class NfsSession::DirectCalls : public std::enable_shared_from_this<DirectCalls> {
 public:
  // On the loop's thread. Null: enough threads wait for such clients.
  static std::shared_ptr<DirectCalls> begin(NfsSession* session, uint64_t held_bytes);
  DirectCalls(NfsSession* session, uint64_t held_bytes);
  ~DirectCalls();

  void run(NfsJob& first);         // a thread that may block: the first call, then those that follow
  void answer(std::string reply);  // any thread: of the call that runs

 private:
  enum class State { running, answered, over };
  bool is_answered();
  bool run_next();
  bool may_run(const RpcCall& call) const;

  NfsShared& shared_;
  const std::string credential_;
  const NfsJob::Client client_;
  Ticket ticket_;  // of all of them together: the session sees one call that takes long
  Mutex mutex_;    // Leaf lock, but for the loop's.
  CondVar changed_;
  State state_ GUARDED_BY(mutex_) = State::over;  // nobody waits for the answer
};

}  // namespace sluice
