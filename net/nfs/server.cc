#include "net/nfs/server.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "cache/assert.h"
#include "net/listener.h"
#include "net/nfs/worker.h"

namespace sluice {
namespace {

class Server final : public NfsServer {
 public:
  Server(Store* store, NfsOptions options) : shared_(store, std::move(options)) {}
  ~Server() override {
    stop(std::chrono::nanoseconds(0));
    if (listener_ != 0) shared_.options.health->remove_listener(listener_);
    shared_.pool.reset();
  }

  Result<void> open() {
    const NfsOptions& options = shared_.options;
    ASSERT(options.threads > 0);
    const ListenAddress address = TRY(parse_listen_address(options.address));
    ListenSockets listening = TRY(listen_on(address, options.threads));
    port_ = listening.port;
    shared_.pool = std::make_unique<WorkerPool>(
        WorkerPoolOptions{.threads = options.blocking_threads,
                          .threads_max = std::max(options.blocking_threads, options.blocking_threads_max),
                          .queue_max = options.blocking_queue_max});
    if (options.health != nullptr)
      listener_ = options.health->add_listener([this](std::chrono::nanoseconds) { shared_.pool->relieve(); });
    const SendOptions send{.method = options.send_method,
                           .support = probe_send_methods(),
                           .pinned_max_bytes = options.pinned_max_bytes / options.threads,
                           .pipes_max = std::max(options.pipes_max / options.threads, 1U)};
    for (UniqueFd& socket : listening.sockets) {
      workers_.push_back(TRY(NfsWorker::create(&shared_, std::move(socket), send)));
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
    shared_.service.stop();
  }

  void set_pinned_max(uint64_t bytes) override {
    for (const auto& worker : workers_) worker->send_context().set_pinned_max(bytes / workers_.size());
  }

  NfsStats stats() const override {
    const auto value = [](const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
    const NfsCounters& counters = shared_.counters;
    NfsStats stats{.connections_accepted = value(counters.accepted),
                   .connections_refused = value(counters.refused),
                   .calls = value(counters.calls),
                   .direct_calls = value(counters.direct_calls),
                   .reads = value(counters.reads),
                   .read_bytes = value(counters.read_bytes),
                   .writes = shared_.service.writes(),
                   .write_bytes = shared_.service.write_bytes(),
                   .errors = value(counters.errors),
                   .denied = value(counters.denied),
                   .repeated_calls = shared_.replies.hits(),
                   .files = shared_.service.files().size(),
                   .open_files = shared_.service.files().open_count(),
                   .sent = {}};
    for (const auto& worker : workers_) {
      stats.connections_open += worker->open_count();
      stats.connections_displaced += worker->displaced();
      const SendStats sent = worker->send_context().stats();
      stats.sent.copy_bytes += sent.copy_bytes;
      stats.sent.vmsplice_bytes += sent.vmsplice_bytes;
      stats.sent.zerocopy_bytes += sent.zerocopy_bytes;
    }
    return stats;
  }

 private:
  NfsShared shared_;
  uint64_t listener_ = 0;  // 0: none
  uint16_t port_ = 0;
  std::vector<std::unique_ptr<NfsWorker>> workers_;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<NfsServer>> NfsServer::start(Store* store, NfsOptions options) {
  auto server = std::make_unique<Server>(store, std::move(options));
  TRY(server->open());
  return server;
}

}  // namespace sluice
