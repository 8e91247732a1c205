#include "net/nfs/session.h"

#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/assert.h"
#include "net/nfs/service.h"

namespace sluice {
namespace {

constexpr size_t kRecordMax = kNfsTransferMax + (8 << 10);  // a WRITE with the longest credential
constexpr size_t kInputMax = kRecordMax + (64 << 10);
constexpr uint64_t kCallsMax = 256;  // of one connection, at a time
constexpr uint64_t kHeldBytesMax = uint64_t{8}
                                   << 20;     // ... of their arguments, and of replies that wait for the client
constexpr size_t kReadyMax = 64 << 10;        // then replies are sent though more calls are there
constexpr uint32_t kCopiedReadMax = 8 << 10;  // data that go with the reply's head into one buffer
constexpr uint32_t kReadAttemptsMax = 3;

// Running it again would do harm, or say what is not so.
bool must_run_once(NfsProcedure procedure) {
  switch (procedure) {
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
bool must_run_once(MountProcedure) {
  return false;
}

// Bytes that a reply may take, where that is more than a few. Of a READ they stay in the cache.
uint64_t reply_room(NfsProcedure procedure) {
  const bool lists = procedure == NfsProcedure::readdir || procedure == NfsProcedure::readdirplus;
  return lists ? kNfsTransferMax : 0;
}
uint64_t reply_room(MountProcedure procedure) {
  return procedure == MountProcedure::dump ? kNfsTransferMax : 0;
}

// What the client hears when nobody has time for it.
void write_busy(XdrWriter& reply, NfsProcedure procedure) {
  write_failure(reply, procedure, NfsStatus::jukebox);
}
void write_busy(XdrWriter& reply, MountProcedure) {
  reply.u32(static_cast<uint32_t>(NfsStatus::serverfault));
}

uint64_t hash_of(const RpcCall& call) {
  const uint64_t credential = ::XXH3_64bits(call.credential_body.data(), call.credential_body.size());
  return ::XXH3_64bits_withSeed(call.arguments.data(), call.arguments.size(), credential);
}

void append_bytes(std::string& to, const FileSlice& slice) {
  uint64_t skip = slice.skip, left = slice.length;
  const Arena& arena = *slice.pages.arena();
  for (const FrameRun& run : slice.pages.runs()) {
    const uint64_t size = run.count * kPageSize;
    if (skip < size && left > 0) {
      const uint64_t part = std::min(left, size - skip);
      to.append(arena.address(run.first) + skip, part);
      left -= part;
      skip = 0;
    } else {
      skip -= std::min(skip, size);
    }
  }
}

}  // namespace

// The way of one call back to its connection, from any thread. Dropped without an answer it only says that the call is
// over (another one with the same xid has its reply).
class NfsSession::Ticket {
 public:
  Ticket(NfsSession* session, uint64_t held_bytes)
      : loop_(&session->loop()),
        session_(std::static_pointer_cast<NfsSession>(session->shared_from_this())),
        held_bytes_(held_bytes) {
    loop_->hold();
    session->held_bytes_ += held_bytes;
  }
  Ticket(Ticket&& other) noexcept
      : loop_(std::exchange(other.loop_, nullptr)),
        session_(std::move(other.session_)),
        held_bytes_(other.held_bytes_) {}
  Ticket& operator=(Ticket&&) = delete;
  ~Ticket() {
    if (loop_ != nullptr) back([](NfsSession& session) { session.call_ended(1); });
  }

  // On the loop's thread: the call is answered without it.
  void cancel() {
    std::exchange(loop_, nullptr)->unhold();
    session_->held_bytes_ -= held_bytes_;
    session_.reset();
  }
  // `work` runs on the loop's thread, unless the connection is closed.
  template <typename Work>
  void back(Work work) {
    EventLoop* const loop = std::exchange(loop_, nullptr);
    loop->post([loop, session = std::move(session_), bytes = held_bytes_, work = std::move(work)]() mutable {
      loop->unhold();
      session->held_bytes_ -= bytes;
      if (!session->closed()) work(*session);
    });
  }

 private:
  EventLoop* loop_;
  std::shared_ptr<NfsSession> session_;
  uint64_t held_bytes_;
};

NfsSession::NfsSession(NfsWorker* worker, UniqueFd socket, const PeerAddress& peer, const NfsClientOptions& options)
    : Connection(&worker->send_context(), std::move(socket), kInputMax),
      worker_(worker),
      shared_(worker->shared()),
      peer_(peer),
      options_(options) {
  set_deadline(shared_.options.idle_timeout);
}

void NfsSession::drain() {
  draining_ = true;
  end_if_done();
}

bool NfsSession::may_take_more() const {
  return !closed() && !draining_ && calls_ < kCallsMax && held_bytes_ < kHeldBytesMax;
}

size_t NfsSession::on_input(std::string_view bytes) {
  size_t consumed = 0;
  in_input_loop_ = true;
  // What is answered at once makes room for more calls, and nobody would show them again.
  for (size_t taken = 1; taken > 0 && may_take_more();) {
    taken = take_calls(bytes.substr(consumed));
    consumed += taken;
    flush();
  }
  in_input_loop_ = false;
  end_if_done();
  return consumed;
}

// A client that has closed its side is answered all that it sent before. What is left then is not a whole call.
void NfsSession::end_if_done() {
  if (calls_ == 0 && !in_input_loop_ && (draining_ || input_ended())) close();
}

size_t NfsSession::take_calls(std::string_view bytes) {
  size_t consumed = 0;
  while (may_take_more()) {
    size_t taken = 0;
    const std::string_view record = take_record(bytes.substr(consumed), &taken);
    consumed += taken;
    if (record.data() == nullptr) {
      if (taken == 0) break;
      continue;
    }
    handle(record);
    std::string().swap(record_);  // with its memory: few clients send calls in several fragments
  }
  return consumed;
}

// The next whole record, or null: `consumed` says of how many bytes there was a use.
std::string_view NfsSession::take_record(std::string_view bytes, size_t* consumed) {
  if (bytes.size() < kXdrWord) return {};
  const uint32_t word = XdrReader(bytes).u32();
  const size_t length = word & ~kRpcLastFragment;
  if (length > kRecordMax - record_.size()) {
    NfsCounters::count(shared_.counters.errors);
    close();
    return {};
  }
  if (bytes.size() - kXdrWord < length) return {};
  *consumed = kXdrWord + length;
  const std::string_view fragment = bytes.substr(kXdrWord, length);
  const bool is_last = (word & kRpcLastFragment) != 0;
  if (is_last && record_.empty()) return fragment;
  record_.append(fragment);
  return is_last ? std::string_view(record_) : std::string_view();
}

void NfsSession::handle(std::string_view record) {
  if (calls_++ == 0) set_deadline(shared_.options.send_timeout);
  NfsCounters::count(shared_.counters.calls);
  uint32_t xid = 0;
  const auto call = parse_rpc_call(record, &xid);
  if (!call) {
    if (call.error() != RpcError::not_a_call) return refuse(xid, call.error());
    NfsCounters::count(shared_.counters.errors);
    return close();
  }
  const bool is_nfs = call->program == kNfsProgram;
  if (!is_nfs && call->program != kMountProgram) return refuse(xid, RpcError::program_unavailable);
  if (call->version != (is_nfs ? kNfsVersion : kMountVersion))
    return refuse(xid, RpcError::program_mismatch, is_nfs ? kNfsVersion : kMountVersion);
  if (call->procedure >= (is_nfs ? kNfsProcedures : kMountProcedures))
    return refuse(xid, RpcError::procedure_unavailable);
  if (call->procedure == 0) return answer_null(*call);
  if (!identify(*call)) return;
  if (is_nfs) {
    handle_nfs(*call);
  } else {
    handle_mount(*call);
  }
}

void NfsSession::refuse(uint32_t xid, RpcError error, uint32_t version) {
  NfsCounters::count(shared_.counters.errors);
  answer(rpc_refusal(xid, error, version));
}

void NfsSession::answer_null(const RpcCall& call) {
  XdrWriter reply;
  begin_rpc_reply(reply, call.xid);
  end_rpc_reply(reply);
  answer(reply.take());
}

// Most calls of a connection come from one user.
bool NfsSession::identify(const RpcCall& call) {
  if (call.flavor == static_cast<uint32_t>(RpcFlavor::none)) {
    credential_.clear();
    caller_ = std::make_shared<const Caller>(options_.caller_for(std::nullopt));
    return true;
  }
  if (call.flavor != static_cast<uint32_t>(RpcFlavor::sys)) {
    refuse(call.xid, RpcError::too_weak);
    return false;
  }
  if (caller_ != nullptr && !credential_.empty() && credential_ == call.credential_body) return true;
  const auto claimed = parse_auth_sys(call.credential_body);
  if (!claimed) {
    refuse(call.xid, RpcError::bad_credential);
    return false;
  }
  credential_ = call.credential_body;
  caller_ = std::make_shared<const Caller>(options_.caller_for(claimed));
  return true;
}

NfsCall NfsSession::prepare(std::string_view arguments, std::shared_ptr<const Caller> caller) const {
  NfsCall call(arguments, &options_);
  call.caller = std::move(caller);
  call.peer = peer_;
  return call;
}

void NfsSession::handle_mount(const RpcCall& call) {
  run_elsewhere(static_cast<MountProcedure>(call.procedure), call);
}

void NfsSession::handle_nfs(const RpcCall& call) {
  const auto procedure = static_cast<NfsProcedure>(call.procedure);
  if (procedure == NfsProcedure::read)
    return begin_read({.xid = call.xid, .arguments = std::string(call.arguments), .caller = caller_});
  if (!try_known(procedure, call)) run_elsewhere(procedure, call);
}

bool NfsSession::try_known(NfsProcedure procedure, const RpcCall& call) {
  NfsCall known = prepare(call.arguments, caller_);
  begin_rpc_reply(known.reply, call.xid);
  if (!shared_.service.try_run(procedure, known)) return false;
  end_rpc_reply(known.reply);
  answer(known.reply.take());
  return true;
}

template <typename Procedure>
void NfsSession::run_elsewhere(Procedure procedure, const RpcCall& call) {
  auto ticket = std::make_shared<Ticket>(this, call.arguments.size() + reply_room(procedure));
  auto send = [ticket](std::string reply) {
    ticket->back([reply = std::move(reply)](NfsSession& session) mutable { session.answer(std::move(reply)); });
  };
  std::optional<ReplyCache::Key> key;
  ReplyCache::Send send_once(std::move(send));
  ticket.reset();
  if (must_run_once(procedure)) {
    key = {.client = peer_, .xid = call.xid, .procedure = call.procedure, .call_hash = hash_of(call)};
    if (!shared_.replies.begin(*key, send_once)) return;
  }
  // What of `send_once` the cache has taken comes back by `answered`.
  auto finish = [shared = &shared_, key, send = std::move(send_once)](std::string reply, bool was_run) mutable {
    if (key) {
      shared->replies.answered(*key, std::move(reply), was_run);
    } else {
      send(std::move(reply));
    }
  };
  auto busy = [xid = call.xid, procedure] {
    XdrWriter reply;
    begin_rpc_reply(reply, xid);
    write_busy(reply, procedure);
    end_rpc_reply(reply);
    return reply.take();
  };
  auto shared_finish = std::make_shared<decltype(finish)>(std::move(finish));
  auto task = [this_shared = &shared_, procedure, xid = call.xid, arguments = std::string(call.arguments),
               caller = caller_, peer = peer_, options = &options_, shared_finish]() mutable {
    // What changes something says so when it does: a call that only looked must not pass for a change that came back.
    const BackingCall backing(this_shared->options.health, BackingUser::nfs, BackingUse::look);
    NfsCall run(arguments, options);
    run.caller = std::move(caller);
    run.peer = peer;
    begin_rpc_reply(run.reply, xid);
    std::string reply;
    if (this_shared->service.run(procedure, run)) {
      end_rpc_reply(run.reply);
      reply = run.reply.take();
    } else {
      NfsCounters::count(this_shared->counters.errors);
      reply = rpc_refusal(xid, RpcError::garbage_arguments);
    }
    this_shared->store.announce(std::move(run.announcements), [shared_finish, reply = std::move(reply)]() mutable {
      (*shared_finish)(std::move(reply), true);
    });
  };
  if (!shared_.pool->submit(std::move(task))) (*shared_finish)(busy(), false);
}

// ---- READ ----

void NfsSession::begin_read(ReadCall call) {
  NfsCall prepared = prepare(call.arguments, call.caller);
  const auto target = shared_.service.begin_read(prepared, NfsService::Wait::no);
  if (!target) return refuse(call.xid, RpcError::garbage_arguments);
  if (*target) return read(std::move(call), **target);
  begin_read_elsewhere(std::move(call));
}

void NfsSession::begin_read_elsewhere(ReadCall call) {
  auto ticket = std::make_shared<Ticket>(this, call.arguments.size());
  auto task = [shared = &shared_, options = &options_, ticket, call]() mutable {
    const BackingCall backing(shared->options.health, BackingUser::nfs, BackingUse::look);
    NfsCall prepared(call.arguments, options);
    prepared.caller = call.caller;
    auto target = shared->service.begin_read(prepared, NfsService::Wait::yes);
    ticket->back([call = std::move(call), target = std::move(target)](NfsSession& session) mutable {
      if (!*target) return session.fail_read(call, target->error());
      session.read(std::move(call), **target);
    });
  };
  if (shared_.pool->submit(std::move(task))) return;
  ticket->back([call = std::move(call)](NfsSession& session) { session.fail_read(call, {NfsStatus::jukebox, {}}); });
}

void NfsSession::fail_read(const ReadCall& call, const NfsReadFailure& failure) {
  XdrWriter reply;
  begin_rpc_reply(reply, call.xid);
  shared_.service.write_read_failure(reply, failure);
  end_rpc_reply(reply);
  answer(reply.take());
}

struct NfsSession::PendingRead {
  ReadCall call;
  NfsReadTarget target;
  uint64_t length = 0;  // of the data, and of what is read of them first
  uint64_t first_length = 0;
  std::shared_ptr<const ChangeWatch> watch;
  Ticket ticket;
  // Of the loop's thread:
  bool is_asking = true;
  std::optional<Result<FileSlice>> arrived;  // meanwhile
};

// The data first, so that the calls of one connection do not wait for each other's; what is sent at once need not be
// looked up again.
void NfsSession::read(ReadCall call, NfsReadTarget target) {
  const uint64_t size = target.file->data().size();
  const uint64_t length = target.offset < size ? std::min<uint64_t>(target.count, size - target.offset) : 0;
  NfsCounters::count(shared_.counters.reads);
  NfsCounters::count(shared_.counters.read_bytes, length);
  auto pending = std::make_shared<PendingRead>(PendingRead{.call = std::move(call),
                                                           .target = std::move(target),
                                                           .length = length,
                                                           .first_length = 0,
                                                           .watch = nullptr,
                                                           .ticket = Ticket(this, 0),
                                                           .arrived = std::nullopt});
  if (length == 0) {
    pending->ticket.cancel();
    return send_read(*pending, FileSlice{});
  }
  OpenFile& file = *pending->target.file;
  // Small data leave in one piece, before they can change.
  if (length > kCopiedReadMax) pending->watch = file.data().watch();
  pending->first_length = SendPath::first_slice(pending->target.offset, length);
  file.read(pending->target.offset, pending->first_length, [loop = &loop(), pending](Result<FileSlice> slice) {
    if (loop->in_thread() && pending->is_asking) {
      pending->arrived = std::move(slice);
      return;
    }
    pending->ticket.back([pending, slice = std::move(slice)](NfsSession& session) mutable {
      session.send_read(*pending, std::move(slice));
    });
  });
  pending->is_asking = false;
  if (!pending->arrived) return;
  pending->ticket.cancel();
  send_read(*pending, std::move(*pending->arrived));
}

void NfsSession::send_read(PendingRead& read, Result<FileSlice> slice) {
  if (!slice) return fail_read(read.call, {nfs_status_of(slice.error().number), read.target.attributes});
  const NfsReadTarget& target = read.target;
  const uint64_t length = slice->length < read.first_length ? slice->length : read.length;
  XdrWriter head;
  begin_rpc_reply(head, read.call.xid);
  shared_.service.write_read_head(head, target, length);
  const size_t padding = xdr_padding(length);
  end_rpc_reply(head, length + padding);
  if (length <= kCopiedReadMax && length == slice->length) {
    std::string reply = head.take();
    reply.reserve(reply.size() + length + padding);
    if (length > 0) append_bytes(reply, *slice);
    reply.append(padding, '\0');
    return answer(std::move(reply));
  }
  flush();
  Reply reply{.head = head.take(),
              .file = target.file,
              .offset = target.offset,
              .length = length,
              .watch = read.watch != nullptr ? std::move(read.watch) : target.file->data().watch(),
              .tail = std::string(padding, '\0'),
              .slice = std::move(*slice)};
  give({.calls = 1, .bytes = 0, .read = std::move(read.call)}, std::move(reply));
}

// ---- replies ----

void NfsSession::answer(std::string reply) {
  if (ready_.empty()) {
    ready_ = std::move(reply);
  } else {
    ready_ += reply;
  }
  ++ready_calls_;
  if (!in_input_loop_ || ready_.size() >= kReadyMax) flush();
}

void NfsSession::flush() {
  while (ready_calls_ > 0 && !closed()) {
    Reply reply;
    reply.head = std::exchange(ready_, {});
    give({.calls = std::exchange(ready_calls_, 0), .bytes = 0, .read = std::nullopt}, std::move(reply));
  }
}

void NfsSession::give(SentReply what, Reply reply) {
  if (sent_.empty()) progress_at_ = loop().now();
  what.bytes = reply.head.size();
  held_bytes_ += what.bytes;
  sent_.push_back(std::move(what));
  send(std::move(reply));
}

void NfsSession::on_reply_sent() {
  const uint32_t calls = sent_.front().calls;
  held_bytes_ -= sent_.front().bytes;
  sent_.pop_front();
  call_ended(calls);
}

void NfsSession::call_ended(uint64_t calls) {
  ASSERT(calls_ >= calls);
  calls_ -= calls;
  if (calls_ == 0) set_deadline(shared_.options.idle_timeout);
  consume_input();
  end_if_done();
}

// The file changed before any of it was sent: the client gets what it is now. In the middle nothing but the
// connection's end says so; the client then asks again.
void NfsSession::on_reply_lost(int error, bool begun) {
  if (begun) return close(true);
  ReadCall call = std::move(*sent_.front().read);
  held_bytes_ -= sent_.front().bytes;
  sent_.pop_front();
  if (++call.attempts < kReadAttemptsMax && error == ESTALE) return begin_read_elsewhere(std::move(call));
  fail_read(call, {error == ESTALE ? NfsStatus::jukebox : nfs_status_of(error), {}});
}

void NfsSession::on_progress() {
  progress_at_ = loop().now();
}

void NfsSession::on_timeout() {
  if (calls_ == 0) return close();
  if (taken_bytes() != std::exchange(taken_bytes_, taken_bytes())) progress_at_ = loop().now();
  if (waits_for_client() && loop().now() - progress_at_ >= shared_.options.send_timeout) return close(true);
  set_deadline(shared_.options.send_timeout);
}

void NfsSession::on_input_end() {
  end_if_done();
}

void NfsSession::on_closed() {
  worker_->went_away(std::static_pointer_cast<NfsSession>(shared_from_this()));
}

}  // namespace sluice
