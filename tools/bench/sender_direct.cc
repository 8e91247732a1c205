// Past the PageCache: the disk writes into the program's memory by DMA, and the CPU copies once, from there to the
// socket. By io_uring several reads are on their way while the program sends.
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "tools/bench/file_sender.h"
#include "tools/bench/work_folder.h"

namespace sluice {
namespace {

constexpr uint64_t kPieceSize = 1 << 20;
constexpr uint64_t kDepth = 4;

class DirectWrite final : public BlockingSender {
 public:
  DirectWrite(UniqueFd file, uint64_t size) : BlockingSender(size), file_(std::move(file)) {}

 private:
  Result<void> transmit(int socket) override {
    for (uint64_t at = 0; at < size();) {
      const ssize_t got = counted(::pread(file_.get(), buffer_.get(), kPieceSize, static_cast<off_t>(at)));
      if (got <= 0) return fail(got < 0 ? errno : EIO);
      TRY(write_all(socket, buffer_.get(), static_cast<uint64_t>(got)));
      at += static_cast<uint64_t>(got);
    }
    return {};
  }

  const UniqueFd file_;
  const AlignedBuffer buffer_{kPieceSize};
};

// kDepth pieces, each read into its own part of the buffer, sent in the file's order.
class RingWrite final : public BlockingSender {
 public:
  static Result<std::unique_ptr<FileSender>> make(const SentFile& file) {
    auto sender = std::make_unique<RingWrite>(TRY(open_sent_file(file, O_DIRECT)), file.size);
    const int error = ::io_uring_queue_init(kDepth, &sender->ring_, 0);
    if (error < 0) return fail(-error);
    sender->has_ring_ = true;
    return sender;
  }
  RingWrite(UniqueFd file, uint64_t size) : BlockingSender(size), file_(std::move(file)) {}
  ~RingWrite() override {
    if (has_ring_) ::io_uring_queue_exit(&ring_);
  }

 private:
  uint64_t piece_length(uint64_t piece) const { return std::min(kPieceSize, size() - piece * kPieceSize); }
  char* place(uint64_t piece) const { return buffer_.get() + piece % kDepth * kPieceSize; }

  void ask(uint64_t piece) {
    io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_read(entry, file_.get(), place(piece), static_cast<unsigned>(piece_length(piece)),
                         piece * kPieceSize);
    ::io_uring_sqe_set_data64(entry, piece);
    arrived_[piece % kDepth] = false;
  }

  // Also submits what was asked for since.
  Result<void> wait_for(uint64_t piece) {
    while (true) {
      io_uring_cqe* completion = nullptr;
      while (::io_uring_peek_cqe(&ring_, &completion) == 0) {
        const uint64_t which = ::io_uring_cqe_get_data64(completion);
        const int result = completion->res;
        ::io_uring_cqe_seen(&ring_, completion);
        if (result < 0) return fail(-result);
        if (static_cast<uint64_t>(result) != piece_length(which)) return fail(EIO);
        arrived_[which % kDepth] = true;
      }
      if (arrived_[piece % kDepth]) return {};
      const int submitted = counted(::io_uring_submit_and_wait(&ring_, 1));
      if (submitted < 0) return fail(-submitted);
    }
  }

  Result<void> transmit(int socket) override {
    const uint64_t pieces = (size() + kPieceSize - 1) / kPieceSize;
    for (uint64_t piece = 0; piece < std::min(kDepth, pieces); ++piece) ask(piece);
    for (uint64_t piece = 0; piece < pieces; ++piece) {
      TRY(wait_for(piece));
      TRY(write_all(socket, place(piece), piece_length(piece)));
      if (piece + kDepth >= pieces) continue;
      ask(piece + kDepth);
      const int submitted = counted(::io_uring_submit(&ring_));
      if (submitted < 0) return fail(-submitted);
    }
    return {};
  }

  const UniqueFd file_;
  const AlignedBuffer buffer_{kDepth * kPieceSize};
  io_uring ring_{};
  bool has_ring_ = false;
  std::array<bool, kDepth> arrived_{};
};

}  // namespace

std::vector<SendWay> direct_ways() {
  return {{"direct-write", "direct I/O + write, 1 MiB", make_sender<DirectWrite>(O_DIRECT)},
          {"uring-write", "io_uring direct I/O + write", RingWrite::make}};
}

}  // namespace sluice
