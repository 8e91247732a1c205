// io_uring's zero-copy send. The loop owns the pages until the kernel's notification, which comes for failed sends too
// and outlives the connection.
#include <cerrno>

#include "net/lending.h"
#include "net/send_path.h"

namespace sluice {

namespace {

constexpr uint64_t kHeldMax = 2 << 20;  // by one connection; then its own client must take some first

}  // namespace

bool SendPath::waits_for_release(uint64_t bytes) const {
  return zerocopy_held_ > 0 && (zerocopy_held_ + bytes > kHeldMax || !context_->may_hold(bytes));
}

bool SendPath::push_zerocopy() {
  if (waits_for_release(slice_->length)) {
    slice_.reset();
    waiting_ = Waiting::release;
    owner_->on_send_waits(true);
    return false;
  }
  auto transmission = std::make_unique<ZeroCopySend>();
  slice_->pages.append_iovecs(slice_->skip, slice_->length, transmission->iovecs);
  const uint64_t length = slice_->length;
  if constexpr (kKeepsLentMemory) transmission->pages = std::move(slice_->pages);
  slice_.reset();
  transmission->sent = [ticket = ticket_, length](Result<size_t> sent) {
    if (ticket->path != nullptr) ticket->path->zerocopy_sent(length, sent);
  };
  transmission->released = [ticket = ticket_, context = context_, length](size_t copied_bytes) {
    context->zerocopy_held_bytes_ -= length;
    context->zerocopy_copied_bytes_.fetch_add(copied_bytes, std::memory_order_relaxed);
    if (ticket->path != nullptr) ticket->path->zerocopy_released(length, copied_bytes > 0);
  };
  context_->zerocopy_held_bytes_ += length;
  zerocopy_held_ += length;
  waiting_ = Waiting::zerocopy;
  context_->loop().send_zerocopy(id_, std::move(transmission));
  return false;
}

void SendPath::zerocopy_sent(uint64_t wanted, Result<size_t> sent) {
  waiting_ = Waiting::nothing;
  if (sent) {
    context_->zerocopy_bytes_.fetch_add(*sent, std::memory_order_relaxed);
    advanced(*sent);
    owner_->on_send_progress();
    if (*sent < wanted) wait_socket();  // it would take no more
  } else {
    switch (sent.error().number) {
      case EINTR: break;
      case EAGAIN: wait_socket(); break;
      case ENOMEM:  // this user may lock no more memory (RLIMIT_MEMLOCK): others hold it, or it is less than a slice
      case ENOBUFS: zerocopy_refused_ = true; break;
      default: failed(sent.error().number);
    }
  }
  pump();
}

void SendPath::zerocopy_released(uint64_t length, bool copied) {
  zerocopy_held_ -= length;
  if (copied) peer_is_local_ = true;
  if (waiting_ != Waiting::release) return;
  waiting_ = Waiting::nothing;
  pump();
}

}  // namespace sluice
