#include "fs/fuse/notify.h"

#include <optional>

namespace sluice {

void Notifier::start() {
  thread_ = std::thread([this] { work(); });
}

void Notifier::stop() {
  {
    MutexLock lock(&mutex_);
    is_open_ = false;
    changed_.notify_all();
  }
  std::call_once(joined_, [this] {
    if (thread_.joinable()) thread_.join();
  });
}

bool Notifier::has_room() {
  if (!is_open_) return false;
  if (queue_.size() < queue_max_) return true;
  dropped_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void Notifier::invalidate(InodeNumber number) {
  MutexLock lock(&mutex_);
  if (!has_room() || !waiting_.insert(number).second) return;
  queue_.push_back({number, {}, {}});
  changed_.notify_one();
}

void Notifier::invalidate_name(InodeNumber directory, const std::string& name) {
  MutexLock lock(&mutex_);
  if (!has_room()) return;
  queue_.push_back({directory, name, {}});
  changed_.notify_one();
}

bool Notifier::is_waiting(InodeNumber number) {
  MutexLock lock(&mutex_);
  return sending_ == number || waiting_.count(number) != 0;
}

void Notifier::invalidate_then(InodeNumber number, std::string name, Callback<void()> then) {
  {
    MutexLock lock(&mutex_);
    if (is_open_) {
      queue_.push_back({number, std::move(name), std::move(then)});
      changed_.notify_one();
      return;
    }
  }
  then();
}

void Notifier::work() {
  while (true) {
    std::optional<Item> item;
    {
      MutexLock lock(&mutex_);
      sending_ = 0;
      while (queue_.empty() && is_open_) changed_.wait(mutex_);
      if (queue_.empty()) return;
      item = std::move(queue_.front());
      queue_.pop_front();
      // Before sending: a change that comes meanwhile must be told again.
      if (!item->then && item->name.empty()) waiting_.erase(item->number);
      sending_ = item->number;
    }
    send_(item->number, item->name);
    sent_.fetch_add(1, std::memory_order_relaxed);
    if (item->then) item->then();
  }
}

}  // namespace sluice
