#include "net/http/session.h"

#include <algorithm>
#include <cerrno>

#include "net/http/worker.h"

namespace sluice {
namespace {

constexpr size_t kInputMax = 64 << 10;          // pipelined requests kept here; more stays in the socket
constexpr uint64_t kSkippedBodyMax = 64 << 10;  // a longer body of a GET costs the connection

}  // namespace

HttpSession::HttpSession(HttpWorker* worker, UniqueFd socket, const PeerAddress& peer)
    : Connection(&worker->send_context(), std::move(socket), kInputMax), worker_(worker), peer_(peer) {
  set_deadline(worker->shared().options.header_timeout);
}

void HttpSession::drain() {
  keep_alive_ = false;
  if (state_ != State::answering) close();
}

size_t HttpSession::on_input(std::string_view bytes) {
  size_t consumed = 0;
  while (state_ != State::answering && !closed()) {
    const uint64_t skipped = std::min<uint64_t>(body_left_, bytes.size() - consumed);
    body_left_ -= skipped;
    consumed += skipped;
    // Empty lines before a request are tolerated, as RFC 9112 asks.
    while (scanned_ == 0 && bytes.substr(consumed).starts_with("\r\n")) consumed += 2;
    const std::string_view rest = bytes.substr(consumed);
    if (rest.empty()) break;
    if (state_ == State::idle) enter(State::reading);
    const HttpResult<HeadScan> scan = scan_head(rest, scanned_);
    if (!scan) {
      refuse_framing(scan.error(), rest);
      break;
    }
    scanned_ = scan->scanned;
    if (scan->length == 0) break;
    consumed += scan->length;
    handle(rest.substr(0, scan->length));
  }
  return consumed;
}

void HttpSession::handle(std::string_view head) {
  head_ = head;
  HttpResult<HttpRequest> parsed = parse_request(head_);
  if (!parsed) {
    refuse_framing(parsed.error(), head);
    return;
  }
  request_ = std::make_unique<HttpRequest>(std::move(*parsed));
  enter(State::answering);
  attempts_ = 1;
  has_status_ = false;
  keep_alive_ = request_->keep_alive && !worker_->draining();
  body_left_ = request_->body_bytes;
  // With Expect we answer before the client decided whether to send the body, so what comes next is ambiguous.
  if (request_->chunked || request_->body_bytes > kSkippedBodyMax || !request_->expect.empty()) {
    keep_alive_ = false;
    close_gently_ = true;
  }
  answer_request();
}

// Where the next request starts is not known any more.
void HttpSession::refuse_framing(HttpStatus status, std::string_view head) {
  head_ = head.substr(0, head.find_first_of("\r\n"));
  has_status_ = false;
  request_ = std::make_unique<HttpRequest>();
  enter(State::answering);
  keep_alive_ = false;
  close_gently_ = true;
  refuse(status);
}

void HttpSession::enter(State state) {
  const HttpOptions& options = worker_->shared().options;
  if (state_ == State::idle) worker_->went_busy(*this);
  state_ = state;
  switch (state) {
    case State::idle:
      worker_->went_idle(*this);
      set_deadline(options.idle_timeout);
      break;
    case State::reading: set_deadline(options.header_timeout); break;
    case State::answering:
      scanned_ = 0;
      set_deadline(kNever);  // until it waits for something
      break;
  }
}

void HttpSession::on_progress() {
  wait_for_progress();
}

// From now on, for the client or for the backing.
void HttpSession::wait_for_progress() {
  progress_at_ = loop().now();
  const HttpOptions& options = worker_->shared().options;
  const auto io_timeout = options.health != nullptr ? options.health->io_timeout() : std::chrono::nanoseconds{};
  set_deadline(io_timeout.count() > 0 ? std::min(options.send_timeout, io_timeout) : options.send_timeout);
}

void HttpSession::on_input_end() {
  if (state_ != State::answering) close();
}

void HttpSession::on_timeout() {
  if (state_ == State::answering) {
    on_slow_answer();
  } else if (state_ == State::reading && has_input()) {
    refuse_framing(HttpStatus::request_timeout, {});
  } else {
    close();
  }
}

void HttpSession::on_slow_answer() {
  const HttpOptions& options = worker_->shared().options;
  const auto waited = loop().now() - progress_at_;
  if (waits_for_client()) {
    if (waited >= options.send_timeout) return close(true);
    return set_deadline(options.send_timeout - waited);
  }
  const bool times_out = options.health != nullptr && options.health->io_timeout().count() > 0;
  if (times_out && waited >= options.health->io_timeout()) return give_up_backing();
  set_deadline(times_out ? options.health->io_timeout() - waited : options.send_timeout);
}

// The backing hangs. What it says later is thrown away.
void HttpSession::give_up_backing() {
  if (!is_elsewhere_ && !waits_for_file()) return wait_for_progress();
  worker_->shared().options.health->count_timed_out();
  keep_alive_ = false;
  if (waits_for_file()) return give_up_file(ETIMEDOUT);
  is_elsewhere_ = false;
  tasks_++;
  refuse(status_of(ETIMEDOUT));
}

void HttpSession::on_closed() {
  if (request_ != nullptr) log_access();
  worker_->went_away(*this);
}

// As nginx logs it, 499 is for a client that did not wait for the answer.
void HttpSession::log_access() {
  AccessLog* const log = worker_->shared().options.access_log;
  if (log == nullptr) return;
  static constexpr unsigned kClientGone = 499;
  log->write({.peer = peer_,
              .time = worker_->shared().options.clock->realtime(),
              .request_line = std::string_view(head_).substr(0, head_.find('\r')),
              .status = has_status_ ? static_cast<unsigned>(status_) : kClientGone,
              .body_bytes = has_status_ ? sent_bytes() - std::min(sent_bytes(), head_end_bytes_) : 0,
              .referer = request_->referer,
              .user_agent = request_->user_agent});
}

}  // namespace sluice
