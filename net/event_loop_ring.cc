// EventLoop on io_uring. Every socket has one multishot receive armed, which takes a buffer from a ring shared by all
// sockets of the loop only when bytes are there: idle connections hold no buffer, and a turn that
// receives from many connections costs one system call.
//
// A completion names its slot and the slot's generation, so that those of a removed socket fall on the floor.
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "cache/assert.h"
#include "cache/log.h"
#include "net/event_loop_backends.h"
#include "net/zerocopy_report.h"

namespace sluice {
namespace {

constexpr unsigned kSubmissions = 1024;
constexpr unsigned kCompletions = 8192;
constexpr unsigned kBuffers = 64;  // a power of two
constexpr unsigned kBufferSize = 16 << 10;
constexpr int kBufferGroup = 0;
constexpr unsigned kBatch = 128;

enum class Operation : uint8_t { ignore, wake, incoming, writable, zerocopy };

uint64_t tag(Operation operation, uint32_t index = 0, uint32_t generation = 0) {
  return uint64_t(operation) << 60 | uint64_t(generation) << 32 | index;
}

class RingLoop final : public EventLoop {
 public:
  explicit RingLoop(const Clock* clock) : EventLoop(clock) {}

  ~RingLoop() override {
    if (buffers_ != nullptr) io_uring_unregister_buf_ring(&ring_, kBufferGroup);
    if (ready_) io_uring_queue_exit(&ring_);
    std::free(buffers_);
  }

  Result<void> open() {
    io_uring_params parameters{};
    // The thread that calls run() becomes the ring's only user, hence disabled until then.
    parameters.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    parameters.cq_entries = kCompletions;
    const int error = io_uring_queue_init_params(kSubmissions, &ring_, &parameters);
    if (error < 0) return fail(-error);
    ready_ = true;
    TRY(register_buffers());
    io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
    can_send_zerocopy_ = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC);
    io_uring_free_probe(probe);
    return {};
  }

  std::string_view name() const override { return "io_uring"; }
  bool is_receiving(SocketId id) override { return find(id)->wanted || find(id)->armed; }
  bool can_send_zerocopy() const override { return can_send_zerocopy_; }

  void send_zerocopy(SocketId id, std::unique_ptr<ZeroCopySend> send) override {
    const Slot* slot = find(id);
    ASSERT(slot != nullptr);
    uint32_t place;
    if (free_sends_.empty()) {
      place = static_cast<uint32_t>(sends_.size());
      sends_.emplace_back();
    } else {
      place = free_sends_.back();
      free_sends_.pop_back();
    }
    send->message.msg_iov = send->iovecs.data();
    send->message.msg_iovlen = send->iovecs.size();
    io_uring_sqe* entry = submission();
    io_uring_prep_sendmsg_zc(entry, slot->fd, &send->message, MSG_NOSIGNAL | MSG_DONTWAIT);
    entry->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
    io_uring_sqe_set_data64(entry, tag(Operation::zerocopy, place));
    sends_[place] = std::move(send);
    hold();
  }

 protected:
  void prepare_run() override {
    // (io_uring_enable_rings is declared by liburing 2.3, but not exported.)
    const long error = ::syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    ASSERT(error == 0);
    io_uring_register_ring_fd(&ring_);  // an optimisation; it may be refused
    arm_wake();
  }

  // Armed requests hold their sockets, and the ring would let go of them some time after its end: a listening port
  // would stay in use for a moment that a restart can hit.
  void finish_run() override {
    io_uring_sqe* entry = submission();
    io_uring_prep_cancel64(entry, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    io_uring_sqe_set_data64(entry, tag(Operation::ignore));
    finishing_ = true;
    while (armed_ > 0) wait(std::chrono::nanoseconds(-1));
  }

  void wait(std::chrono::nanoseconds timeout) override {
    if (timeout.count() == 0 && nothing_happened()) return update_now();
    __kernel_timespec limit{.tv_sec = timeout.count() / 1'000'000'000, .tv_nsec = timeout.count() % 1'000'000'000};
    io_uring_cqe* first = nullptr;
    const int result =
        io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout.count() < 0 ? nullptr : &limit, nullptr);
    update_now();
    switch (result < 0 ? -result : 0) {
      case 0:
      case ETIME:
      case EINTR:
      case EAGAIN:  // out of requests or
      case EBUSY:   // completions: reap some, then it goes on
        break;
      default: log(LogLevel::error, "io_uring_enter: {}", error_text(-result)); std::abort();
    }
    std::array<io_uring_cqe*, kBatch> batch;
    while (true) {
      const unsigned count = io_uring_peek_batch_cqe(&ring_, batch.data(), batch.size());
      for (unsigned i = 0; i < count; ++i) complete(batch[i]->user_data, batch[i]->res, batch[i]->flags);
      io_uring_cq_advance(&ring_, count);
      if (count < batch.size()) break;
    }
  }

