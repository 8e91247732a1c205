// Time as a dependency, so that tests move it by hand.
#pragma once

#include <chrono>

namespace sluice {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::chrono::nanoseconds monotonic() const = 0;  // since an arbitrary start; for timers and timeouts
  virtual std::chrono::nanoseconds realtime() const = 0;   // since 1970; only to compare with file times
};

// The machine's clocks. Lives as long as the process.
const Clock& system_clock();

}  // namespace sluice
