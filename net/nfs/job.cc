#include "net/nfs/job.h"

#include <xxhash.h>

#include <utility>

#include "fs/store/backing_health.h"

namespace sluice {
namespace {

// Running it again would do harm, or say what is not so.
bool must_run_once(const RpcCall& call) {
  if (call.program != kNfsProgram) return false;
  switch (static_cast<NfsProcedure>(call.procedure)) {
    case NfsProcedure::setattr:
    case NfsProcedure::create:
    case NfsProcedure::mkdir:
    case NfsProcedure::symlink:
    case NfsProcedure::mknod:
    case NfsProcedure::remove:
    case NfsProcedure::rmdir:
    case NfsProcedure::rename:
    case NfsProcedure::link: return true;
    default: return false;
  }
}

// The stamp of an AUTH_SYS credential, its first word, may be another one when the call is sent again: the time.
uint64_t hash_of(const RpcCall& call) {
  std::string_view identity = call.credential_body;
  if (call.flavor == static_cast<uint32_t>(RpcFlavor::sys)) identity.remove_prefix(kXdrWord);
  const uint64_t credential = ::XXH3_64bits(identity.data(), identity.size());
  return ::XXH3_64bits_withSeed(call.arguments.data(), call.arguments.size(), credential);
}

}  // namespace

uint64_t NfsJob::reply_room(const RpcCall& call) {
  if (call.program == kMountProgram)
    return static_cast<MountProcedure>(call.procedure) == MountProcedure::dump ? kNfsTransferMax : 0;
  const auto procedure = static_cast<NfsProcedure>(call.procedure);
  const bool lists = procedure == NfsProcedure::readdir || procedure == NfsProcedure::readdirplus;
  return lists ? kNfsTransferMax : 0;
}

NfsCall NfsJob::Client::prepare(std::string_view arguments) const {
  NfsCall call(arguments, options);
  call.caller = caller;
  call.peer = peer;
  return call;
}

std::optional<std::string> NfsJob::answer_known(NfsShared& shared, const RpcCall& call, const Client& client) {
  NfsCall known = client.prepare(call.arguments);
  begin_rpc_reply(known.reply, call.xid);
  if (!shared.service.try_run(static_cast<NfsProcedure>(call.procedure), known)) return std::nullopt;
  end_rpc_reply(known.reply);
  return known.reply.take();
}

NfsJob::NfsJob(NfsShared* shared, const RpcCall& call, const Client& client)
    : shared_(*shared),
      program_(call.program),
      procedure_(call.procedure),
      xid_(call.xid),
      arguments_(call.arguments),
      client_(client) {}

std::shared_ptr<NfsJob> NfsJob::begin(NfsShared* shared, const RpcCall& call, const Client& client,
                                      ReplyCache::Send send, std::unique_ptr<PreparedWrite> data) {
  std::shared_ptr<NfsJob> job(new NfsJob(shared, call, client));
  job->data_ = std::move(data);
  if (!must_run_once(call)) {
    job->send_ = std::move(send);
    return job;
  }
  job->once_ = {.client = client.peer, .xid = call.xid, .procedure = call.procedure, .call_hash = hash_of(call)};
  return shared->replies.begin(*job->once_, std::move(send)) ? job : nullptr;
}

void NfsJob::run() {
  // What changes something says so when it does: a call that only looked must not pass for a change that came back.
  const BackingCall backing(shared_.options.health, BackingUser::nfs, BackingUse::look);
  NfsCall call = client_.prepare(arguments_);
  call.data = std::move(data_);
  begin_rpc_reply(call.reply, xid_);
  std::string reply;
  if (run_procedure(call)) {
    end_rpc_reply(call.reply);
    reply = call.reply.take();
  } else {
    NfsCounters::count(shared_.counters.errors);
    reply = rpc_refusal(xid_, RpcError::garbage_arguments);
  }
  shared_.store.announce(std::move(call.announcements), [job = shared_from_this(), reply = std::move(reply)]() mutable {
    job->finish(std::move(reply), true);
  });
}

bool NfsJob::run_procedure(NfsCall& call) {
  if (program_ == kMountProgram) return shared_.service.run(static_cast<MountProcedure>(procedure_), call);
  return shared_.service.run(static_cast<NfsProcedure>(procedure_), call);
}

void NfsJob::refuse() {
  XdrWriter reply;
  begin_rpc_reply(reply, xid_);
  if (program_ == kMountProgram) {
    reply.u32(static_cast<uint32_t>(NfsStatus::serverfault));
  } else {
    write_failure(reply, static_cast<NfsProcedure>(procedure_), NfsStatus::jukebox);
  }
  end_rpc_reply(reply);
  finish(reply.take(), false);
}

void NfsJob::finish(std::string reply, bool was_run) {
  if (once_) {
    shared_.replies.answered(*once_, std::move(reply), was_run);
  } else {
    send_(std::move(reply));
  }
}

}  // namespace sluice
