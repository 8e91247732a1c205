#include "net/send_path.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr uint64_t kSliceMax = PipePool::kPipeSize;
constexpr uint64_t kBulkBytes = 256 << 10;  // a reply with more to go than this shares the turns of the loop
// Bytes between two looks at the arena, which takes its mutex, or at all sockets that were lent to, a call for each.
constexpr uint64_t kLookInterval = 4 << 20;
// The send buffer grows as the system likes (tcp_wmem, usually to 4 MiB): a fixed SO_SNDBUF would cap long fat
// networks. But not more than this may wait unsent in it, so that a client that stops reading holds little beyond its
// own receive window.
constexpr int kUnsentMax = 1 << 20;

bool peer_is_local(int fd) {
  sockaddr_storage own{};
  sockaddr_storage peer{};
  socklen_t own_length = sizeof own;
  socklen_t peer_length = sizeof peer;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_length) != 0 ||
      ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_length) != 0) {
    return true;
  }
  if (own.ss_family == AF_INET) {
    const in_addr_t address = reinterpret_cast<sockaddr_in&>(peer).sin_addr.s_addr;
    return address == reinterpret_cast<sockaddr_in&>(own).sin_addr.s_addr || ntohl(address) >> 24 == IN_LOOPBACKNET;
  }
  if (own.ss_family == AF_INET6) {
    const in6_addr& address = reinterpret_cast<sockaddr_in6&>(peer).sin6_addr;
    return std::memcmp(&address, &reinterpret_cast<sockaddr_in6&>(own).sin6_addr, sizeof address) == 0;
  }
  return true;
}

}  // namespace

SendStats SendContext::stats() const {
  return {.copy_bytes = copy_bytes_.load(std::memory_order_relaxed),
          .vmsplice_bytes = vmsplice_bytes_.load(std::memory_order_relaxed),
          .zerocopy_bytes = zerocopy_bytes_.load(std::memory_order_relaxed),
          .zerocopy_copied_bytes = zerocopy_copied_bytes_.load(std::memory_order_relaxed)};
}

bool SendContext::may_lend(const Arena& arena, uint64_t bytes) {
  if (!may_hold(bytes)) {
    refused_since_look_ += bytes;
    if (refused_since_look_ < kLookInterval) return false;
    refused_since_look_ = 0;
    look_at_spliced();
    if (!may_hold(bytes)) return false;
  }
  sent_since_look_ += bytes;
  if (sent_since_look_ >= kLookInterval) {
    sent_since_look_ = 0;
    look_at(arena.stats());
  }
  return !too_much_cooling_;
}

void SendContext::look_at_spliced() {
  const std::vector<SendPath*> paths(splicing_.begin(), splicing_.end());
  for (SendPath* path : paths) path->note_spliced();
}

// Cooling memory is harmless while nobody needs it, or while it tests as released when somebody does (the arena tests
// lazily). It is too much when it is large and the arena has met memory that clients still hold.
void SendContext::look_at(const ArenaStats& stats) {
  const uint64_t stuck = stats.release_tests_busy + stats.frames_replaced;
  const bool met_stuck = std::exchange(stuck_seen_, stuck) != stuck;
  too_much_cooling_ = met_stuck && stats.frames_cooling * kPageSize > pinned_max();
}

void SendPath::prepare(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentMax, sizeof kUnsentMax);
}

SendPath::SendPath(SendContext* context, SendOwner* owner, int fd, SocketId id)
    : context_(context), owner_(owner), fd_(fd), id_(id) {
  // Only zerocopy asks, so the rest saves two system calls per connection.
  if (context->options().support.zerocopy) peer_is_local_ = peer_is_local(fd);
}

void SendPath::close() {
  if (std::exchange(closed_, true)) return;
  if (ticket_) ticket_->path = nullptr;
  slice_.reset();
  replies_.clear();
  if (parked_ > 0) context_->pipes_.discard(std::move(pipe_));
  advanced_bytes_ -= std::exchange(parked_, 0);
  set_spliced_held(0);
}

void SendPath::send(Reply reply) {
  ASSERT(reply.size() > 0);
  if (closed_) return;
  if (reply.slice) reply.asked_bytes = reply.slice->length;
  if (waiting_ != Waiting::nothing || !replies_.empty()) reply.slice.reset();
  replies_.push_back(std::move(reply));
  pump();
}

void SendPath::on_writable() {
  if (waiting_ != Waiting::socket) return;
  waiting_ = Waiting::nothing;
  pump();
}

void SendPath::on_turn() {
  ASSERT(waiting_ == Waiting::turn);
  waiting_ = Waiting::nothing;
  pump();
}

void SendPath::pump() {
  if (pumping_) return;
  pumping_ = true;
  turn_bytes_ = 0;
  while (!closed_ && waiting_ == Waiting::nothing && step()) {
  }
  pumping_ = false;
}

bool SendPath::step() {
  if (parked_ > 0) return drain_pipe();
  if (replies_.empty()) return false;
  if (position_ == reply().size()) {
    replies_.pop_front();
    position_ = 0;
    asked_end_ = 0;
    zerocopy_refused_ = false;
    owner_->on_reply_sent();
    return true;
  }
  // Many small replies to one client are large, too.
  if (turn_bytes_ >= SendTurns::kTurnBytes) return yield();
  if (body_left() && !slice_) return is_bulk() && context_->turns_->used_up() ? yield() : ask_slice();
  if (position_ == 0) owner_->on_reply_starts();
  switch (choose()) {
    case SendMethod::vmsplice: return in_head() ? push_head() : push_vmsplice();
    case SendMethod::zerocopy: return in_head() ? push_head() : push_zerocopy();
    case SendMethod::automatic:
    case SendMethod::copy: return push_copy();
  }
  return false;
}

