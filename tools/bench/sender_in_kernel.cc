// Past the program: the socket gets references to the pages of the file. sendfile is splice through a pipe that the
// kernel keeps for the thread. From a direct-I/O file splice has fresh pages read from the disk, which no cache holds.
#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>

#include <algorithm>

#include "net/pipe_pool.h"
#include "tools/bench/file_sender.h"

namespace sluice {
namespace {

constexpr uint64_t kSendfileSize = (uint64_t{14} << 20) / 10 / 4096 * 4096;  // the books' socket buffer, whole pages
constexpr uint32_t kPipeSize = PipePool::kPipeSize;

class Sendfile final : public BlockingSender {
 public:
  Sendfile(UniqueFd file, uint64_t size) : BlockingSender(size), file_(std::move(file)) {}

 private:
  Result<void> transmit(int socket) override {
    for (off_t at = 0; static_cast<uint64_t>(at) < size();) {
      const uint64_t wanted = std::min(kSendfileSize, size() - static_cast<uint64_t>(at));
      const ssize_t sent = counted(::sendfile(socket, file_.get(), &at, wanted));
      if (sent <= 0) return fail(sent < 0 ? errno : EIO);
    }
    return {};
  }

  const UniqueFd file_;
};

class Splice final : public BlockingSender {
 public:
  Splice(UniqueFd file, uint64_t size) : BlockingSender(size), file_(std::move(file)), pipe_(pipes_.take()) {}

 private:
  Result<void> transmit(int socket) override {
    if (!pipe_) return fail(EPERM);
    for (loff_t at = 0; static_cast<uint64_t>(at) < size();) {
      const uint64_t wanted = std::min<uint64_t>(kPipeSize, size() - static_cast<uint64_t>(at));
      const ssize_t got = counted(::splice(file_.get(), &at, pipe_->write_end.get(), nullptr, wanted, SPLICE_F_MOVE));
      if (got <= 0) return fail(got < 0 ? errno : EIO);
      TRY(drain(socket, static_cast<uint64_t>(got)));
    }
    return {};
  }

  Result<void> drain(int socket, uint64_t length) {
    while (length > 0) {
      const ssize_t moved = counted(::splice(pipe_->read_end.get(), nullptr, socket, nullptr, length, SPLICE_F_MOVE));
      if (moved <= 0) return fail(moved < 0 ? errno : EIO);
      length -= static_cast<uint64_t>(moved);
    }
    return {};
  }

  const UniqueFd file_;
  PipePool pipes_{1};
  const std::optional<Pipe> pipe_;
};

}  // namespace

std::vector<SendWay> in_kernel_ways() {
  return {{"sendfile", "sendfile, 1.4 MiB", make_sender<Sendfile>()},
          {"splice", "splice through a pipe, 1 MiB", make_sender<Splice>()},
          {"splice-direct", "splice from a direct-I/O file", make_sender<Splice>(O_DIRECT)}};
}

}  // namespace sluice
