#include "tools/stop_guard.h"

#include <utility>

#include "cache/clock.h"

namespace sluice {
namespace {

constexpr std::chrono::milliseconds kLook{100};

}  // namespace

StopGuard::StopGuard(StopGuardOptions options) : options_(std::move(options)), thread_([this] { watch(); }) {}

StopGuard::~StopGuard() {
  {
    MutexLock lock(&mutex_);
    done_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StopGuard::watch() {
  const auto began = system_clock().monotonic();
  MutexLock lock(&mutex_);
  while (!done_) {
    if (system_clock().monotonic() - began >= options_.patience && options_.is_hung()) return options_.give_up();
    changed_.wait_for(mutex_, kLook);
  }
}

}  // namespace sluice
