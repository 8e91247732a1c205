#include "net/nfs/session_direct.h"

#include <utility>

namespace sluice {
namespace {

constexpr std::chrono::milliseconds kNextCallTime{1};  // for which the thread waits for it
constexpr size_t kRecordMax = 64 << 10;

}  // namespace

std::shared_ptr<NfsSession::DirectCalls> NfsSession::DirectCalls::begin(NfsSession* session, uint64_t held_bytes) {
  NfsShared& shared = session->shared_;
  if (shared.direct_callers.fetch_add(1) < shared.options.blocking_threads / 2)
    return std::make_shared<DirectCalls>(session, held_bytes);
  --shared.direct_callers;
  return nullptr;
}

NfsSession::DirectCalls::DirectCalls(NfsSession* session, uint64_t held_bytes)
    : shared_(session->shared_),
      credential_(session->credential_),
      client_(session->client()),
      ticket_(session, held_bytes) {}

NfsSession::DirectCalls::~DirectCalls() {
  --shared_.direct_callers;
}

void NfsSession::DirectCalls::run(NfsJob& first) {
  {
    MutexLock lock(&mutex_);
    state_ = State::running;
  }
  first.run();
  while (is_answered() && run_next()) continue;
}

void NfsSession::DirectCalls::answer(std::string reply) {
  const auto outcome = ticket_.try_send(reply);
  MutexLock lock(&mutex_);
  if (outcome == DirectSocket::Outcome::sent && state_ == State::running) {
    state_ = State::answered;
    changed_.notify_one();
  } else {
    state_ = State::over;
    ticket_.end(outcome, std::move(reply));
  }
}

// What a change announces first may take longer than the call did: then its reply goes as others do.
bool NfsSession::DirectCalls::is_answered() {
  MutexLock lock(&mutex_);
  if (state_ == State::running) changed_.wait_for(mutex_, kNextCallTime);
  const bool answered = state_ == State::answered;
  state_ = answered ? State::running : State::over;
  return answered;
}

bool NfsSession::DirectCalls::run_next() {
  const auto record = ticket_.socket().receive(kNextCallTime, kRecordMax, [this](std::string_view next) {
    uint32_t xid = 0;
    const auto call = parse_rpc_call(next, &xid);
    return call && may_run(*call);
  });
  if (!record) {
    MutexLock lock(&mutex_);
    state_ = State::over;
    ticket_.end(DirectSocket::Outcome::sent, {});
    return false;
  }
  NfsCounters::count(shared_.counters.calls);
  NfsCounters::count(shared_.counters.direct_calls);
  uint32_t xid = 0;
  const RpcCall call = *parse_rpc_call(*record, &xid);
  if (auto reply = NfsJob::answer_known(shared_, call, client_)) {
    answer(std::move(*reply));
    return true;
  }
  const auto job = NfsJob::begin(&shared_, call, client_,
                                 [self = shared_from_this()](std::string reply) { self->answer(std::move(reply)); });
  if (job != nullptr) job->run();
  return true;
}

// A READ's data are sent from the cache, which is the loop's work.
bool NfsSession::DirectCalls::may_run(const RpcCall& call) const {
  const auto flavor = credential_.empty() ? RpcFlavor::none : RpcFlavor::sys;
  return call.program == kNfsProgram && call.version == kNfsVersion && call.procedure < kNfsProcedures &&
         call.procedure != 0 && call.procedure != static_cast<uint32_t>(NfsProcedure::read) &&
         call.flavor == static_cast<uint32_t>(flavor) && call.credential_body == credential_;
}

// ---- on the loop's thread ----

namespace {

// Calls that come alone, each so soon after the one before: then the thread that runs the last of so many waits for
// what comes next.
constexpr uint32_t kLoneCalls = 8;
constexpr std::chrono::milliseconds kLoneCallTime{1};
constexpr size_t kLoneCallMax = 32 << 10;
// A call that takes longer must not hold up those that come after it.
constexpr std::chrono::milliseconds kLookInterval{2};

}  // namespace

bool NfsSession::comes_alone(uint64_t size) {
  const auto now = loop().now();
  const bool is_soon = now - std::exchange(last_lone_call_, now) <= kLoneCallTime;
  lone_calls_ = is_soon && has_one_call() && size <= kLoneCallMax ? lone_calls_ + 1 : 0;
  return lone_calls_ >= kLoneCalls;
}

// The call is not begun before its thread can receive the next one: that would come to the loop otherwise.
void NfsSession::give_away_input(const std::shared_ptr<DirectCalls>& direct, const RpcCall& call,
                                 std::unique_ptr<PreparedWrite> data) {
  auto send = [direct](std::string reply) { direct->answer(std::move(reply)); };
  const auto job = NfsJob::begin(&shared_, call, client(), std::move(send), std::move(data));
  if (job == nullptr) return;
  start_direct_ = [pool = shared_.pool.get(), direct, job] {
    if (!pool->submit([direct, job] { direct->run(*job); })) job->refuse();
  };
  input_ = Input::stopping;
  stop_input();
  offer_input();
}

// Takes a turn or two, in which bytes may still come.
void NfsSession::offer_input() {
  loop().post([session = std::static_pointer_cast<NfsSession>(shared_from_this())] {
    if (session->input_ != Input::stopping) return;
    if (!session->has_one_call() || session->has_part_of_call()) return session->take_back_input();
    if (session->is_receiving()) return session->offer_input();
    session->input_ = Input::direct;
    session->direct_.offer_receiving(session->socket());
    session->look_after_direct_calls(session->direct_.records());
    std::exchange(session->start_direct_, {})();
  });
}

void NfsSession::look_after_direct_calls(uint64_t records_before) {
  look_timer_ = loop().call_after(kLookInterval, [this, records_before] {
    const uint64_t records = direct_.records();
    if (records == records_before) return take_back_input();
    look_after_direct_calls(records);
  });
}

void NfsSession::take_back_input() {
  if (std::exchange(input_, Input::loop) == Input::loop) return;
  lone_calls_ = 0;
  loop().cancel(look_timer_);
  if (start_direct_) std::exchange(start_direct_, {})();
  resume_input(direct_.revoke_receiving());
}

}  // namespace sluice
