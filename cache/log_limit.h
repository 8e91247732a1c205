// LogLimit keeps a failing disk or a hostile client from filling the log: of each period the first lines pass, the rest
// are counted, and the first line of a later period says how many. One thread at a time.
#pragma once

#include <chrono>
#include <cstdint>

namespace sluice {

class LogLimit {
 public:
  struct Options {
    uint32_t lines_max = 0;
    std::chrono::nanoseconds period{};
  };
  explicit LogLimit(const Options& options) : options_(options) {}

  // Whether this line passes, and how many did not before it.
  struct Verdict {
    bool passes = true;
    uint64_t left_out = 0;
  };
  Verdict judge(std::chrono::nanoseconds now) {
    if (now >= period_end_) {
      period_end_ = now + options_.period;
      lines_ = 0;
    }
    if (lines_ == options_.lines_max) {
      left_out_++;
      return {.passes = false};
    }
    lines_++;
    const uint64_t left_out = left_out_;
    left_out_ = 0;
    return {.passes = true, .left_out = left_out};
  }

 private:
  const Options options_;
  std::chrono::nanoseconds period_end_ = std::chrono::nanoseconds::min();
  uint32_t lines_ = 0;  // of this period
  uint64_t left_out_ = 0;
};

}  // namespace sluice
