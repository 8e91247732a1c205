// By reference out of the program's memory, here a mapping of the file. The memory may not change until the kernel says
// that it is done with it; and then it says, too, whether it copied after all, as it does for every peer on the same
// machine: what is counted as copied is what the kernel says.
#include <errno.h>
#include <liburing.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "net/zerocopy_report.h"
#include "tools/bench/file_sender.h"

namespace sluice {
namespace {

constexpr uint64_t kPieceSize = 1 << 20;
constexpr uint64_t kUnderWayMax = 16;  // pieces

// Notifications come by the socket's error queue, one for a range of sends that share a fate. Sends count from 0.
class MsgZerocopy final : public MappedSender {
 public:
  using MappedSender::MappedSender;

 private:
  Result<void> transmit_mapped(int socket, const char* bytes) override {
    const int on = 1;
    if (counted(::setsockopt(socket, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on)) != 0) return fail(errno);
    lengths_.clear();
    notified_ = 0;
    for (uint64_t at = 0; at < size();) {
      if (lengths_.size() - notified_ == kUnderWayMax) TRY(await_notification(socket));
      const ssize_t sent = counted(::send(socket, bytes + at, std::min(kPieceSize, size() - at), MSG_ZEROCOPY));
      if (sent < 0) {
        // Too much is under way for RLIMIT_MEMLOCK or net.core.optmem_max.
        if (errno != ENOBUFS || lengths_.size() == notified_) return fail(errno);
        TRY(await_notification(socket));
        continue;
      }
      lengths_.push_back(static_cast<uint64_t>(sent));
      at += static_cast<uint64_t>(sent);
    }
    while (notified_ < lengths_.size()) TRY(await_notification(socket));
    return {};
  }

  Result<void> await_notification(int socket) {
    pollfd errors{.fd = socket, .events = 0, .revents = 0};
    if (counted(::poll(&errors, 1, -1)) < 0) return fail(errno);
    std::array<char, 256> control;
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (counted(::recvmsg(socket, &message, MSG_ERRQUEUE | MSG_DONTWAIT)) < 0)
      return errno == EAGAIN ? fail(EPIPE) : fail(errno);  // an error that is no notification
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level == SOL_IP && part->cmsg_type == IP_RECVERR)
        take(*reinterpret_cast<const sock_extended_err*>(CMSG_DATA(part)));
    }
    return {};
  }

  void take(const sock_extended_err& notification) {
    if (notification.ee_origin != SO_EE_ORIGIN_ZEROCOPY) return;
    for (uint64_t i = notification.ee_info; i <= notification.ee_data && i < lengths_.size(); ++i) {
      notified_++;
      if ((notification.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) != 0) copied(lengths_[i]);
    }
  }

  std::vector<uint64_t> lengths_;  // of the sends so far
  uint64_t notified_ = 0;
};

// One send at a time, so that the pieces stay in order; the notifications of earlier ones come meanwhile.
class SendZc final : public MappedSender {
 public:
  static Result<std::unique_ptr<FileSender>> make(const SentFile& file) {
    auto sender = std::make_unique<SendZc>(TRY(open_sent_file(file)), file.size);
    const int error = ::io_uring_queue_init(kUnderWayMax, &sender->ring_, 0);
    if (error < 0) return fail(-error);
    sender->has_ring_ = true;
    return sender;
  }
  using MappedSender::MappedSender;
  ~SendZc() override {
    if (has_ring_) ::io_uring_queue_exit(&ring_);
  }

 private:
  Result<void> transmit_mapped(int socket, const char* bytes) override {
    sent_ = 0;
    lengths_.clear();
    while (sent_ < size()) {
      const uint64_t length = std::min(kPieceSize, size() - sent_);
      io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
      ::io_uring_prep_send_zc(entry, socket, bytes + sent_, length, MSG_WAITALL, IORING_SEND_ZC_REPORT_USAGE);
      ::io_uring_sqe_set_data64(entry, lengths_.size());
      lengths_.push_back(length);
      sending_ = true;
      while (sending_) TRY(turn());
      if (std::exchange(no_room_, false)) TRY(wait_for_room());
    }
    while (under_way_ > 0) TRY(turn());
    return {};
  }

  // More is under way than RLIMIT_MEMLOCK allows.
  Result<void> wait_for_room() {
    if (under_way_ == 0) return fail(ENOBUFS);
    const uint64_t before = under_way_;
    while (under_way_ == before) TRY(turn());
    return {};
  }

  Result<void> turn() {
    const int submitted = counted(::io_uring_submit_and_wait(&ring_, 1));
    if (submitted < 0) return fail(-submitted);
    io_uring_cqe* completion = nullptr;
    while (::io_uring_peek_cqe(&ring_, &completion) == 0) {
      const uint64_t number = completion->user_data;
      const int result = completion->res;
      const uint32_t flags = completion->flags;
      ::io_uring_cqe_seen(&ring_, completion);
      TRY(take(number, result, flags));
    }
    return {};
  }

  Result<void> take(uint64_t number, int result, uint32_t flags) {
    if ((flags & IORING_CQE_F_NOTIF) != 0) {
      under_way_--;
      if ((static_cast<uint32_t>(result) & IORING_NOTIF_USAGE_ZC_COPIED) != 0) copied(lengths_[number]);
      return {};
    }
    sending_ = false;
    if ((flags & IORING_CQE_F_MORE) != 0) under_way_++;
    no_room_ = result == -ENOMEM;
    if (no_room_) {
      lengths_[number] = 0;  // its notification comes all the same
      return {};
    }
    if (result < 0) return fail(-result);
    if (static_cast<uint64_t>(result) != lengths_[number]) return fail(EPIPE);
    sent_ += lengths_[number];
    return {};
  }

  io_uring ring_{};
  bool has_ring_ = false;
  std::vector<uint64_t> lengths_;  // of the sends so far, by their number
  uint64_t sent_ = 0;
  bool sending_ = false;
  bool no_room_ = false;
  uint64_t under_way_ = 0;  // pieces whose notification is to come
};

}  // namespace

std::vector<SendWay> zerocopy_ways() {
  return {{"msg-zerocopy", "mmap + MSG_ZEROCOPY, 1 MiB", make_sender<MsgZerocopy>()},
          {"send-zc", "mmap + SEND_ZC, 1 MiB", SendZc::make}};
}

}  // namespace sluice
