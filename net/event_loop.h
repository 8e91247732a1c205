// EventLoop runs everything that happens on one network thread: sockets, timers, posted tasks. Completion style on
// io_uring (bytes arrive in buffers shared by the whole loop, so an idle connection owns none), with the same interface
// over epoll where io_uring is refused.
//
//   auto loop = TRY(EventLoop::create({}));
//   std::thread thread([&] { loop->run(); });
//   loop->post([&] { id = loop->add(fd, &handler); loop->start(id); });
//
// A turn is: wait (one system call submits all that the last turn asked for; on io_uring none when there is nothing to
// submit and nothing to wait for), events, posted tasks, timers.
// State belongs to the loop's thread: everything but `post` and `stop` is called there, or before `run`.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/callback.h"
#include "cache/clock.h"
#include "cache/mutex.h"
#include "cache/page_refs.h"
#include "cache/result.h"
#include "cache/unique_fd.h"

namespace sluice {

enum class LoopBackend { automatic, ring, epoll };

struct EventLoopOptions {
  LoopBackend backend = LoopBackend::automatic;
  const Clock* clock = &system_clock();
};

// Names a socket known to the loop; never valid again after `remove`.
struct SocketId {
  uint32_t index = UINT32_MAX;
  uint32_t generation = 0;
};

class SocketHandler {
 public:
  virtual void on_received(std::string_view bytes) = 0;  // valid during the call
  virtual void on_receive_end(int error) = 0;            // 0: the peer closed its side. Nothing more will be received.
  virtual void on_writable() = 0;                        // once per wait_writable; also when the socket failed

 protected:
  ~SocketHandler() = default;
};

class AcceptHandler {
 public:
  virtual void on_accepted(UniqueFd socket) = 0;  // non-blocking, close-on-exec
  virtual void on_accept_failed(int error) = 0;   // accepting is paused: `start` again later

 protected:
  ~AcceptHandler() = default;
};

// One zero-copy transmission. The loop owns it, and so the pages, until the kernel's notification.
struct ZeroCopySend {
  std::vector<iovec> iovecs;
  PageRefs pages;
  msghdr message{};
  Callback<void(Result<size_t>)> sent;  // once; EAGAIN when the socket is full
  size_t sent_bytes = 0;                // once `sent` ran
  // Once, then the pages go. What the kernel took a copy of instead: all that was sent, or nothing.
  Callback<void(size_t copied_bytes)> released;
};

using TimerId = uint64_t;

class EventLoop {
 public:
  // `automatic` says once in the log when it falls back to epoll. Errors: those of io_uring_setup(2) or
  // epoll_create(2).
  static Result<std::unique_ptr<EventLoop>> create(const EventLoopOptions& options);
  virtual ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Until `stop` was called and nothing holds the loop. Blocks SIGPIPE in the calling thread, for good.
  void run();
  void stop();                       // any thread
  void post(Callback<void()> task);  // any thread; in order; runs in the next turn
  bool in_thread() const;
  std::chrono::nanoseconds now() const { return now_; }  // monotonic, of this turn
  uint64_t turn() const { return turn_; }                // counts them
  virtual std::string_view name() const = 0;             // "io_uring" or "epoll"

  // Work under way elsewhere will post back: the loop must not end before.
  void hold() { ++holds_; }
  void unhold() { --holds_; }

  TimerId call_after(std::chrono::nanoseconds delay, Callback<void()> task);
  void cancel(TimerId timer);

  // The socket is non-blocking and stays open until `remove`, which must come before close(2).
  SocketId add(int fd, SocketHandler* handler);
  SocketId add_listener(int fd, AcceptHandler* handler);
  void remove(SocketId id);
  // Receiving or accepting. After `pause` what was already under way may still be delivered.
  void start(SocketId id);
  void pause(SocketId id);
  virtual bool is_receiving(SocketId id) = 0;  // false: paused, and nothing is under way
  void wait_writable(SocketId id);

  virtual bool can_send_zerocopy() const { return false; }
  virtual void send_zerocopy(SocketId id, std::unique_ptr<ZeroCopySend> send);

 protected:
  struct Slot {
    uint32_t generation = 0;
    int fd = -1;
    SocketHandler* socket = nullptr;  // one of the two
    AcceptHandler* acceptor = nullptr;
    bool wanted = false;  // receiving or accepting
    bool armed = false;   // ... is under way in the kernel
    bool writable_wanted = false;
    bool writable_armed = false;
  };

  explicit EventLoop(const Clock* clock);

  Slot* find(SocketId id);
  Slot* find(uint32_t index, uint32_t generation) { return find(SocketId{index, generation}); }
  Slot* slot_at(uint32_t index) { return &slots_[index]; }
  int wake_fd() const { return wake_.get(); }
  void update_now() { now_ = clock_->monotonic(); }

  virtual void prepare_run() = 0;
  virtual void finish_run() = 0;  // when it returns, the kernel has let go of all sockets that were removed
  // Submits, waits at most `timeout` (negative: for ever), updates `now`, runs handlers.
  virtual void wait(std::chrono::nanoseconds timeout) = 0;
  virtual void interest_changed(uint32_t index) = 0;  // of a slot in use
  virtual void removing(uint32_t index) = 0;

  // Connections that wait, until the handler wants no more. One by one, because what the kernel accepts ahead of the
  // handler takes descriptors that it did not mean to give.
  void accept_some(uint32_t index, uint32_t generation);

 private:
  uint32_t take_slot(int fd);
  void run_tasks();
  void run_timers();
  std::chrono::nanoseconds until_next() const;

  const Clock* const clock_;
  UniqueFd wake_;  // eventfd
  std::atomic<bool> stopping_{false};
  Mutex mutex_;  // Leaf lock.
  std::vector<Callback<void()>> posted_ GUARDED_BY(mutex_);

  // Of the loop's thread.
  std::chrono::nanoseconds now_;
  uint64_t turn_ = 0;
  std::vector<Callback<void()>> ready_;
  std::map<std::pair<std::chrono::nanoseconds, TimerId>, Callback<void()>> timers_;
  std::map<TimerId, std::chrono::nanoseconds> timer_times_;
  TimerId timers_made_ = 0;
  uint64_t holds_ = 0;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
};

}  // namespace sluice
