#include "net/http/worker.h"

#include <sys/socket.h>

#include <utility>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr std::chrono::seconds kSweepInterval{1};  // how late a timeout can come

}  // namespace

Result<std::unique_ptr<HttpWorker>> HttpWorker::create(HttpShared* shared, UniqueFd listening,
                                                       const SendOptions& send) {
  auto loop = TRY(EventLoop::create({.backend = shared->options.backend, .clock = shared->options.clock}));
  return std::unique_ptr<HttpWorker>(new HttpWorker(shared, std::move(loop), std::move(listening), send));
}

HttpWorker::HttpWorker(HttpShared* shared, std::unique_ptr<EventLoop> loop, UniqueFd listening, const SendOptions& send)
    : shared_(shared),
      loop_(std::move(loop)),
      send_context_(loop_.get(), send),
      listener_(loop_.get(), std::move(listening), [this](UniqueFd socket) { accept(std::move(socket)); }),
      admission_(&shared->connections, loop_.get(), &listener_, this) {
  loop_->post([this] { start(); });
}

HttpWorker::~HttpWorker() {
  ASSERT(open_count() == 0);
}

void HttpWorker::run() {
  loop_->run();
}

void HttpWorker::start() {
  listener_.open();
  sweep();
}

void HttpWorker::accept(UniqueFd socket) {
  const PeerAddress peer = peer_of(socket.get());
  if (!shared_->options.allowed.empty() && !shared_->options.allowed.contain(peer)) {
    denied_.fetch_add(1, std::memory_order_relaxed);
    return turn_away(std::move(socket), peer, HttpStatus::forbidden);
  }
  if (!shared_->addresses.enter(peer)) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return turn_away(std::move(socket), peer, HttpStatus::unavailable);
  }
  admission_.admit([this, socket = std::move(socket), peer]() mutable { serve(std::move(socket), peer); });
}

void HttpWorker::serve(UniqueFd socket, const PeerAddress& peer) {
  auto session = std::make_shared<HttpSession>(this, std::move(socket), peer);
  session->place = busy_.insert(busy_.end(), session);
  accepted_.fetch_add(1, std::memory_order_relaxed);
  open_.store(open_count(), std::memory_order_relaxed);
  session->start();
}

// At once, without reading what it asks: a connection that is refused must cost nothing. The answer fits any socket's
// queue, and reaches the client before our reset of what it sends after. The log shows "-" where the request would be.
void HttpWorker::turn_away(UniqueFd socket, const PeerAddress& peer, HttpStatus status) {
  const std::string answer = refusal({.date = date(), .keep_alive = false}, {.status = status});
  ::send(socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(socket.get(), SHUT_WR);
  if (shared_->options.access_log == nullptr) return;
  shared_->options.access_log->write({.peer = peer,
                                      .time = shared_->options.clock->realtime(),
                                      .status = static_cast<unsigned>(status),
                                      .body_bytes = answer.size() - (answer.find("\r\n\r\n") + 4)});
}

std::shared_ptr<Connection> HttpWorker::longest_idle() {
  return idle_.empty() ? nullptr : idle_.front();
}

void HttpWorker::went_idle(HttpSession& session) {
  idle_.splice(idle_.end(), busy_, session.place);
  admission_.went_idle();
}

void HttpWorker::went_busy(HttpSession& session) {
  busy_.splice(busy_.end(), idle_, session.place);
}

void HttpWorker::went_away(HttpSession& session) {
  if (leaving_.empty()) loop_->post([this] { leaving_.clear(); });
  shared_->addresses.leave(session.peer());
  leaving_.splice(leaving_.end(), session.idle() ? idle_ : busy_, session.place);
  open_.store(open_count(), std::memory_order_relaxed);
  if (draining_ && open_count() == 0) loop_->stop();
  admission_.went_away();
}

void HttpWorker::sweep() {
  for (auto next = busy_.begin(); next != busy_.end();) (*next++)->check_deadline();
  // All have the same timeout, so the first ones are due first.
  while (!idle_.empty()) {
    const std::shared_ptr<HttpSession> oldest = idle_.front();
    oldest->check_deadline();
    if (!oldest->closed()) break;
  }
  loop_->call_after(kSweepInterval, [this] { sweep(); });
}

void HttpWorker::drain(std::chrono::nanoseconds timeout) {
  loop_->post([this, timeout] { begin_drain(timeout); });
}

void HttpWorker::begin_drain(std::chrono::nanoseconds timeout) {
  if (std::exchange(draining_, true)) return;
  listener_.close();
  admission_.close();
  if (timeout.count() <= 0) return close_all();
  while (!idle_.empty()) idle_.front()->close();
  for (auto next = busy_.begin(); next != busy_.end();) (*next++)->drain();
  if (open_count() == 0) {
    loop_->stop();
  } else {
    loop_->call_after(timeout, [this] { close_all(); });
  }
}

// With a reset, so that the kernel lets go of pages that wait to be sent.
void HttpWorker::close_all() {
  while (!idle_.empty()) idle_.front()->close(true);
  while (!busy_.empty()) busy_.front()->close(true);
  loop_->stop();
}

void HttpWorker::count(HttpStatus status) {
  requests_.fetch_add(1, std::memory_order_relaxed);
  by_class_[static_cast<size_t>(status) / 100].fetch_add(1, std::memory_order_relaxed);
}

void HttpWorker::count_broken_off() {
  broken_off_.fetch_add(1, std::memory_order_relaxed);
}

void HttpWorker::add_stats(HttpStats* stats) const {
  const auto value = [](const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  stats->connections_open += value(open_);
  stats->connections_accepted += value(accepted_);
  stats->connections_displaced += admission_.displaced();
  stats->connections_refused += value(refused_);
  stats->connections_denied += value(denied_);
  stats->requests += value(requests_);
  stats->responses_2xx += value(by_class_[2]);
  stats->responses_3xx += value(by_class_[3]);
  stats->responses_4xx += value(by_class_[4]);
  stats->responses_5xx += value(by_class_[5]);
  stats->broken_off += value(broken_off_);
  const SendStats sent = send_context_.stats();
  stats->sent.copy_bytes += sent.copy_bytes;
  stats->sent.vmsplice_bytes += sent.vmsplice_bytes;
  stats->sent.zerocopy_bytes += sent.zerocopy_bytes;
}

}  // namespace sluice
