// NfsWorker is one thread of the NFS server: an event loop, its listening socket, its sessions.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <unordered_set>

#include "net/admission.h"
#include "net/event_loop.h"
#include "net/listener.h"
#include "net/nfs/reply_cache.h"
#include "net/nfs/server.h"
#include "net/nfs/service.h"
#include "net/send_path.h"
#include "net/worker_pool.h"

namespace sluice {

class NfsSession;

struct NfsCounters {
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> refused{0};
  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> direct_calls{0};
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> read_bytes{0};
  std::atomic<uint64_t> errors{0};
  std::atomic<uint64_t> denied{0};

  static void count(std::atomic<uint64_t>& counter, uint64_t amount = 1) {
    counter.fetch_add(amount, std::memory_order_relaxed);
  }
};

// What the workers of a server share.
struct NfsShared {
  NfsShared(Store* exported, NfsOptions chosen)
      : store(*exported),
        options([&] {
          chosen.files.health = chosen.health;
          return std::move(chosen);
        }()),
        service(exported, options.key, options.files),
        replies(options.replies_max, options.reply_lifetime, options.clock) {}

  Store& store;
  const NfsOptions options;
  NfsService service;
  ReplyCache replies;
  NfsCounters counters;
  ConnectionLimit connections{options.connections_max};
  AddressCounts addresses{options.connections_per_address_max};
  std::atomic<bool> is_closing_idle{false};
  std::atomic<uint32_t> direct_callers{0};  // threads that may wait for the next call of a client
  std::unique_ptr<WorkerPool> pool;         // for what may block; ends before the rest
};

class NfsWorker final : private AdmissionOwner {
 public:
  static Result<std::unique_ptr<NfsWorker>> create(NfsShared* shared, UniqueFd listening, const SendOptions& send);
  ~NfsWorker();

  EventLoop& loop() { return *loop_; }
  void run();  // the thread
  // Any thread. Stops accepting; ends `run` when all calls are answered, or at `timeout`.
  void drain(std::chrono::nanoseconds timeout);

  SendContext& send_context() { return send_context_; }
  NfsShared& shared() { return *shared_; }
  uint64_t open_count() const { return open_.load(std::memory_order_relaxed); }
  uint64_t displaced() const { return admission_.displaced(); }

  // For its sessions, on the loop's thread.
  void went_idle();
  void went_away(const std::shared_ptr<NfsSession>& session);

 private:
  NfsWorker(NfsShared* shared, std::unique_ptr<EventLoop> loop, UniqueFd listening, const SendOptions& send);

  void start();
  void accept(UniqueFd socket);
  void serve(UniqueFd socket, const PeerAddress& peer, const NfsClientOptions& options);
  std::shared_ptr<Connection> longest_idle() override;
  void sweep();
  void close_idle_files();
  void begin_drain(std::chrono::nanoseconds timeout);
  void close_all();

  NfsShared* const shared_;
  const std::unique_ptr<EventLoop> loop_;
  SendContext send_context_;
  Listener listener_;
  Admission admission_;
  std::unordered_set<std::shared_ptr<NfsSession>> sessions_;
  std::vector<std::shared_ptr<NfsSession>> leaving_;  // closed; destroyed when nothing of theirs is on the stack
  bool draining_ = false;
  std::atomic<uint64_t> open_{0};
};

}  // namespace sluice
