#include "net/http/session.h"

#include <strings.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "net/http/conditional.h"
#include "net/http/range.h"
#include "net/http/worker.h"

namespace sluice {
namespace {

constexpr size_t kInputMax = 64 << 10;          // pipelined requests kept here; more stays in the socket
constexpr uint32_t kAttemptsMax = 5;            // for a file that changes between its head and its first bytes
constexpr uint64_t kSkippedBodyMax = 64 << 10;  // a longer body of a GET costs the connection

// We answer at once, which is what "100-continue" allows. HTTP/1.0 knows no expectations.
bool expects_what_we_do(const HttpRequest& request) {
  static constexpr std::string_view kContinue = "100-continue";
  const std::string_view expect = request.expect;
  return expect.empty() || request.version_1_0 ||
         (expect.size() == kContinue.size() && ::strncasecmp(expect.data(), kContinue.data(), kContinue.size()) == 0);
}

}  // namespace

HttpSession::HttpSession(HttpWorker* worker, UniqueFd socket)
    : Connection(&worker->send_context(), std::move(socket), kInputMax), worker_(worker) {
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
      refuse_framing(scan.error());
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
  const HttpResult<HttpRequest> parsed = parse_request(head_);
  if (!parsed) {
    refuse_framing(parsed.error());
    return;
  }
  const HttpRequest& request = *parsed;
  enter(State::answering);
  attempts_ = 1;
  keep_alive_ = request.keep_alive && !worker_->draining();
  body_left_ = request.body_bytes;
  // With Expect we answer before the client decided whether to send the body, so what comes next is ambiguous.
  if (request.chunked || request.body_bytes > kSkippedBodyMax || !request.expect.empty()) {
    keep_alive_ = false;
    close_gently_ = true;
  }
  if (request.method == HttpMethod::other) return refuse(request, HttpStatus::method_not_allowed);
  if (!expects_what_we_do(request)) return refuse(request, HttpStatus::expectation_failed);
  if (request.method == HttpMethod::options) {
    Reply reply;
    reply.head = options_head(context_of(request));
    return start_sending(HttpStatus::no_content, std::move(reply));
  }
  Result<Store::OpenedPath> opened =
      worker_->shared().store->try_open_path(worker_->shared().options.caller, request.path);
  if (!opened && opened.error().number == EAGAIN) return open_elsewhere();
  answer(request, std::move(opened));
}

// The request is parsed again from the head, which stands until it is answered.
void HttpSession::open_elsewhere() {
  HttpRequest request = *parse_request(head_);
  BackingHealth* const health = worker_->shared().options.health;
  if (health != nullptr && !health->admits(BackingUse::look)) return refuse(request, status_of(ETIMEDOUT));
  auto task = [worker = worker_, self = std::static_pointer_cast<HttpSession>(shared_from_this()), request,
               open = ++opens_]() mutable {
    const HttpShared& shared = worker->shared();
    const BackingCall call(shared.options.health, BackingUser::http, BackingUse::look);
    Result<Store::OpenedPath> opened = shared.store->open_path(shared.options.caller, request.path);
    worker->loop().post(
        [worker, self = std::move(self), request = std::move(request), open, opened = std::move(opened)]() mutable {
          worker->loop().unhold();
          if (self->closed() || self->opens_ != open) return;
          self->is_opening_ = false;
          self->answer(request, std::move(opened));
        });
  };
  is_opening_ = true;
  wait_for_progress();
  worker_->loop().hold();
  if (worker_->shared().pool->submit(std::move(task))) return;
  worker_->loop().unhold();
  is_opening_ = false;
  refuse(request, HttpStatus::unavailable);
}

void HttpSession::answer(const HttpRequest& request, Result<Store::OpenedPath> opened) {
  if (!opened) return refuse_for(request, opened.error().number);
  if (!opened->file) return refuse(request, HttpStatus::forbidden);  // a directory, or something that is no file
  if (request.path.ends_with('/')) return refuse(request, HttpStatus::not_found);
  answer_file(request, std::move(opened->file));
}

void HttpSession::answer_file(const HttpRequest& request, std::shared_ptr<OpenFile> file) {
  std::shared_ptr<const ChangeWatch> watch;
  if (request.method == HttpMethod::get) watch = file->data().watch();
  const FileVersion version = file->data().version();
  const uint64_t size = version.stamp.size;
  const Validators validators = validators_of(version);
  RangeAnswer range{RangeKind::whole, 0, size, {}};
  HttpStatus status = HttpStatus::ok;
  switch (check_preconditions(request, validators)) {
    case Verdict::failed: return refuse(request, HttpStatus::precondition_failed);
    case Verdict::not_modified: status = HttpStatus::not_modified; break;
    case Verdict::send:
      // Range means something for GET only.
      if (request.method == HttpMethod::head || request.range.empty() || request.has_range_twice ||
          !range_counts(request, validators)) {
        break;
      }
      range = resolve_range(request.range, size);
      if (range.kind == RangeKind::unsatisfiable) return refuse(request, HttpStatus::range_not_satisfiable, size);
      if (range.kind != RangeKind::whole) status = HttpStatus::partial_content;
  }
  const std::string_view type = worker_->shared().types.of(request.path);
  const FileAnswer head{validators, range, size, range.length, type};
  if (range.kind == RangeKind::parts) {
    return answer_parts(request, head, {std::move(file), std::move(watch), range.parts, size, type});
  }
  Reply reply;
  reply.head = file_head(context_of(request), status, head);
  if (request.method == HttpMethod::get && status != HttpStatus::not_modified && range.length > 0) {
    reply.file = std::move(file);
    reply.offset = range.offset;
    reply.length = range.length;
    reply.watch = std::move(watch);
  }
  start_sending(status, std::move(reply));
}

void HttpSession::answer_parts(const HttpRequest& request, const FileAnswer& answer, MultipartOptions options) {
  multipart_ = std::make_unique<Multipart>(std::move(options));
  const std::string type = multipart_->content_type();
  const FileAnswer head{answer.validators, answer.range, answer.size, multipart_->length(), type};
  Reply reply = multipart_->next();
  reply.head.insert(0, file_head(context_of(request), HttpStatus::partial_content, head));
  start_sending(HttpStatus::partial_content, std::move(reply));
}

void HttpSession::refuse(const HttpRequest& request, HttpStatus status, uint64_t size) {
  Reply reply;
  reply.head = refusal(context_of(request),
                       {.status = status, .size = size, .without_body = request.method == HttpMethod::head});
  start_sending(status, std::move(reply));
}

// Because of the store's error.
void HttpSession::refuse_for(const HttpRequest& request, int error) {
  if (BackingHealth* const health = worker_->shared().options.health; health != nullptr) health->note_error(error);
  refuse(request, status_of(error));
}

void HttpSession::start_sending(HttpStatus status, Reply reply) {
  status_ = status;
  has_begun_ = false;
  worker_->count(status);
  on_progress();
  send(std::move(reply));
}

// Where the next request starts is not known any more.
void HttpSession::refuse_framing(HttpStatus status) {
  enter(State::answering);
  keep_alive_ = false;
  close_gently_ = true;
  refuse({}, status);
}

ResponseContext HttpSession::context_of(const HttpRequest& request) const {
  return {.date = worker_->date(), .keep_alive = keep_alive_, .version_1_0 = request.version_1_0};
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

void HttpSession::on_reply_sent() {
  has_begun_ = true;
  multipart_ != nullptr && !multipart_->done() ? send_more() : finish_answer();
}

void HttpSession::send_more() {
  send(multipart_->next());
}

void HttpSession::finish_answer() {
  multipart_.reset();
  if (!keep_alive_) {
    close_gently_ ? close_gently() : close();
    return;
  }
  enter(State::idle);
  consume_input();
  if (input_ended() && state_ != State::answering) close();
}

void HttpSession::on_reply_lost(int error, bool begun) {
  begun |= has_begun_;
  worker_->count_lost(status_, begun);
  multipart_.reset();
  if (begun) return close();
  if (error == ESTALE && attempts_++ < kAttemptsMax) return open_elsewhere();
  if (error == ESTALE) return refuse(*parse_request(head_), HttpStatus::unavailable);
  refuse_for(*parse_request(head_), error);
}

void HttpSession::on_input_end() {
  if (state_ != State::answering) close();
}

void HttpSession::on_timeout() {
  if (state_ == State::answering) {
    on_slow_answer();
  } else if (state_ == State::reading && has_input()) {
    refuse_framing(HttpStatus::request_timeout);
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

// The backing hangs. What it says later is thrown away, so the connection ends: what is under way may still look at the
// request.
void HttpSession::give_up_backing() {
  if (!is_opening_ && !waits_for_file()) return wait_for_progress();
  worker_->shared().options.health->count_timed_out();
  keep_alive_ = false;
  if (waits_for_file()) return give_up_file(ETIMEDOUT);
  is_opening_ = false;
  opens_++;
  refuse(*parse_request(head_), status_of(ETIMEDOUT));
}

void HttpSession::on_closed() {
  worker_->went_away(*this);
}

}  // namespace sluice
