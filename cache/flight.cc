#include "cache/flight.h"

namespace sluice {

void ParkedRead::reset() {
  for (FrameNumber& frame : frames_) {
    if (frame != kNoFrame) arena_->release({std::exchange(frame, kNoFrame), 1});
  }
  pending_ = 1;
  error_ = 0;
  start_over = false;
  alone = false;
}

bool ParkedRead::arrive(int error) {
  int none = 0;
  if (error != 0) error_.compare_exchange_strong(none, error);
  return pending_.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

void ParkedRead::finish() {
  PageRefs pages(arena_);
  for (FrameNumber& frame : frames_) {
    if (frame != kNoFrame) pages.append({std::exchange(frame, kNoFrame), 1});
  }
  const int error = error_.load();
  if (error == 0) return done_(std::move(pages));
  pages.reset();
  done_(fail(error));
}

}  // namespace sluice
