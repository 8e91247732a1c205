// io_uring's zero-copy send. The loop owns the pages until the kernel's notification, which comes for failed sends too and
// outlives the connection.
#include <cerrno>

#include "net/send_path.h"

namespace sluice {

bool SendPath::push_zerocopy() {
  auto transmission = std::make_unique<ZeroCopySend>();
  slice_->pages.append_iovecs(slice_->skip, slice_->length, transmission->iovecs);
  const uint64_t length = slice_->length;
  transmission->pages = std::move(slice_->pages);
  slice_.reset();
  transmission->sent = [ticket = ticket_](Result<size_t> sent) {
    if (ticket->path != nullptr) ticket->path->zerocopy_sent(sent);
  };
  transmission->released = [ticket = ticket_, context = context_, length](bool copied) {
    context->zerocopy_held_bytes_ -= length;
    if (copied && ticket->path != nullptr) ticket->path->peer_is_local_ = true;
  };
  context_->zerocopy_held_bytes_ += length;
  waiting_ = Waiting::zerocopy;
  context_->loop().send_zerocopy(id_, std::move(transmission));
  return false;
}

void SendPath::zerocopy_sent(Result<size_t> sent) {
  waiting_ = Waiting::nothing;
  if (sent) {
    context_->zerocopy_bytes_.fetch_add(*sent, std::memory_order_relaxed);
    advanced(*sent);
    owner_->on_send_progress();
  } else if (sent.error().number == EAGAIN) {
    wait_socket();
  } else if (sent.error().number != EINTR) {
    failed(sent.error().number);
  }
  pump();
}

}  // namespace sluice