  void interest_changed(uint32_t index) override {
    Slot& slot = *slot_at(index);
    if (slot.wanted && !slot.armed) arm_incoming(index, slot);
    if (!slot.wanted && slot.armed) cancel(tag(Operation::incoming, index, slot.generation));
    if (slot.writable_wanted && !slot.writable_armed) {
      io_uring_sqe* entry = submission();
      io_uring_prep_poll_add(entry, slot.fd, POLLOUT);
      io_uring_sqe_set_data64(entry, tag(Operation::writable, index, slot.generation));
      slot.writable_armed = true;
      ++armed_;
    }
  }

  void removing(uint32_t index) override {
    const Slot& slot = *slot_at(index);
    if (slot.armed) cancel(tag(Operation::incoming, index, slot.generation));
    if (slot.writable_armed) cancel(tag(Operation::writable, index, slot.generation));
    // What is not submitted yet names the socket by a number that the next client may get: a send would reach that
    // client. Once submitted, it holds the socket itself.
    if (io_uring_sq_ready(&ring_) > 0) io_uring_submit(&ring_);
  }

 private:
  // Nothing to submit, nothing to reap, and no work of the kernel that waits for this thread to enter it: a turn whose
  // tasks go on where the last one stopped needs no system call.
  bool nothing_happened() {
    const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
    return io_uring_sq_ready(&ring_) == 0 && io_uring_cq_ready(&ring_) == 0 &&
           (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) == 0;
  }

  Result<void> register_buffers() {
    const size_t ring_bytes = kBuffers * sizeof(io_uring_buf);
    char* memory = static_cast<char*>(std::aligned_alloc(4096, 4096 + kBuffers * kBufferSize));
    static_assert(kBuffers * sizeof(io_uring_buf) <= 4096);
    ASSERT(memory != nullptr);
    std::fill(memory, memory + ring_bytes, '\0');
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uintptr_t>(memory);
    registration.ring_entries = kBuffers;
    registration.bgid = kBufferGroup;
    const int error = io_uring_register_buf_ring(&ring_, &registration, 0);
    if (error < 0) {
      std::free(memory);
      return fail(-error);
    }
    buffers_ = memory;
    io_uring_buf_ring_init(buffer_ring());
    for (unsigned i = 0; i < kBuffers; ++i) {
      io_uring_buf_ring_add(buffer_ring(), buffer(i), kBufferSize, i, io_uring_buf_ring_mask(kBuffers), i);
    }
    io_uring_buf_ring_advance(buffer_ring(), kBuffers);
    return {};
  }

  io_uring_buf_ring* buffer_ring() { return reinterpret_cast<io_uring_buf_ring*>(buffers_); }
  char* buffer(unsigned number) { return buffers_ + 4096 + size_t{number} * kBufferSize; }

  io_uring_sqe* submission() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    while (entry == nullptr) {
      io_uring_submit(&ring_);
      entry = io_uring_get_sqe(&ring_);
    }
    return entry;
  }

  void arm_wake() {
    io_uring_sqe* entry = submission();
    io_uring_prep_poll_add(entry, wake_fd(), POLLIN);
    io_uring_sqe_set_data64(entry, tag(Operation::wake));
    ++armed_;
  }

  void arm_incoming(uint32_t index, Slot& slot) {
    io_uring_sqe* entry = submission();
    if (slot.acceptor != nullptr) {
      io_uring_prep_poll_add(entry, slot.fd, POLLIN);
    } else {
      io_uring_prep_recv_multishot(entry, slot.fd, nullptr, 0, 0);
      entry->flags |= IOSQE_BUFFER_SELECT;
      entry->buf_group = kBufferGroup;
      entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
    }
    io_uring_sqe_set_data64(entry, tag(Operation::incoming, index, slot.generation));
    slot.armed = true;
    ++armed_;
  }

  void cancel(uint64_t target) {
    io_uring_sqe* entry = submission();
    io_uring_prep_cancel64(entry, target, 0);
    io_uring_sqe_set_data64(entry, tag(Operation::ignore));
  }

