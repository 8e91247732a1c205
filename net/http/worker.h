// HttpWorker is one thread of the HTTP server: an event loop, its listening socket, its sessions.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "net/admission.h"
#include "net/event_loop.h"
#include "net/http/content_type.h"
#include "net/http/response.h"
#include "net/http/server.h"
#include "net/http/session.h"
#include "net/listener.h"
#include "net/send_path.h"
#include "net/worker_pool.h"

namespace sluice {

// What the workers of a server share.
struct HttpShared {
  HttpShared(Store* exported, const HttpOptions& chosen) : store(exported), options(chosen) {}

  Store* const store;
  const HttpOptions options;
  ContentTypes types;
  PageBudget page_budget{options.sorted_pages_bytes};
  ConnectionLimit connections{options.connections_max};
  AddressCounts addresses{options.connections_per_address_max};
  std::unique_ptr<WorkerPool> pool;  // for opens that may block
};

class HttpWorker final : private AdmissionOwner {
 public:
  static Result<std::unique_ptr<HttpWorker>> create(HttpShared* shared, UniqueFd listening, const SendOptions& send);
  ~HttpWorker();

  EventLoop& loop() { return *loop_; }
  void run();  // the thread
  // Any thread. Stops accepting and closes idle connections; ends `run` when the others are done, or at `timeout`.
  void drain(std::chrono::nanoseconds timeout);

  void add_stats(HttpStats* stats) const;  // any thread

  // For its sessions, on the loop's thread.
  const HttpShared& shared() const { return *shared_; }
  PageBudget& page_budget() { return shared_->page_budget; }
  SendContext& send_context() { return send_context_; }
  std::string_view date() { return dates_.at(shared_->options.clock->realtime()); }
  int64_t date_s() const { return dates_.seconds(); }  // of the last date
  bool draining() const { return draining_; }
  void count(HttpStatus status);
  void count_broken_off();
  void went_idle(HttpSession& session);
  void went_busy(HttpSession& session);
  void went_away(HttpSession& session);

 private:
  HttpWorker(HttpShared* shared, std::unique_ptr<EventLoop> loop, UniqueFd listening, const SendOptions& send);

  void start();
  void accept(UniqueFd socket);
  void turn_away(UniqueFd socket, const PeerAddress& peer, HttpStatus status);
  void serve(UniqueFd socket, const PeerAddress& peer);
  std::shared_ptr<Connection> longest_idle() override;
  void sweep();
  void begin_drain(std::chrono::nanoseconds timeout);
  void close_all();
  size_t open_count() const { return busy_.size() + idle_.size(); }

  HttpShared* const shared_;
  const std::unique_ptr<EventLoop> loop_;
  SendContext send_context_;
  Listener listener_;
  Admission admission_;
  DateCache dates_;
  HttpSession::List busy_;
  HttpSession::List idle_;     // the one that is idle longest comes first
  HttpSession::List leaving_;  // closed; destroyed in the next turn, when nothing of theirs is on the stack
  bool draining_ = false;

  std::atomic<uint64_t> accepted_{0};
  std::atomic<uint64_t> open_{0};
  std::atomic<uint64_t> refused_{0};
  std::atomic<uint64_t> denied_{0};
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> by_class_[6] = {};
  std::atomic<uint64_t> broken_off_{0};
};

}  // namespace sluice
