// A clock that moves only when the test says so.
#pragma once

#include <atomic>

#include "cache/clock.h"

namespace sluice {

class ManualClock final : public Clock {
 public:
  std::chrono::nanoseconds monotonic() const override { return std::chrono::nanoseconds(now_.load()); }
  std::chrono::nanoseconds realtime() const override {
    return std::chrono::hours(24 * 365 * 50) + std::chrono::nanoseconds(now_.load());
  }
  void advance(std::chrono::nanoseconds by) { now_ += by.count(); }

 private:
  std::atomic<int64_t> now_{1'000'000'000};
};

}  // namespace sluice
