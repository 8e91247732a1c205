#include "net/admission.h"

#include <algorithm>
#include <utility>

#include "cache/assert.h"

namespace sluice {

bool ConnectionLimit::take(Admission* asking) {
  MutexLock lock(&mutex_);
  if (taken_ < places_) {
    taken_++;
    return true;
  }
  line_.push_back(asking);
  waiting_.store(line_.size(), std::memory_order_relaxed);
  return false;
}

Admission* ConnectionLimit::leave_line() {
  if (line_.empty()) return nullptr;
  Admission* const first = line_.front();
  line_.pop_front();
  waiting_.store(line_.size(), std::memory_order_relaxed);
  return first;
}

void ConnectionLimit::give_back() {
  Admission* next = nullptr;
  {
    MutexLock lock(&mutex_);
    // More than there are: this one was promised to somebody before.
    if (taken_ <= places_) next = leave_line();
    if (next == nullptr) taken_--;
  }
  if (next != nullptr) next->tell_place();
}

Admission* ConnectionLimit::next_in_line() {
  MutexLock lock(&mutex_);
  Admission* const next = leave_line();
  if (next != nullptr) taken_++;
  return next;
}

void ConnectionLimit::forget(Admission* waiting) {
  MutexLock lock(&mutex_);
  line_.erase(std::remove(line_.begin(), line_.end(), waiting), line_.end());
  waiting_.store(line_.size(), std::memory_order_relaxed);
}

Admission::Admission(ConnectionLimit* limit, EventLoop* loop, Listener* listener, AdmissionOwner* owner)
    : limit_(limit), loop_(loop), listener_(listener), owner_(owner) {
  limit->loops_.push_back(this);
}

void Admission::admit(Callback<void()> serve_it) {
  ASSERT(!waiting_);
  waiting_ = std::move(serve_it);
  if (limit_->take(this)) return serve();
  give_way();
  if (!waiting_) return;
  listener_->pause();
  paused_ = true;
  for (Admission* other : limit_->loops_) {
    if (other != this) other->loop_->post([other] { other->give_way(); });
  }
}

void Admission::serve() {
  std::exchange(waiting_, {})();
  if (std::exchange(paused_, false)) listener_->resume();
}

// Later, as it may be what is idle now that calls.
void Admission::went_idle() {
  if (limit_->is_wanted()) loop_->post([this] { give_way(); });
}

void Admission::went_away() {
  limit_->give_back();
}

void Admission::give_way() {
  const std::shared_ptr<Connection> idle = owner_->longest_idle();
  if (idle == nullptr) return;
  Admission* const next = limit_->next_in_line();
  if (next == nullptr) return;
  displaced_.fetch_add(1, std::memory_order_relaxed);
  idle->close();
  next == this ? serve() : next->tell_place();
}

void Admission::tell_place() {
  loop_->post([this] { on_place(); });
}

void Admission::on_place() {
  waiting_ ? serve() : limit_->give_back();
}

void Admission::close() {
  limit_->forget(this);
  waiting_ = {};
}

}  // namespace sluice
