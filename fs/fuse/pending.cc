#include "fs/fuse/pending.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "cache/assert.h"
#include "cache/unique_fd.h"

namespace sluice {
namespace {

// Signals by which people and timers end what takes too long.
constexpr int kEnding[] = {SIGKILL, SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGALRM};

uint64_t ending_signals() {
  uint64_t mask = 0;
  for (const int signal : kEnding) mask |= uint64_t{1} << (signal - 1);
  return mask;
}

// A line "SigPnd:\t0000000000000100" of /proc/PID/status. Nothing is no signal.
uint64_t mask_at(std::string_view status, std::string_view key) {
  const size_t at = status.find(key);
  if (at == status.npos) return 0;
  return ::strtoull(std::string(status.substr(at + key.size(), 20)).c_str(), nullptr, 16);
}

}  // namespace

bool is_being_ended(pid_t thread) {
  if (thread <= 0) return true;  // lives in another pid namespace
  const UniqueFd fd(::open(fmt::format("/proc/{}/status", thread).c_str(), O_RDONLY | O_CLOEXEC));
  char text[8192];
  const ssize_t length = fd ? ::read(fd.get(), text, sizeof(text)) : -1;
  if (length <= 0) return true;
  const std::string_view status(text, static_cast<size_t>(length));
  return ((mask_at(status, "\nSigPnd:") | mask_at(status, "\nShdPnd:")) & ending_signals()) != 0;
}

fuse_req_t PendingRequest::take() {
  for (;;) {
    State state = State::open;
    if (state_.compare_exchange_weak(state, State::taken, std::memory_order_acq_rel)) return request_;
    if (state == State::answered) return nullptr;
    ASSERT(state == State::open || state == State::held);
    if (state == State::held) ::sched_yield();
  }
}

struct PendingRequests::Pool {
  Mutex mutex;                                       // leaf
  std::deque<PendingRequest> all GUARDED_BY(mutex);  // never moved
  std::vector<PendingRequest*> free GUARDED_BY(mutex);
  std::vector<PendingRequest*> looked_at;  // of the ticking thread

  PendingRequest* take() {
    MutexLock lock(&mutex);
    if (free.empty()) return &all.emplace_back();
    PendingRequest* request = free.back();
    free.pop_back();
    return request;
  }
  void give_back(PendingRequest* request) {
    MutexLock lock(&mutex);
    free.push_back(request);
  }
  const std::vector<PendingRequest*>& list() {
    MutexLock lock(&mutex);
    for (size_t i = looked_at.size(); i < all.size(); ++i) looked_at.push_back(&all[i]);
    return looked_at;
  }
};

// Of a thread: a record that is free.
struct PendingRequests::Spare {
  std::shared_ptr<Pool> pool;
  PendingRequest* request = nullptr;

  ~Spare() { let_go(); }
  void let_go() {
    if (request != nullptr) pool->give_back(std::exchange(request, nullptr));
  }
  void serve(const std::shared_ptr<Pool>& other) {
    if (pool == other) [[likely]]
      return;
    let_go();
    pool = other;
  }
};

thread_local PendingRequests::Spare PendingRequests::spare;

PendingRequests::PendingRequests(BackingHealth* health) : health_(health), pool_(std::make_shared<Pool>()) {}

PendingRequest* PendingRequests::begin(fuse_req_t request) {
  Spare& mine = spare;
  mine.serve(pool_);
  PendingRequest* pending = std::exchange(mine.request, nullptr);
  if (pending == nullptr) pending = pool_->take();
  pending->request_ = request;
  pending->caller_ = *fuse_req_ctx(request);
  pending->serial_.store(pending->serial_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  pending->state_.store(PendingRequest::State::open, std::memory_order_release);
  return pending;
}

void PendingRequests::end(PendingRequest* request) {
  request->state_.store(PendingRequest::State::idle, std::memory_order_relaxed);
  Spare& mine = spare;
  mine.serve(pool_);
  if (mine.request == nullptr) {
    mine.request = request;
  } else {
    pool_->give_back(request);
  }
}

void PendingRequests::tick(std::chrono::nanoseconds now, std::chrono::nanoseconds io_timeout) {
  uint64_t waiting = 0;
  for (PendingRequest* request : pool_->list()) {
    if (request->state_.load(std::memory_order_acquire) != PendingRequest::State::open) continue;
    const uint64_t serial = request->serial_.load(std::memory_order_relaxed);
    if (std::exchange(request->seen_, serial) != serial) {
      request->since_ = now;
      continue;
    }
    waiting++;
    look_at(*request, now - request->since_, io_timeout);
  }
  waiting_.store(waiting, std::memory_order_relaxed);
}

void PendingRequests::look_at(PendingRequest& request, std::chrono::nanoseconds waited,
                              std::chrono::nanoseconds io_timeout) {
  if (!hold(request, request.seen_)) return;
  if (io_timeout > std::chrono::nanoseconds{} && waited >= io_timeout) {
    health_->count_timed_out();
    return answer(request, EIO);
  }
  if (fuse_req_interrupted(request.request_) && is_being_ended(request.caller_.pid)) {
    health_->count_interrupted();
    return answer(request, EINTR);
  }
  request.state_.store(PendingRequest::State::open, std::memory_order_release);
}

// It may have been answered meanwhile, and its record be used for another request.
bool PendingRequests::hold(PendingRequest& request, uint64_t serial) {
  auto open = PendingRequest::State::open;
  if (!request.state_.compare_exchange_strong(open, PendingRequest::State::held, std::memory_order_acq_rel))
    return false;
  if (request.serial_.load(std::memory_order_relaxed) == serial) return true;
  request.state_.store(PendingRequest::State::open, std::memory_order_release);
  return false;
}

void PendingRequests::answer(PendingRequest& request, int error) {
  fuse_reply_err(request.request_, error);
  request.state_.store(PendingRequest::State::answered, std::memory_order_release);
}

}  // namespace sluice
