// The client of a transfer: reads a stream to its end, makes a digest, and says by one byte that it has everything.
#pragma once

#include <cstdint>

#include "cache/result.h"

namespace sluice {

struct Received {
  uint64_t bytes = 0;
  uint64_t digest = 0;  // XXH3, 64 bits
  double cpu_seconds = 0;
  double ended = 0;  // when the last byte was here, as steady_seconds() has it
};

Result<Received> receive(int socket);

}  // namespace sluice
