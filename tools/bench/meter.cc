#include "tools/bench/meter.h"

#include <chrono>

namespace sluice {

Usage process_usage() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return {.cpu_seconds = seconds(used.ru_utime) + seconds(used.ru_stime),
          .context_switches = static_cast<uint64_t>(used.ru_nvcsw + used.ru_nivcsw)};
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Meter::begin() {
  before_ = process_usage();
  began_ = steady_seconds();
  counter_->begin();
}

void Meter::end() {
  counter_->end();
  after_ = process_usage();
}

}  // namespace sluice