  void complete(uint64_t user_data, int result, uint32_t flags) {
    const auto index = static_cast<uint32_t>(user_data);
    const auto generation = static_cast<uint32_t>(user_data >> 32) & ((1U << 28) - 1);
    const auto operation = static_cast<Operation>(user_data >> 60);
    const bool last = (flags & IORING_CQE_F_MORE) == 0;
    if (last && operation != Operation::ignore && operation != Operation::zerocopy) --armed_;
    switch (operation) {
      case Operation::ignore: break;
      case Operation::wake: {
        eventfd_t count;
        ::eventfd_read(wake_fd(), &count);
        if (!finishing_) arm_wake();
        break;
      }
      case Operation::incoming: complete_incoming(index, generation, result, flags); break;
      case Operation::writable: complete_writable(index, generation); break;
      case Operation::zerocopy: complete_zerocopy(index, result, flags); break;
    }
  }

  void complete_incoming(uint32_t index, uint32_t generation, int result, uint32_t flags) {
    Slot* slot = find(index, generation);
    if (slot == nullptr) {  // removed meanwhile
      if ((flags & IORING_CQE_F_BUFFER) != 0) recycle(flags >> IORING_CQE_BUFFER_SHIFT);
      return;
    }
    if ((flags & IORING_CQE_F_MORE) == 0) slot->armed = false;
    if (slot->acceptor != nullptr) {
      if (result >= 0) accept_some(index, generation);  // else it was cancelled
    } else {
      received(slot, result, flags);
    }
    slot = find(index, generation);
    if (slot != nullptr && slot->wanted && !slot->armed && !finishing_) arm_incoming(index, *slot);
  }

  void received(Slot* slot, int result, uint32_t flags) {
    if (result > 0) {
      const unsigned number = flags >> IORING_CQE_BUFFER_SHIFT;
      slot->socket->on_received({buffer(number), static_cast<size_t>(result)});
      recycle(number);
      return;
    }
    if ((flags & IORING_CQE_F_BUFFER) != 0) recycle(flags >> IORING_CQE_BUFFER_SHIFT);
    switch (-result) {
      case ENOBUFS:    // all buffers full in one turn: armed again
      case ECANCELED:  // paused
      case EINTR:
      case EAGAIN: return;
      default: slot->wanted = false; slot->socket->on_receive_end(-result);
    }
  }

  void recycle(unsigned number) {
    io_uring_buf_ring_add(buffer_ring(), buffer(number), kBufferSize, number, io_uring_buf_ring_mask(kBuffers), 0);
    io_uring_buf_ring_advance(buffer_ring(), 1);
  }

  void complete_writable(uint32_t index, uint32_t generation) {
    Slot* slot = find(index, generation);
    if (slot == nullptr) return;
    slot->writable_armed = false;
    slot->writable_wanted = false;
    slot->socket->on_writable();
  }

  void complete_zerocopy(uint32_t place, int result, uint32_t flags) {
    if ((flags & IORING_CQE_F_NOTIF) != 0) {
      release_send(place, (static_cast<uint32_t>(result) & IORING_NOTIF_USAGE_ZC_COPIED) != 0);
      return;
    }
    // A failed send can have a notification to come too: F_MORE says so.
    Callback<void(Result<size_t>)> sent = std::move(sends_[place]->sent);
    sends_[place]->sent_bytes = static_cast<size_t>(std::max(result, 0));
    if ((flags & IORING_CQE_F_MORE) == 0) release_send(place, false);
    sent(result < 0 ? Result<size_t>(fail(-result)) : Result<size_t>(result));
  }

  void release_send(uint32_t place, bool copied) {
    const std::unique_ptr<ZeroCopySend> send = std::move(sends_[place]);
    free_sends_.push_back(place);
    unhold();
    send->released(copied ? send->sent_bytes : 0);
  }

  io_uring ring_{};
  bool ready_ = false;
  bool can_send_zerocopy_ = false;
  bool finishing_ = false;
  uint32_t armed_ = 0;       // requests in the kernel that wait for something
  char* buffers_ = nullptr;  // a page for the ring, then kBuffers buffers
  std::vector<std::unique_ptr<ZeroCopySend>> sends_;
  std::vector<uint32_t> free_sends_;
};

}  // namespace

Result<std::unique_ptr<EventLoop>> make_ring_loop(const Clock* clock) {
  auto loop = std::make_unique<RingLoop>(clock);
  TRY(loop->open());
  return loop;
}

}  // namespace sluice
