#include "net/nfs/session.h"

#include <utility>

#include "cache/assert.h"
#include "net/nfs/session_direct.h"
#include "net/nfs/session_ticket.h"

namespace sluice {
namespace {

constexpr size_t kRecordMax = kNfsTransferMax + (8 << 10);  // a WRITE with the longest credential
constexpr size_t kInputMax = kRecordMax + (64 << 10);
constexpr uint64_t kCallsMax = 256;          // of one connection, at a time
constexpr uint64_t kHeldBytesMax = 8 << 20;  // ... of their arguments, and of replies that wait for the client
constexpr size_t kReadyMax = 64 << 10;       // then replies are sent though more calls are there

}  // namespace

NfsSession::NfsSession(NfsWorker* worker, UniqueFd socket, const PeerAddress& peer, const NfsClientOptions& options)
    : Connection(&worker->send_context(), std::move(socket), kInputMax),
      worker_(worker),
      shared_(worker->shared()),
      peer_(peer),
      options_(options),
      idle_since_(loop().now()) {
  set_deadline(shared_.options.idle_timeout);
}

void NfsSession::drain() {
  draining_ = true;
  take_back_output();
  take_back_input();
  end_if_done();
}

bool NfsSession::may_take_more() const {
  return !closed() && !draining_ && calls_ < kCallsMax && held_bytes_ < kHeldBytesMax;
}

size_t NfsSession::on_input(std::string_view bytes) {
  take_back_input();
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
    const size_t taken = write_ ? take_write(bytes.substr(consumed)) : take_call(bytes.substr(consumed));
    consumed += taken;
    if (taken == 0) break;
  }
  return consumed;
}

// The next call, what there is of a WRITE, or a fragment.
size_t NfsSession::take_call(std::string_view bytes) {
  size_t taken = 0;
  const std::string_view record = take_record(bytes, &taken);
  if (record.data() != nullptr) {
    handle_whole(record);
    std::string().swap(record_);  // with its memory: few clients send calls in several fragments
  } else if (taken == 0 && !closed() && record_.empty() && bytes.size() > kXdrWord) {
    const uint32_t word = XdrReader(bytes).u32();
    if ((word & kRpcLastFragment) != 0) taken = begin_write(bytes.substr(kXdrWord), word & ~kRpcLastFragment);
    if (taken > 0) taken += kXdrWord;
  }
  return taken;
}

void NfsSession::handle_whole(std::string_view record) {
  const size_t head = begin_write(record, record.size());
  if (head == 0) return handle(record);
  take_write(record.substr(head));
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

void NfsSession::handle(std::string_view record, std::unique_ptr<PreparedWrite> data) {
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
    handle_nfs(*call, std::move(data));
  } else {
    run_elsewhere(*call);
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

NfsJob::Client NfsSession::client() const {
  return {.caller = caller_, .peer = peer_, .options = &options_};
}

void NfsSession::handle_nfs(const RpcCall& call, std::unique_ptr<PreparedWrite> data) {
  if (static_cast<NfsProcedure>(call.procedure) == NfsProcedure::read)
    return begin_read({.xid = call.xid, .arguments = std::string(call.arguments), .client = client()});
  if (auto reply = NfsJob::answer_known(shared_, call, client())) return answer(std::move(*reply));
  run_elsewhere(call, std::move(data));
}

void NfsSession::run_elsewhere(const RpcCall& call, std::unique_ptr<PreparedWrite> data) {
  const uint64_t held_bytes = call.arguments.size() + NfsJob::reply_room(call) + (data ? data->size : 0);
  if (comes_alone(held_bytes)) {
    if (const auto direct = DirectCalls::begin(this, held_bytes)) return give_away_input(direct, call, std::move(data));
  }
  auto send = [ticket = Ticket(this, held_bytes)](std::string reply) mutable { ticket.answer(std::move(reply)); };
  const auto job = NfsJob::begin(&shared_, call, client(), std::move(send), std::move(data));
  if (job != nullptr && !shared_.pool->submit([job] { job->run(); })) job->refuse();
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
  take_back_output();
  queue(std::move(what), std::move(reply));
}

void NfsSession::queue(SentReply what, Reply reply) {
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
  if (sent_.empty() && !draining_ && !input_ended()) direct_.offer_sending(socket());
  call_ended(calls);
}

// Which sends what another thread began to send. That may be over at once, and the socket be on offer again.
void NfsSession::take_back_output() {
  for (std::string rest = direct_.revoke_sending(); !rest.empty(); rest = direct_.revoke_sending()) {
    Reply reply;
    reply.head = std::move(rest);
    queue({.calls = 1, .bytes = 0, .read = std::nullopt}, std::move(reply));
  }
}

void NfsSession::call_ended(uint64_t calls) {
  ASSERT(calls_ >= calls);
  calls_ -= calls;
  if (calls_ == 0) {
    idle_since_ = loop().now();
    set_deadline(shared_.options.idle_timeout);
    worker_->went_idle();
    take_back_input();
  }
  consume_input();
  end_if_done();
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
  take_back_output();
  take_back_input();
  end_if_done();
}

void NfsSession::on_closed() {
  direct_.revoke_sending();
  take_back_input();
  worker_->went_away(std::static_pointer_cast<NfsSession>(shared_from_this()));
}

}  // namespace sluice
