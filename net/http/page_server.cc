#include "net/http/page_server.h"

#include <chrono>
#include <list>
#include <thread>
#include <utility>

#include "net/connection.h"
#include "net/event_loop.h"
#include "net/http/request.h"
#include "net/http/response.h"
#include "net/listener.h"

namespace sluice {
namespace {

constexpr size_t kConnectionsMax = 64;  // beyond: the oldest gives way
constexpr std::chrono::seconds kPatience{60};
constexpr std::chrono::seconds kSweepInterval{1};

class PageConnection final : public Connection {
 public:
  using Gone = std::function<void(PageConnection*)>;

  PageConnection(SendContext* context, UniqueFd socket, const PageServerOptions* options, Gone gone)
      : Connection(context, std::move(socket), kHeadMax), options_(options), gone_(std::move(gone)) {
    set_deadline(kPatience);
  }

  std::list<std::shared_ptr<PageConnection>>::iterator place;

 private:
  size_t on_input(std::string_view bytes) override {
    size_t consumed = 0;
    while (!closed() && !is_answering_) {
      if (scanned_ == 0) consumed += empty_lines_before(bytes.substr(consumed));
      if (consumed == bytes.size()) break;
      const std::string_view rest = bytes.substr(consumed);
      const HttpResult<HeadScan> scan = scan_head(rest, scanned_);
      if (!scan) {
        answer(refuse_with(scan.error()));
        break;
      }
      scanned_ = scan->scanned;
      if (scan->length == 0) break;
      scanned_ = 0;
      consumed += scan->length;
      answer(parse_request(rest.substr(0, scan->length)));
    }
    return consumed;
  }

  void answer(const HttpResult<HttpRequest>& request) {
    is_answering_ = true;
    // A body is nobody's business, and not worth to be skipped.
    keep_alive_ = request && request->keep_alive && !request->chunked && request->body_bytes == 0;
    const ResponseContext context{.date = dates_.at(system_clock().realtime()),
                                  .keep_alive = keep_alive_,
                                  .version_1_0 = request && request->version_1_0};
    const bool is_head = request && request->method == HttpMethod::head;
    Reply reply;
    if (!request) {
      reply.head = refusal(context, {.status = request.error()});
    } else if (request->method == HttpMethod::options) {
      reply.head = options_head(context);
    } else if (!is_head && request->method != HttpMethod::get) {
      reply.head = refusal(context, {.status = HttpStatus::method_not_allowed});
    } else if (request->path != options_->path) {
      reply.head = refusal(context, {.status = HttpStatus::not_found, .without_body = is_head});
    } else {
      const std::string page = options_->page();
      reply.head = page_head(context, options_->content_type, page.size());
      if (!is_head) reply.head += page;
    }
    set_deadline(kPatience);
    send(std::move(reply));
  }

  void on_reply_sent() override {
    is_answering_ = false;
    if (!keep_alive_) return close_gently();
    set_deadline(kPatience);
    consume_input();
    if (input_ended() && !is_answering_) close();
  }

  void on_input_end() override {
    if (!is_answering_) close();
  }
  void on_reply_lost(int, bool) override { close(); }
  void on_progress() override {}
  void on_waits(bool) override {}
  void on_timeout() override { close(true); }
  void on_closed() override { gone_(this); }

  const PageServerOptions* const options_;
  const Gone gone_;
  DateCache dates_;
  size_t scanned_ = 0;
  bool is_answering_ = false;
  bool keep_alive_ = true;
};

class Server final : public PageServer {
 public:
  Server(PageServerOptions options, std::unique_ptr<EventLoop> loop, UniqueFd socket, uint16_t port)
      : options_(std::move(options)),
        port_(port),
        loop_(std::move(loop)),
        context_(loop_.get(), SendOptions()),
        listener_(loop_.get(), std::move(socket), [this](UniqueFd client) { accept(std::move(client)); }),
        thread_([this] { run(); }) {}

  ~Server() override {
    loop_->post([this] {
      listener_.close();
      while (!connections_.empty()) connections_.front()->close(true);
      loop_->stop();
    });
    thread_.join();
  }

  uint16_t port() const override { return port_; }

 private:
  void run() {
    loop_->post([this] {
      listener_.open();
      sweep();
    });
    loop_->run();
  }

  void accept(UniqueFd client) {
    if (connections_.size() == kConnectionsMax) connections_.front()->close(true);
    auto connection = std::make_shared<PageConnection>(&context_, std::move(client), &options_,
                                                       [this](PageConnection* gone) { went_away(gone); });
    connection->place = connections_.insert(connections_.end(), connection);
    connection->start();
  }

  // It is destroyed in the next turn, when nothing of it is on the stack.
  void went_away(PageConnection* gone) {
    loop_->post([connection = *gone->place] {});
    connections_.erase(gone->place);
  }

  void sweep() {
    for (auto next = connections_.begin(); next != connections_.end();) (*next++)->check_deadline();
    loop_->call_after(kSweepInterval, [this] { sweep(); });
  }

  const PageServerOptions options_;
  const uint16_t port_;
  const std::unique_ptr<EventLoop> loop_;
  SendContext context_;
  Listener listener_;
  std::list<std::shared_ptr<PageConnection>> connections_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<PageServer>> PageServer::start(PageServerOptions options) {
  Result<ListenAddress> address = parse_listen_address(options.address);
  if (!address) return tl::unexpected(address.error());
  ListenSockets listening = TRY(listen_on(*address, 1));
  auto loop = TRY(EventLoop::create({}));
  return std::make_unique<Server>(std::move(options), std::move(loop), std::move(listening.sockets[0]), listening.port);
}

}  // namespace sluice
