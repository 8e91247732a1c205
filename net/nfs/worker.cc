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
      listener_(loop_.get(), std::move(listening), [this](UniqueFd socket) { accept(std::move(socket)); }),
      admission_(&shared->connections, loop_.get(), &listener_, this) {
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
  admission_.admit(
      [this, socket = std::move(socket), peer, options]() mutable { serve(std::move(socket), peer, *options); });
}

void NfsWorker::serve(UniqueFd socket, const PeerAddress& peer, const NfsClientOptions& options) {
  const auto session = std::make_shared<NfsSession>(this, std::move(socket), peer, options);
  sessions_.insert(session);
  open_.store(sessions_.size(), std::memory_order_relaxed);
  session->start();
}

std::shared_ptr<Connection> NfsWorker::longest_idle() {
  std::shared_ptr<NfsSession> oldest;
  for (const auto& session : sessions_) {
    if (session->idle() && (oldest == nullptr || session->idle_since() < oldest->idle_since())) oldest = session;
  }
  return oldest;
}

void NfsWorker::went_idle() {
  admission_.went_idle();
}

void NfsWorker::went_away(const std::shared_ptr<NfsSession>& session) {
  if (leaving_.empty()) loop_->post([this] { leaving_.clear(); });
  leaving_.push_back(session);
  shared_->addresses.leave(session->peer());
  sessions_.erase(session);
  open_.store(sessions_.size(), std::memory_order_relaxed);
  admission_.went_away();
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
  admission_.close();
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
