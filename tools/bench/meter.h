// What the process of a sender uses between two moments: time, processor, context switches, system calls. All its
// threads are counted, and the kernel's own that work for its io_uring.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <optional>

#include "tools/bench/call_counter.h"

namespace sluice {

struct Usage {
  double cpu_seconds = 0;
  uint64_t context_switches = 0;
};
// Of this process so far.
Usage process_usage();

// On the clock that all processes share.
double steady_seconds();

class Meter {
 public:
  explicit Meter(CallCounter* counter) : counter_(counter) {}

  // Any thread, once each.
  void begin();
  void end();

  double began() const { return began_; }
  Usage usage() const {
    return {after_.cpu_seconds - before_.cpu_seconds, after_.context_switches - before_.context_switches};
  }

 private:
  CallCounter* const counter_;
  double began_ = 0;
  Usage before_, after_;
};

}  // namespace sluice
