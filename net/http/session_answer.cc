// What a session answers: files, parts of files, directories, refusals.
#include <fmt/format.h>
#include <strings.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "net/http/accept.h"
#include "net/http/conditional.h"
#include "net/http/range.h"
#include "net/http/session.h"
#include "net/http/text.h"
#include "net/http/url_space.h"
#include "net/http/worker.h"

namespace sluice {
namespace {

constexpr uint32_t kAttemptsMax = 5;  // for a file that changes between its head and its first bytes

// We answer at once, which is what "100-continue" allows. HTTP/1.0 knows no expectations.
bool expects_what_we_do(const HttpRequest& request) {
  static constexpr std::string_view kContinue = "100-continue";
  const std::string_view expect = request.expect;
  return expect.empty() || request.version_1_0 ||
         (expect.size() == kContinue.size() && ::strncasecmp(expect.data(), kContinue.data(), kContinue.size()) == 0);
}

bool names_directory(std::string_view path) {
  return path.empty() || path.ends_with('/');
}

// Of a directory: what links relative to its URL need.
bool lacks_slash(const HttpRequest& request) {
  return request.lacks_slash || !names_directory(request.path);
}

std::string chunk_of(std::string_view piece, bool is_last) {
  return fmt::format("{:x}\r\n{}\r\n{}", piece.size(), piece, is_last ? "0\r\n\r\n" : "");
}

// What `path` leads to, by `open`; of a directory with an index, that.
template <typename Open>
Result<HttpTarget> open_or_index(const HttpOptions& options, const std::string& path, Open open) {
  Store::OpenedPath opened = TRY(open(path));
  if (!S_ISDIR(opened.attributes.st_mode) || !names_directory(path)) return HttpTarget{std::move(opened), path};
  for (const std::string& name : options.index_names) {
    Result<Store::OpenedPath> index = open(path + name);
    if (index && index->file != nullptr) return HttpTarget{std::move(*index), path + name};
    if (!index && index.error().number != ENOENT) return tl::unexpected(index.error());
  }
  return HttpTarget{std::move(opened), path};
}

}  // namespace

void HttpSession::answer_request() {
  if (request_->method == HttpMethod::other) return refuse(HttpStatus::method_not_allowed);
  if (!expects_what_we_do(*request_)) return refuse(HttpStatus::expectation_failed);
  if (request_->method == HttpMethod::options) {
    Reply reply;
    reply.head = options_head(context());
    return start_sending(HttpStatus::no_content, std::move(reply));
  }
  const HttpShared& shared = worker_->shared();
  UrlPlace place = place_of(shared.options.urls, request_->path);
  if (!place.is_served) return refuse(HttpStatus::not_found);
  if (place.lacks_slash) return add_slash(request_->path);
  request_->path = std::move(place.path);
  Result<HttpTarget> target = open_or_index(shared.options, request_->path, [&](const std::string& path) {
    return shared.store->try_open_path(shared.options.caller, path);
  });
  if (!target && target.error().number == EAGAIN) return open_elsewhere();
  answer(std::move(target));
}

// Runs `work` on the worker pool as a look at the backing, then `done` with what it returned on our thread, unless the
// session gave up waiting.
template <typename Work, typename Done>
void HttpSession::elsewhere(Work work, Done done) {
  BackingHealth* const health = worker_->shared().options.health;
  if (health != nullptr && !health->admits(BackingUse::look)) return refuse(status_of(ETIMEDOUT));
  auto task = [worker = worker_, self = std::static_pointer_cast<HttpSession>(shared_from_this()), number = ++tasks_,
               work = std::move(work), done = std::move(done)]() mutable {
    const BackingCall call(worker->shared().options.health, BackingUser::http, BackingUse::look);
    auto result = work();
    worker->loop().post(
        [worker, self = std::move(self), number, done = std::move(done), result = std::move(result)]() mutable {
          worker->loop().unhold();
          if (self->closed() || self->tasks_ != number) return;
          self->is_elsewhere_ = false;
          done(*self, std::move(result));
        });
  };
  is_elsewhere_ = true;
  watched_since_ = kNever;
  wait_for_progress();
  worker_->loop().hold();
  if (worker_->shared().pool->submit(std::move(task))) return;
  worker_->loop().unhold();
  is_elsewhere_ = false;
  refuse(HttpStatus::unavailable);
}

void HttpSession::open_elsewhere() {
  elsewhere(
      [&shared = worker_->shared(), path = request_->path] {
        return open_or_index(shared.options, path, [&](const std::string& name) {
          return shared.store->open_path(shared.options.caller, name);
        });
      },
      [](HttpSession& self, Result<HttpTarget> target) { self.answer(std::move(target)); });
}

void HttpSession::answer(Result<HttpTarget> target) {
  if (!target) return refuse_for(target.error().number);
  auto& [opened, path] = *target;
  const bool is_directory = S_ISDIR(opened.attributes.st_mode);
  const bool is_index = path != request_->path;
  if ((is_directory || is_index) && lacks_slash(*request_))
    return add_slash(worker_->shared().options.urls.prefix + request_->path);
  if (is_directory) return answer_directory();
  if (!opened.file) return refuse(HttpStatus::forbidden);  // something that is no file
  if (path.ends_with('/')) return refuse(HttpStatus::not_found);
  answer_file(path, std::move(opened.file));
}

void HttpSession::answer_directory() {
  const HttpShared& shared = worker_->shared();
  const std::string& path = request_->path;
  if (!shared.options.listing) return refuse(HttpStatus::forbidden);
  page_ = std::make_shared<DirectoryPage>(PageOptions{.store = shared.store,
                                                      .caller = shared.options.caller,
                                                      .path = path,
                                                      .root = "/" + shared.options.urls.prefix,
                                                      .order = page_order_of(request_->query),
                                                      .json = prefers_json(request_->accept),
                                                      .dotfiles = shared.options.urls.dotfiles,
                                                      .budget = &worker_->page_budget()});
  list_more();
}

void HttpSession::add_slash(std::string_view path) {
  std::string location = "/";
  append_percent_encoded(path, true, location);
  if (!location.ends_with('/')) location += '/';
  if (!request_->query.empty()) location.append("?").append(request_->query);
  refuse({.status = HttpStatus::moved_permanently, .location = location});
}

void HttpSession::list_more() {
  elsewhere(
      [page = page_]() -> Result<std::string> {
        std::string piece;
        TRY(page->step(piece));
        return piece;
      },
      [](HttpSession& self, Result<std::string> piece) { self.send_listing(std::move(piece)); });
}

// In chunks; HTTP/1.0 has none, there the end of the connection is the end of the page.
void HttpSession::send_listing(Result<std::string> piece) {
  if (!piece) return refuse_for(piece.error().number);
  if (piece->empty() && !page_->done()) return list_more();
  const bool chunked = !request_->version_1_0;
  Reply reply;
  if (!has_begun_) {
    if (!chunked) keep_alive_ = false;
    reply.head = listing_head(context(), page_->content_type());
  }
  if (request_->method == HttpMethod::head) {
    page_.reset();
  } else {
    reply.head += chunked ? chunk_of(*piece, page_->done()) : *piece;
  }
  if (has_begun_) return send(std::move(reply));
  start_sending(HttpStatus::ok, std::move(reply));
}

void HttpSession::answer_file(std::string_view path, std::shared_ptr<OpenFile> file) {
  std::shared_ptr<const ChangeWatch> watch;
  if (request_->method == HttpMethod::get) watch = file->data().watch();
  const FileVersion version = file->data().version();
  const uint64_t size = version.stamp.size;
  const Validators validators = validators_of(version);
  RangeAnswer range{RangeKind::whole, 0, size, {}};
  HttpStatus status = HttpStatus::ok;
  switch (check_preconditions(*request_, validators)) {
    case Verdict::failed: return refuse(HttpStatus::precondition_failed);
    case Verdict::not_modified: status = HttpStatus::not_modified; break;
    case Verdict::send:
      // Range means something for GET only.
      if (request_->method == HttpMethod::head || request_->range.empty() || request_->has_range_twice ||
          !range_counts(*request_, validators)) {
        break;
      }
      range = resolve_range(request_->range, size);
      if (range.kind == RangeKind::unsatisfiable)
        return refuse({.status = HttpStatus::range_not_satisfiable, .size = size});
      if (range.kind != RangeKind::whole) status = HttpStatus::partial_content;
  }
  const std::string_view type = worker_->shared().types.of(path);
  const FileAnswer head{validators, range, size, range.length, type, worker_->shared().options.cache_control};
  if (range.kind == RangeKind::parts)
    return answer_parts(head, {std::move(file), std::move(watch), range.parts, size, type});
  Reply reply;
  reply.head = file_head(context(), status, head);
  if (request_->method == HttpMethod::get && status != HttpStatus::not_modified && range.length > 0) {
    reply.file = std::move(file);
    reply.offset = range.offset;
    reply.length = range.length;
    reply.watch = std::move(watch);
  }
  start_sending(status, std::move(reply));
}

void HttpSession::answer_parts(const FileAnswer& answer, MultipartOptions options) {
  multipart_ = std::make_unique<Multipart>(std::move(options));
  const std::string type = multipart_->content_type();
  const FileAnswer head{answer.validators, answer.range, answer.size, multipart_->length(), type, answer.cache_control};
  Reply reply = multipart_->next();
  reply.head.insert(0, file_head(context(), HttpStatus::partial_content, head));
  start_sending(HttpStatus::partial_content, std::move(reply));
}

// What has begun cannot be refused any more.
void HttpSession::refuse(Refusal what) {
  page_.reset();
  multipart_.reset();
  if (has_begun_) return break_off();
  Reply reply;
  what.without_body = request_->method == HttpMethod::head;
  reply.head = refusal(context(), what);
  start_sending(what.status, std::move(reply));
}

// Because of the store's error.
void HttpSession::refuse_for(int error) {
  if (BackingHealth* const health = worker_->shared().options.health; health != nullptr) health->note_error(error);
  refuse(status_of(error));
}

// HTTP/1.0 may have no other sign of it than a reset.
void HttpSession::break_off() {
  worker_->count_broken_off();
  close(request_->version_1_0);
}

void HttpSession::start_sending(HttpStatus status, Reply reply) {
  status_ = status;
  has_status_ = true;
  head_end_bytes_ = sent_bytes() + reply.head.find("\r\n\r\n") + 4;
  on_progress();
  send(std::move(reply));
}

// Counted no sooner, because until then another answer may take its place, and counters never fall; and no later: who
// has the answer finds it counted.
void HttpSession::on_reply_starts() {
  if (!std::exchange(is_counted_, true)) worker_->count(status_);
}

void HttpSession::on_reply_sent() {
  has_begun_ = true;
  const bool is_all = (multipart_ == nullptr || multipart_->done()) && (page_ == nullptr || page_->done());
  is_all ? finish_answer() : send_more();
}

void HttpSession::send_more() {
  if (page_ != nullptr) return list_more();
  send(multipart_->next());
}

void HttpSession::finish_answer() {
  log_access();
  multipart_.reset();
  page_.reset();
  request_.reset();
  is_counted_ = false;
  has_begun_ = false;
  watched_since_ = kNever;
  if (!keep_alive_) {
    // A gateway that ends waits for no client that has its answer.
    worker_->draining() ? close() : close_gently();
    return;
  }
  enter(body_left_ > 0 ? State::body : State::idle);
  consume_input();
  if (input_ended() && state_ != State::answering) close();
}

void HttpSession::on_reply_lost(int error, bool begun) {
  if (begun || has_begun_) return break_off();
  has_status_ = false;
  multipart_.reset();
  if (error == ESTALE && attempts_++ < kAttemptsMax) return open_elsewhere();
  if (error == ESTALE) return refuse(HttpStatus::unavailable);
  refuse_for(error);
}

ResponseContext HttpSession::context() const {
  return {.date = worker_->date(),
          .keep_alive = keep_alive_,
          .version_1_0 = request_->version_1_0,
          .date_s = worker_->date_s()};
}

}  // namespace sluice
