#include "net/event_loop.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "cache/assert.h"
#include "cache/log.h"
#include "net/event_loop_backends.h"

namespace sluice {
namespace {

thread_local const EventLoop* current_loop = nullptr;

constexpr int kAcceptsPerTurn = 32;
constexpr uint32_t kGenerationMask = (1U << 28) - 1;  // what fits beside index and operation in 64 bits

// splice(2) to a socket whose peer is gone raises SIGPIPE and knows no MSG_NOSIGNAL. It stays blocked: one may be
// pending.
void block_sigpipe() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create(const EventLoopOptions& options) {
  if (options.backend == LoopBackend::epoll) return make_epoll_loop(options.clock);
  Result<std::unique_ptr<EventLoop>> ring = make_ring_loop(options.clock);
  if (ring || options.backend == LoopBackend::ring) return ring;
  static std::atomic<bool> warned{false};
  if (!warned.exchange(true)) {
    log(LogLevel::warning, "io_uring is refused ({}): network threads use epoll", error_text(ring.error().number));
  }
  return make_epoll_loop(options.clock);
}

EventLoop::EventLoop(const Clock* clock)
    : clock_(clock), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), now_(clock->monotonic()) {
  ASSERT(wake_.get() >= 0);
}

EventLoop::~EventLoop() = default;

void EventLoop::run() {
  current_loop = this;
  block_sigpipe();
  prepare_run();
  while (!stopping_.load(std::memory_order_acquire) || holds_ > 0) {
    ++turn_;
    wait(until_next());
    run_tasks();
    run_timers();
  }
  finish_run();
  current_loop = nullptr;
}

void EventLoop::stop() {
  stopping_.store(true, std::memory_order_release);
  ::eventfd_write(wake_.get(), 1);
}

bool EventLoop::in_thread() const {
  return current_loop == this;
}

void EventLoop::post(Callback<void()> task) {
  if (in_thread()) {
    ready_.push_back(std::move(task));
    return;
  }
  MutexLock lock(&mutex_);
  // Whoever finds the queue empty wakes; the loop takes the whole queue at once. It wakes with the mutex held: the
  // task may be the last thing the loop waits for, then the loop is gone a moment after the mutex.
  if (posted_.empty()) ::eventfd_write(wake_.get(), 1);
  posted_.push_back(std::move(task));
}

void EventLoop::run_tasks() {
  std::vector<Callback<void()>> tasks = std::move(ready_);
  ready_.clear();
  {
    MutexLock lock(&mutex_);
    if (tasks.empty()) {
      tasks.swap(posted_);
    } else {
      std::move(posted_.begin(), posted_.end(), std::back_inserter(tasks));
      posted_.clear();
    }
  }
  for (Callback<void()>& task : tasks) task();
}

TimerId EventLoop::call_after(std::chrono::nanoseconds delay, Callback<void()> task) {
  const TimerId id = ++timers_made_;
  const std::chrono::nanoseconds at = now_ + delay;
  timers_.emplace(std::pair(at, id), std::move(task));
  timer_times_.emplace(id, at);
  return id;
}

void EventLoop::cancel(TimerId timer) {
  const auto found = timer_times_.find(timer);
  if (found == timer_times_.end()) return;
  timers_.erase({found->second, timer});
  timer_times_.erase(found);
}

void EventLoop::run_timers() {
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    auto node = timers_.extract(timers_.begin());
    timer_times_.erase(node.key().second);
    node.mapped()();
  }
}

std::chrono::nanoseconds EventLoop::until_next() const {
  if (!ready_.empty()) return std::chrono::nanoseconds(0);
  if (timers_.empty()) return std::chrono::nanoseconds(-1);
  return std::max(std::chrono::nanoseconds(0), timers_.begin()->first.first - clock_->monotonic());
}

uint32_t EventLoop::take_slot(int fd) {
  uint32_t index;
  if (free_slots_.empty()) {
    index = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_slots_.back();
    free_slots_.pop_back();
  }
  slots_[index].fd = fd;
  return index;
}

SocketId EventLoop::add(int fd, SocketHandler* handler) {
  const uint32_t index = take_slot(fd);
  slots_[index].socket = handler;
  return {index, slots_[index].generation};
}

SocketId EventLoop::add_listener(int fd, AcceptHandler* handler) {
  const uint32_t index = take_slot(fd);
  slots_[index].acceptor = handler;
  return {index, slots_[index].generation};
}

void EventLoop::accept_some(uint32_t index, uint32_t generation) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    Slot* slot = find(index, generation);
    if (slot == nullptr || !slot->wanted) return;
    UniqueFd socket(::accept4(slot->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket) {
      slot->acceptor->on_accepted(std::move(socket));
      continue;
    }
    switch (errno) {
      case EAGAIN: return;
      case EINTR:
      case ECONNABORTED: continue;
      default:
        const int error = errno;
        slot->wanted = false;
        interest_changed(index);
        slot->acceptor->on_accept_failed(error);
        return;
    }
  }
}

EventLoop::Slot* EventLoop::find(SocketId id) {
  if (id.index >= slots_.size()) return nullptr;
  Slot& slot = slots_[id.index];
  return slot.fd >= 0 && slot.generation == id.generation ? &slot : nullptr;
}

void EventLoop::remove(SocketId id) {
  Slot* slot = find(id);
  ASSERT(slot != nullptr);
  removing(id.index);
  *slot = Slot{.generation = (slot->generation + 1) & kGenerationMask};
  free_slots_.push_back(id.index);
}

void EventLoop::start(SocketId id) {
  Slot* slot = find(id);
  ASSERT(slot != nullptr);
  if (std::exchange(slot->wanted, true)) return;
  interest_changed(id.index);
}

void EventLoop::pause(SocketId id) {
  Slot* slot = find(id);
  ASSERT(slot != nullptr);
  if (!std::exchange(slot->wanted, false)) return;
  interest_changed(id.index);
}

void EventLoop::wait_writable(SocketId id) {
  Slot* slot = find(id);
  ASSERT(slot != nullptr);
  if (std::exchange(slot->writable_wanted, true)) return;
  interest_changed(id.index);
}

void EventLoop::send_zerocopy(SocketId, std::unique_ptr<ZeroCopySend>) {
  ASSERT(can_send_zerocopy());
}

}  // namespace sluice
