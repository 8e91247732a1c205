// Through the PageCache and the program. read + write copies twice, from the PageCache to the buffer and from there to
// the socket; with mmap the first copy goes, for page faults in its place.
#include <errno.h>
#include <unistd.h>

#include <algorithm>

#include "tools/bench/file_sender.h"
#include "tools/bench/work_folder.h"

namespace sluice {
namespace {

constexpr uint64_t kReadSize = 32 << 10;  // as in the books
constexpr uint64_t kMappedSize = 1 << 20;

class ReadWrite final : public BlockingSender {
 public:
  ReadWrite(UniqueFd file, uint64_t size) : BlockingSender(size), file_(std::move(file)) {}

 private:
  Result<void> transmit(int socket) override {
    for (uint64_t at = 0; at < size();) {
      const ssize_t got = counted(::pread(file_.get(), buffer_.get(), kReadSize, static_cast<off_t>(at)));
      if (got <= 0) return fail(got < 0 ? errno : EIO);
      copied(static_cast<uint64_t>(got));
      TRY(write_all(socket, buffer_.get(), static_cast<uint64_t>(got)));
      at += static_cast<uint64_t>(got);
    }
    return {};
  }

  const UniqueFd file_;
  const AlignedBuffer buffer_{kReadSize};
};

class MmapWrite final : public MappedSender {
 public:
  using MappedSender::MappedSender;

 private:
  Result<void> transmit_mapped(int socket, const char* bytes) override {
    for (uint64_t at = 0; at < size(); at += kMappedSize)
      TRY(write_all(socket, bytes + at, std::min(kMappedSize, size() - at)));
    return {};
  }
};

}  // namespace

std::vector<SendWay> buffered_ways() {
  return {{"read-write", "read + write, 32 KiB", make_sender<ReadWrite>()},
          {"mmap-write", "mmap + write, 1 MiB", make_sender<MmapWrite>()}};
}

}  // namespace sluice
