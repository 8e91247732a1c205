#include "net/pipe_pool.h"

#include <fcntl.h>

#include <array>

#include "cache/assert.h"

namespace sluice {

std::optional<Pipe> PipePool::take() {
  if (taken_ == taken_max_) return std::nullopt;
  Pipe pipe;
  if (!spare_.empty()) {
    pipe = std::move(spare_.back());
    spare_.pop_back();
  } else {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return std::nullopt;
    pipe = {UniqueFd(ends[0]), UniqueFd(ends[1])};
    // EPERM: this user has too many pages in pipes (fs.pipe-user-pages-soft).
    if (::fcntl(pipe.write_end.get(), F_SETPIPE_SZ, kPipeSize) < 0) return std::nullopt;
  }
  ++taken_;
  return pipe;
}

void PipePool::give_back(Pipe pipe) {
  ASSERT(taken_ > 0);
  --taken_;
  if (spare_.size() < kSpareMax) spare_.push_back(std::move(pipe));
}

void PipePool::discard(Pipe pipe) {
  ASSERT(taken_ > 0);
  --taken_;
  pipe = {};
}

}  // namespace sluice
