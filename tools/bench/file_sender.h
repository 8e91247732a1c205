// A FileSender is one way to send a file to a TCP client, as `sluice bench methods` measures it: the calls that the
// textbooks compare, or Sluice's own cache and send path.
//
//   sender_buffered.cc   through the PageCache and the program: read + write, mmap + write
//   sender_in_kernel.cc  past the program: sendfile, splice
//   sender_direct.cc     past the PageCache: O_DIRECT + write, the same by io_uring
//   sender_zerocopy.cc   by reference out of the program's memory: MSG_ZEROCOPY, SEND_ZC
//   sender_sluice.cc     the cache with each of its methods
//
// It lives in a process of its own, and first sends the file unmeasured when the row is warm.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache/result.h"
#include "cache/unique_fd.h"
#include "tools/bench/meter.h"

namespace sluice {

struct SentFile {
  std::string folder;
  std::string name;
  uint64_t size = 0;  // whole pages

  std::string path() const { return folder + "/" + name; }
};

// Connected, blocking. The receiver says by a byte that it has everything.
struct SenderSockets {
  int warm_up = -1;  // none: the row is cold
  int measured = -1;
};

struct SentFigures {
  std::optional<uint64_t> own_calls = {};
  uint64_t copied_bytes = 0;
  std::optional<uint64_t> waits = {};
};

class FileSender {
 public:
  virtual ~FileSender() = default;
  // Sends the whole file, ends the stream and waits for the receiver's byte; the last time between begin and end of
  // `meter`. Errors: also those by which a system says that it does not have or does not allow the method.
  virtual Result<SentFigures> send(const SenderSockets& sockets, Meter& meter) = 0;
};

struct SendWay {
  std::string name;
  std::string title;
  // Runs in the sender's process. Errors: as above.
  std::function<Result<std::unique_ptr<FileSender>>(const SentFile&)> make;
};

// In the order of the table.
std::vector<SendWay> send_ways();
std::vector<SendWay> buffered_ways();
std::vector<SendWay> in_kernel_ways();
std::vector<SendWay> direct_ways();
std::vector<SendWay> zerocopy_ways();
std::vector<SendWay> sluice_ways();

// What the textbook's ways have in common: one thread, a blocking socket, calls counted by hand.
class BlockingSender : public FileSender {
 public:
  Result<SentFigures> send(const SenderSockets& sockets, Meter& meter) final;

 protected:
  explicit BlockingSender(uint64_t size) : size_(size) {}

  // The whole file. Every system call goes through `counted`.
  virtual Result<void> transmit(int socket) = 0;

  template <typename T>
  T counted(T result) {
    calls_++;
    return result;
  }
  // Errors: those of write(2).
  Result<void> write_all(int socket, const char* bytes, uint64_t length);
  void copied(uint64_t bytes) { copied_bytes_ += bytes; }
  uint64_t size() const { return size_; }

 private:
  const uint64_t size_;
  uint64_t calls_ = 0;
  uint64_t copied_bytes_ = 0;
};

// One that sends from a mapping of the file, which it makes anew each time.
class MappedSender : public BlockingSender {
 public:
  MappedSender(UniqueFd file, uint64_t size) : BlockingSender(size), file_(std::move(file)) {}

 protected:
  Result<void> transmit(int socket) final;
  virtual Result<void> transmit_mapped(int socket, const char* bytes) = 0;

 private:
  const UniqueFd file_;
};

// Ends the stream, then waits until the receiver has everything. Errors: EPIPE, it never had.
Result<void> finish_stream(int socket);

// Errors: EINVAL, the file system has no direct I/O.
Result<UniqueFd> open_sent_file(const SentFile& file, int flags = 0);

// The `make` of a sender that needs no more than the open file.
template <typename Sender>
auto make_sender(int flags = 0) {
  return [flags](const SentFile& file) -> Result<std::unique_ptr<FileSender>> {
    return std::make_unique<Sender>(TRY(open_sent_file(file, flags)), file.size);
  };
}

}  // namespace sluice
