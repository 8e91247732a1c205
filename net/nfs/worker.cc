#include "net/nfs/worker.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cache/assert.h"
#include "net/nfs/session.h"

namespace sluice {
namespace {

constexpr std::chrono::seconds kSweepInterval{1};  // how late a timeout can come

}  // namespace

Result<std::unique_ptr<NfsWorker>> NfsWorker::create(NfsShared* shared, UniqueFd listening, const SendOptions& send) {
  auto loop = TRY(EventLoop::create({.backend = shared->options.backend, .clock = shared->options.clock}));
  return std::unique_ptr<NfsWorker>(new NfsWorker(shared, std::move(loop), std::move(listening), send));
}

NfsWorker::NfsWorker(NfsShared* shared, std::unique_ptr<EventLoop> loop, UniqueFd listening, const SendOptions& send)
    : shared_(shared),
      loop_(std::move(loop)),
      send_context_(loop_.get(), send),
      listener_(loop_.get(), std::move(listening), [this](UniqueFd socket) { accept(std::move(socket)); }) {
  loop_->post([this] { start(); });
}

NfsWorker::~NfsWorker() {
  ASSERT(sessions_.empty());
}

void NfsWorker::run() {
  loop_->run();
}

void NfsWorker::start() {
  listener_.open();
  sweep();
}

void NfsWorker::accept(UniqueFd socket) {
  const PeerAddress peer = peer_of(socket.get());
  const NfsClientOptions* const options = shared_->options.rules.find(peer, peer_port_of(socket.get()));
  // Who may not use the export has no connection, which others may need.
  if (options == nullptr) return NfsCounters::count(shared_->counters.denied);
  if (!shared_->addresses.enter(peer)) return NfsCounters::count(shared_->counters.refused);
  NfsCounters::count(shared_->counters.accepted);
  waiting_ = std::make_shared<NfsSession>(this, std::move(socket), peer, *options);
  admit();
}

// Full: the connection that is idle longest gives way, whose client connects again when it has something to ask; while
// none is idle the new one waits, and others in the backlog.
void NfsWorker::admit() {
  if (waiting_ == nullptr) return;
  const size_t sessions_max = std::max<size_t>(1, shared_->options.connections_max / shared_->options.threads);
  if (sessions_.size() >= sessions_max && !displace()) {
    if (std::exchange(accepting_, false)) listener_.pause();
    return;
  }
  const std::shared_ptr<NfsSession> session = std::exchange(waiting_, nullptr);
  sessions_.insert(session);
  open_.store(sessions_.size(), std::memory_order_relaxed);
  session->start();
  if (!std::exchange(accepting_, true)) listener_.resume();
}

bool NfsWorker::displace() {
  std::shared_ptr<NfsSession> oldest;
  for (const auto& session : sessions_) {
    if (session->idle() && (oldest == nullptr || session->idle_since() < oldest->idle_since())) oldest = session;
  }
  if (oldest == nullptr) return false;
  NfsCounters::count(shared_->counters.displaced);
  oldest->close();
  return true;
}

void NfsWorker::went_idle() {
  if (waiting_ != nullptr) loop_->post([this] { admit(); });
}

void NfsWorker::went_away(const std::shared_ptr<NfsSession>& session) {
  if (leaving_.empty()) loop_->post([this] { leaving_.clear(); });
  leaving_.push_back(session);
  shared_->addresses.leave(session->peer());
  sessions_.erase(session);
  open_.store(sessions_.size(), std::memory_order_relaxed);
  went_idle();
  if (draining_ && sessions_.empty()) loop_->stop();
}

void NfsWorker::sweep() {
  const std::vector<std::shared_ptr<NfsSession>> sessions(sessions_.begin(), sessions_.end());
  for (const auto& session : sessions) session->check_deadline();
  close_idle_files();
  loop_->call_after(kSweepInterval, [this] { sweep(); });
}

// One at a time: while the backing hangs they must not fill the pool's queue. None that has nothing to do: it would
// look like a call that came back from the backing.
void NfsWorker::close_idle_files() {
  if (!shared_->service.files().has_idle() || shared_->is_closing_idle.exchange(true)) return;
  const bool taken = shared_->pool->submit([shared = shared_] {
    shared->service.files().close_idle();
    shared->is_closing_idle = false;
  });
  if (!taken) shared_->is_closing_idle = false;
}

void NfsWorker::drain(std::chrono::nanoseconds timeout) {
  loop_->post([this, timeout] { begin_drain(timeout); });
}

void NfsWorker::begin_drain(std::chrono::nanoseconds timeout) {
  if (std::exchange(draining_, true)) return;
  listener_.close();
  if (waiting_ != nullptr) std::exchange(waiting_, nullptr)->close();
  if (timeout.count() <= 0) return close_all();
  const std::vector<std::shared_ptr<NfsSession>> sessions(sessions_.begin(), sessions_.end());
  for (const auto& session : sessions) session->drain();
  if (sessions_.empty()) {
    loop_->stop();
  } else {
    loop_->call_after(timeout, [this] { close_all(); });
  }
}

// With a reset, so that the kernel lets go of pages that wait to be sent.
void NfsWorker::close_all() {
  while (!sessions_.empty()) (*sessions_.begin())->close(true);
  loop_->stop();
}

}  // namespace sluice
