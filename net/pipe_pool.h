// Pipes of 1 MiB, the vehicle of vmsplice, shared by the connections of a loop. A connection holds one only while it
// has bytes in it. Belongs to the loop's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cache/unique_fd.h"

namespace sluice {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

class PipePool {
 public:
  static constexpr uint32_t kPipeSize = 1 << 20;            // the system's default limit (fs.pipe-max-size)
  static constexpr uint32_t kPipePages = kPipeSize / 4096;  // one slot per page, however few bytes of it

  // `taken_max` pipes at once: slow clients beyond that are sent copies.
  explicit PipePool(uint32_t taken_max) : taken_max_(taken_max) {}

  // An empty pipe; nothing when too many are out, or the system refuses one of full size.
  std::optional<Pipe> take();
  void give_back(Pipe pipe);  // drained
  void discard(Pipe pipe);    // with bytes left in it

 private:
  static constexpr uint32_t kSpareMax = 8;

  const uint32_t taken_max_;
  std::vector<Pipe> spare_;
  uint32_t taken_ = 0;
};

}  // namespace sluice