bool SendPath::is_bulk() const {
  return reply().size() - position_ > kBulkBytes;
}

bool SendPath::advanced(size_t bytes) {
  context_->turns_->sent(bytes);
  position_ += bytes;
  turn_bytes_ += bytes;
  advanced_bytes_ += bytes;
  return true;
}

bool SendPath::wait_socket() {
  slice_.reset();
  waiting_ = Waiting::socket;
  context_->loop().wait_writable(id_);
  owner_->on_send_waits(true);
  return false;
}

bool SendPath::yield() {
  slice_.reset();
  waiting_ = Waiting::turn;
  if (!ticket_) ticket_ = std::make_shared<SendTicket>(SendTicket{this});
  context_->turns_->wait(ticket_);
  return false;
}

bool SendPath::failed(int error) {
  close();
  owner_->on_send_failed(error);
  return false;
}

// Slices end at multiples of 1 MiB of the file, so that one fits a pipe page for page.
uint64_t SendPath::first_slice(uint64_t offset, uint64_t length) {
  return std::min(length, kSliceMax - offset % kSliceMax);
}

// Bytes asked before (the socket
// did not take them) are asked from the data itself: to the readahead they would look like a random read.
bool SendPath::ask_slice() {
  const uint64_t done = in_head() ? 0 : body_position();
  if (done == 0 && reply().slice) {
    FileSlice ready = std::move(*std::exchange(replies_.front().slice, std::nullopt));
    const uint64_t length = ready.length;
    take_slice(length, std::move(ready));
    return !closed_;
  }
  asked_end_ = std::max(asked_end_, reply().asked_bytes);
  const uint64_t offset = reply().offset + done;
  uint64_t length = first_slice(offset, reply().length - done);
  const bool again = done < asked_end_;
  if (again) length = std::min(length, asked_end_ - done);
  asked_end_ = std::max(asked_end_, done + length);
  if (!ticket_) ticket_ = std::make_shared<SendTicket>(SendTicket{this});
  auto arrived = [ticket = ticket_, loop = &context_->loop(), length](Result<FileSlice> slice) mutable {
    if (loop->in_thread() && ticket->path != nullptr && ticket->path->asking_) {
      loop->unhold();
      ticket->path->take_slice(length, std::move(slice));
      return;
    }
    loop->post([ticket = std::move(ticket), loop, length, slice = std::move(slice)]() mutable {
      loop->unhold();
      SendPath* path = ticket->path;
      if (path == nullptr) return;
      path->take_slice(length, std::move(slice));  // may close it
      path->pump();
    });
  };
  context_->loop().hold();
  waiting_ = Waiting::slice;
  asking_ = true;
  OpenFile& file = *reply().file;
  if (again) {
    file.data().read(offset, length, std::move(arrived));
  } else {
    file.read(offset, length, std::move(arrived));
  }
  asking_ = false;
  if (waiting_ == Waiting::slice) owner_->on_send_waits(false);
  return waiting_ == Waiting::nothing;
}

void SendPath::take_slice(uint64_t asked, Result<FileSlice> slice) {
  waiting_ = Waiting::nothing;
  if (!slice) return lost(slice.error().number);
  if (slice->length != asked || reply().watch->touched({reply().offset, reply().offset + reply().length}))
    return lost(ESTALE);
  slice_ = std::move(*slice);
}

uint64_t SendPath::taken_bytes() const {
  const uint64_t sent = sent_bytes();
  return sent - std::min(sent, queued_bytes());
}

// In the socket: not sent, or not acknowledged.
uint64_t SendPath::queued_bytes() const {
  int queued = 0;
  if (::ioctl(fd_, SIOCOUTQ, &queued) != 0) return 0;
  return static_cast<uint64_t>(queued);
}

void SendPath::give_up(int error) {
  ASSERT(waits_for_file() && !pumping_);
  ticket_->path = nullptr;
  ticket_.reset();
  waiting_ = Waiting::nothing;
  lost(error);
}

void SendPath::lost(int error) {
  const bool begun = position_ > 0;
  if (begun) {
    close();
  } else {
    replies_.pop_front();
    asked_end_ = 0;
  }
  owner_->on_reply_lost(error, begun);
}

SendMethod SendPath::choose() const {
  const SendOptions& options = context_->options();
  if (!slice_ || slice_->length <= options.copy_max_bytes || options.method == SendMethod::copy) {
    return SendMethod::copy;
  }
  const bool automatic = options.method == SendMethod::automatic;
  SendMethod method = SendMethod::copy;
  if (options.support.vmsplice && (automatic || options.method == SendMethod::vmsplice)) method = SendMethod::vmsplice;
  if (options.support.zerocopy && context_->loop().can_send_zerocopy() && !zerocopy_refused_ &&
      ((automatic && !peer_is_local_) || options.method == SendMethod::zerocopy)) {
    method = SendMethod::zerocopy;
  }
  if (method == SendMethod::copy) return method;
  // Who forces zerocopy gets it: a connection that holds some waits for its own client instead of copying.
  if (options.method == SendMethod::zerocopy && waits_for_release(slice_->length)) return method;
  return context_->may_lend(*slice_->pages.arena(), slice_->length) ? method : SendMethod::copy;
}

}  // namespace sluice
