#include "net/http/session.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/http/worker.h"

namespace sluice {
namespace {

constexpr size_t kInputMax = 64 << 10;          // pipelined requests kept here; more stays in the socket
constexpr uint64_t kSkippedBodyMax = 64 << 10;  // a longer body of a request costs the connection
constexpr int kLooksPerTimeout = 4;             // at what a client takes

}  // namespace

HttpSession::HttpSession(HttpWorker* worker, UniqueFd socket, const PeerAddress& peer)
    : Connection(&worker->send_context(), std::move(socket), kInputMax), worker_(worker), peer_(peer) {
  set_deadline(worker->shared().options.header_timeout);
}

void HttpSession::drain() {
  keep_alive_ = false;
  if (state_ != State::answering || request_ == nullptr) close();
}

size_t HttpSession::on_input(std::string_view bytes) {
  size_t consumed = 0;
  while (state_ != State::answering && !closed()) {
    if (state_ == State::body) {
      if (consumed == bytes.size()) break;
      consumed += skip_body(bytes.substr(consumed));
      continue;
    }
    if (scanned_ == 0) consumed += empty_lines_before(bytes.substr(consumed));
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
  attempts_ = 1;
  has_status_ = false;
  keep_alive_ = request_->keep_alive && !worker_->draining();
  body_left_ = request_->body_bytes;
  // With Expect we answer before the client decided whether to send the body, so what comes next is ambiguous.
  if (request_->body_bytes > kSkippedBodyMax || !request_->expect.empty()) {
    keep_alive_ = false;
  } else if (request_->chunked) {  // only its end tells whether it was well-formed, and the answer may have to be 400
    chunks_ = std::make_unique<ChunkedBody>(kSkippedBodyMax);
    return enter(State::body);
  }
  enter(State::answering);
  answer_request();
}

// Returns how many of these bytes are of the body.
size_t HttpSession::skip_body(std::string_view bytes) {
  const HttpResult<size_t> skipped = chunks_ != nullptr ? chunks_->skip(bytes) : std::min(body_left_, bytes.size());
  if (!skipped) {
    refuse_framing(skipped.error(), std::string(head_));
    return 0;
  }
  body_taken_ += *skipped;
  if (chunks_ == nullptr) {
    body_left_ -= *skipped;
    body_left_ > 0 ? wait_for_body() : enter(State::idle);
    return *skipped;
  }
  if (!chunks_->done() && !chunks_->too_long()) {
    wait_for_body();
    return *skipped;
  }
  if (chunks_->too_long()) keep_alive_ = false;
  enter(State::answering);
  answer_request();
  return *skipped;
}

// As long as a head may take, and longer for what comes at the least rate.
void HttpSession::wait_for_body() {
  const HttpOptions& options = worker_->shared().options;
  const std::chrono::nanoseconds earned =
      options.min_rate_bytes > 0 ? std::chrono::nanoseconds(body_taken_ * 1'000'000'000 / options.min_rate_bytes)
                                 : options.idle_timeout;
  set_deadline(body_began_at_ + options.header_timeout + earned - loop().now());
}

// Where the next request starts is not known any more.
void HttpSession::refuse_framing(HttpStatus status, std::string_view head) {
  head_ = head.substr(0, head.find_first_of("\r\n"));
  has_status_ = false;
  request_ = std::make_unique<HttpRequest>();
  enter(State::answering);
  keep_alive_ = false;
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
    case State::body:
      scanned_ = 0;
      body_taken_ = 0;
      body_began_at_ = loop().now();
      wait_for_body();
      break;
    case State::answering:
      scanned_ = 0;
      chunks_.reset();
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
  if (watched_since_ != kNever) return;
  const HttpOptions& options = worker_->shared().options;
  const auto io_timeout = options.health != nullptr ? options.health->io_timeout() : std::chrono::nanoseconds{};
  set_deadline(io_timeout.count() > 0 ? std::min(options.send_timeout, io_timeout) : options.send_timeout);
}

void HttpSession::on_waits(bool for_client) {
  if (!for_client) {
    watched_since_ = kNever;
    return wait_for_progress();
  }
  if (watched_since_ != kNever) return;
  watched_since_ = took_at_ = loop().now();
  watched_from_bytes_ = took_bytes_ = taken_bytes();
  set_deadline(worker_->shared().options.send_timeout / kLooksPerTimeout);
}

// By what its system has acknowledged, not by what the socket takes of us: that takes half a megabyte at a time, for
// which an honest client can need minutes.
void HttpSession::judge_client() {
  const HttpOptions& options = worker_->shared().options;
  const auto now = loop().now();
  const uint64_t taken = taken_bytes();
  if (std::exchange(took_bytes_, taken) != taken) took_at_ = now;
  if (now - took_at_ >= options.send_timeout) return close(true);
  if (now - watched_since_ >= options.send_timeout) {
    const auto seconds =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now - watched_since_).count());
    if (taken - watched_from_bytes_ < options.min_rate_bytes * seconds) return close(true);
    watched_since_ = now;
    watched_from_bytes_ = taken;
  }
  set_deadline(options.send_timeout / kLooksPerTimeout);
}

void HttpSession::on_input_end() {
  if (state_ != State::answering) close();
}

void HttpSession::on_timeout() {
  if (state_ == State::answering) {
    on_slow_answer();
  } else if (state_ == State::reading && has_input()) {
    refuse_framing(HttpStatus::request_timeout, {});
  } else if (state_ == State::body && chunks_ != nullptr) {
    refuse_framing(HttpStatus::request_timeout, std::string(head_));
  } else {
    close();
  }
}

void HttpSession::on_slow_answer() {
  const HttpOptions& options = worker_->shared().options;
  const auto waited = loop().now() - progress_at_;
  if (waits_for_client()) return judge_client();
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
