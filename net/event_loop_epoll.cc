// EventLoop on epoll, level-triggered, for systems that refuse io_uring. Bytes are read into one buffer of the loop.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "cache/assert.h"
#include "cache/log.h"
#include "net/event_loop_backends.h"

namespace sluice {
namespace {

constexpr size_t kBufferSize = 64 << 10;
constexpr int kBatch = 128;
constexpr uint64_t kWake = UINT64_MAX;

class EpollLoop final : public EventLoop {
 public:
  explicit EpollLoop(const Clock* clock)
      : EventLoop(clock), epoll_(::epoll_create1(EPOLL_CLOEXEC)), buffer_(std::make_unique<char[]>(kBufferSize)) {}

  Result<void> open() {
    if (!epoll_) return fail(errno);
    epoll_event event{.events = EPOLLIN, .data = {.u64 = kWake}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_fd(), &event) != 0) return fail(errno);
    return {};
  }

  std::string_view name() const override { return "epoll"; }
  bool is_receiving(SocketId id) override { return find(id)->wanted; }

 protected:
  void prepare_run() override {}
  void finish_run() override {}

  void wait(std::chrono::nanoseconds timeout) override {
    std::array<epoll_event, kBatch> events;
    const timespec limit{.tv_sec = timeout.count() / 1'000'000'000, .tv_nsec = timeout.count() % 1'000'000'000};
    const int count = wait_for(events.data(), timeout.count() < 0 ? nullptr : &limit);
    update_now();
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kWake) {
        eventfd_t posted;
        ::eventfd_read(wake_fd(), &posted);
        continue;
      }
      happened(static_cast<uint32_t>(events[i].data.u64), static_cast<uint32_t>(events[i].data.u64 >> 32),
               events[i].events);
    }
  }

  void interest_changed(uint32_t index) override {
    Slot& slot = *slot_at(index);
    epoll_event event{};
    if (slot.wanted) event.events |= EPOLLIN;
    if (slot.writable_wanted) event.events |= EPOLLOUT;
    event.data.u64 = uint64_t(slot.generation) << 32 | index;
    // A socket that waits for nothing leaves the set: EPOLLHUP cannot be masked and would spin.
    const int operation = event.events == 0 ? EPOLL_CTL_DEL : slot.armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (event.events == 0 && !slot.armed) return;
    const int result = ::epoll_ctl(epoll_.get(), operation, slot.fd, &event);
    ASSERT(result == 0);
    slot.armed = event.events != 0;
  }

  void removing(uint32_t index) override {
    const Slot& slot = *slot_at(index);
    if (slot.armed) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, slot.fd, nullptr);
  }

 private:
  int wait_for(epoll_event* events, const timespec* limit) {
    int count = ::epoll_pwait2(epoll_.get(), events, kBatch, limit, nullptr);
    if (count < 0 && errno == ENOSYS) {  // before Linux 5.11
      const int64_t limit_ms = limit == nullptr ? -1 : limit->tv_sec * 1000 + (limit->tv_nsec + 999'999) / 1'000'000;
      count = ::epoll_wait(epoll_.get(), events, kBatch, static_cast<int>(limit_ms));
    }
    ASSERT(count >= 0 || errno == EINTR);
    return count;
  }

  void happened(uint32_t index, uint32_t generation, uint32_t events) {
    Slot* slot = find(index, generation);
    if (slot == nullptr) return;
    if (slot->acceptor != nullptr) {
      accept_some(index, generation);
      return;
    }
    if (slot->writable_wanted && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
      slot->writable_wanted = false;
      interest_changed(index);
      slot->socket->on_writable();
      slot = find(index, generation);
    }
    if (slot != nullptr && slot->wanted && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) receive(index, *slot);
  }

  void receive(uint32_t index, Slot& slot) {
    const ssize_t received = ::recv(slot.fd, buffer_.get(), kBufferSize, MSG_DONTWAIT);
    if (received > 0) {
      slot.socket->on_received({buffer_.get(), static_cast<size_t>(received)});
      return;
    }
    const int error = received == 0 ? 0 : errno;
    if (error == EAGAIN || error == EINTR) return;
    slot.wanted = false;
    interest_changed(index);
    slot.socket->on_receive_end(error);
  }

  UniqueFd epoll_;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace

Result<std::unique_ptr<EventLoop>> make_epoll_loop(const Clock* clock) {
  auto loop = std::make_unique<EpollLoop>(clock);
  TRY(loop->open());
  return loop;
}

}  // namespace sluice
