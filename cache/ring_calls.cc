#include "cache/ring_calls.h"

#include <errno.h>

#include <vector>

#include "cache/assert.h"

namespace sluice {

void enter_ring(io_uring* ring, unsigned completions_min) {
  const int result = io_uring_submit_and_wait(ring, completions_min);
  switch (result) {
    case -EINTR:
    case -EAGAIN:  // no memory for a request at the moment
    case -EBUSY:   // completions must be taken first
      return;
    default: ASSERT(result >= 0);
  }
}

int restrict_ring(io_uring* ring, std::span<const io_uring_op> operations) {
  std::vector<io_uring_restriction> allowed;
  const auto allow = [&allowed](io_uring_op operation) {
    io_uring_restriction entry{};
    entry.opcode = IORING_RESTRICTION_SQE_OP;
    entry.sqe_op = operation;
    allowed.push_back(entry);
  };
  allow(IORING_OP_READ);  // of the eventfd
  for (const io_uring_op operation : operations) allow(operation);
  // By number: liburing 2.3 declares functions for these two and does not export them.
  const auto count = static_cast<unsigned>(allowed.size());
  const int result = io_uring_register(ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed.data(), count);
  return result != 0 ? -result : -io_uring_register(ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
}

}  // namespace sluice
