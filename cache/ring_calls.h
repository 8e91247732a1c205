// What the threads that own an io_uring share: entering the kernel, room for submissions, restrictions.
#pragma once

#include <liburing.h>

#include <span>

namespace sluice {

// Submits what is there and waits for so many completions. What was not submitted stays in the queue for the next call.
void enter_ring(io_uring* ring, unsigned completions_min);

// A free entry of the submission queue. While there is none, `enter` lets the kernel take what is there.
template <typename Enter>
io_uring_sqe* next_submission(io_uring* ring, Enter enter) {
  for (;;) {
    if (io_uring_sqe* submission = io_uring_get_sqe(ring)) return submission;
    enter();
  }
}

// Enables a ring that was made disabled, for these operations and the read of an eventfd only: seccomp does not see
// what happens inside a ring. Returns an errno, 0 when it went well.
int restrict_ring(io_uring* ring, std::span<const io_uring_op> operations);

}  // namespace sluice
