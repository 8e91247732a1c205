#include "net/http/server.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "cache/assert.h"
#include "net/http/worker.h"
#include "net/listener.h"

namespace sluice {
namespace {

class Server final : public HttpServer {
 public:
  ~Server() override {
    stop(std::chrono::nanoseconds(0));
    if (listener_ != 0) shared_.options.health->remove_listener(listener_);
  }

  Server(Store* store, const HttpOptions& options) : shared_(store, options) {}

  Result<void> open() {
    const HttpOptions& options = shared_.options;
    ASSERT(options.threads > 0);
    ListenSockets listening = TRY(listen(options.address));
    port_ = listening.port;
    shared_.pool = std::make_unique<WorkerPool>(
        WorkerPoolOptions{.threads = options.open_threads,
                          .threads_max = std::max(options.open_threads, options.open_threads_max),
                          .queue_max = options.open_queue_max});
    if (options.health != nullptr)
      listener_ = options.health->add_listener([this](std::chrono::nanoseconds) { shared_.pool->relieve(); });
    const SendOptions send{.method = options.send_method,
                           .support = probe_send_methods(),
                           .pinned_max_bytes = options.pinned_max_bytes / shared_.options.threads,
                           .pipes_max = std::max(options.pipes_max / shared_.options.threads, 1U)};
    for (UniqueFd& socket : listening.sockets) {
      workers_.push_back(TRY(HttpWorker::create(&shared_, std::move(socket), send)));
    }
    for (const auto& worker : workers_) threads_.emplace_back([&worker] { worker->run(); });
    return {};
  }

  uint16_t port() const override { return port_; }

  void stop(std::chrono::nanoseconds drain_timeout) override {
    if (threads_.empty()) return;
    for (const auto& worker : workers_) worker->drain(drain_timeout);
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void set_pinned_max(uint64_t bytes) override {
    for (const auto& worker : workers_) worker->send_context().set_pinned_max(bytes / workers_.size());
  }

  HttpStats stats() const override {
    HttpStats stats;
    for (const auto& worker : workers_) worker->add_stats(&stats);
    return stats;
  }

 private:
  Result<ListenSockets> listen(const std::string& address) {
    Result<ListenAddress> parsed = parse_listen_address(address);
    if (!parsed) return tl::unexpected(parsed.error());
    return listen_on(*parsed, shared_.options.threads);
  }

  HttpShared shared_;
  uint64_t listener_ = 0;  // 0: none
  uint16_t port_ = 0;
  std::vector<std::unique_ptr<HttpWorker>> workers_;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(Store* store, const HttpOptions& options) {
  auto server = std::make_unique<Server>(store, options);
  TRY(server->open());
  return server;
}

}  // namespace sluice
