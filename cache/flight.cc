#include "cache/flight.h"

namespace sluice {

bool ParkedRead::reset() {
  bool held = false;
  for (FrameNumber& frame : frames_) {
    if (frame == kNoFrame) continue;
    arena_->release({std::exchange(frame, kNoFrame), 1});
    held = true;
  }
  pending_ = 1;
  error_ = 0;
  start_over = false;
  return held;
}

bool ParkedRead::arrive(int error) {
  int none = 0;
  if (error != 0) error_.compare_exchange_strong(none, error);
  return pending_.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

void ParkedRead::finish() {
  const int error = error_.load();
  if (error != 0) return done_(fail(error));
  PageRefs pages(arena_);
  for (FrameNumber& frame : frames_) pages.append({std::exchange(frame, kNoFrame), 1});
  done_(std::move(pages));
}

}  // namespace sluice
