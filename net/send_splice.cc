// Lending by vmsplice: the pages of a slice go by reference into a pipe, and from there by reference into the socket's
// queue. Once they are in the pipe our own references can go: the pages are marked lent, and the arena does not reuse
// lent pages before their release is proven.
//
// A full socket leaves bytes in the pipe. They are the next bytes of this connection, so it keeps the pipe until it
// is drained; a connection that dies takes its pipe with it. A pipe with bytes in it never goes back to the pool.
#include <fcntl.h>
#include <sys/uio.h>

#include <cerrno>

#include "cache/assert.h"
#include "net/lending.h"
#include "net/send_path.h"

namespace sluice {

bool SendPath::push_vmsplice() {
  std::optional<Pipe> pipe = context_->pipes_.take();
  if (!pipe) return push_copy();
  std::vector<iovec>& iovecs = context_->iovecs_;
  iovecs.clear();
  slice_->pages.append_iovecs(slice_->skip, slice_->length, iovecs);
  if constexpr (kKeepsLentMemory) slice_->pages.mark_lent(slice_->skip, slice_->length);
  const ssize_t lent = ::vmsplice(pipe->write_end.get(), iovecs.data(), iovecs.size(), SPLICE_F_NONBLOCK);
  if (lent <= 0) {  // ENOMEM, or a filter that appeared after the probe
    context_->pipes_.give_back(std::move(*pipe));
    return push_copy();
  }
  slice_.reset();
  pipe_ = std::move(*pipe);
  parked_ = static_cast<uint64_t>(lent);
  set_spliced_held(spliced_held_ + parked_);
  return advanced(parked_);
}

bool SendPath::drain_pipe() {
  const bool more = position_ < reply().size();
  const unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0U);
  const ssize_t moved = ::splice(pipe_.read_end.get(), nullptr, fd_, nullptr, parked_, flags);
  if (moved < 0) {
    switch (errno) {
      case EINTR: return true;
      case EAGAIN: note_spliced(); return wait_socket();
      default: return failed(errno);
    }
  }
  ASSERT(moved > 0);
  parked_ -= static_cast<uint64_t>(moved);
  context_->vmsplice_bytes_.fetch_add(static_cast<uint64_t>(moved), std::memory_order_relaxed);
  owner_->on_send_progress();
  if (parked_ > 0) {  // the socket is full: it would take no more
    note_spliced();
    return wait_socket();
  }
  context_->pipes_.give_back(std::move(pipe_));
  // In the middle of a reply all that was spliced since the last look counts as held: to look is a system call, for
  // each slice, and makes no difference while that is far from too much.
  const bool is_last = position_ == reply().size();
  if (is_last || !context_->may_hold(context_->pinned_max() / 2)) note_spliced();
  return true;
}

// How much of what was spliced the client holds: what is in the pipe, and in the socket's queue until its peer has
// acknowledged it. What a peer on this machine has acknowledged and not read is not seen here; the arena sees it, when
// it tests what cools.
void SendPath::note_spliced() {
  set_spliced_held(parked_ + queued_bytes());
}

void SendPath::set_spliced_held(uint64_t bytes) {
  context_->spliced_held_bytes_ += bytes - spliced_held_;
  if (bytes > 0 && spliced_held_ == 0) context_->splicing_.insert(this);
  if (bytes == 0 && spliced_held_ > 0) context_->splicing_.erase(this);
  spliced_held_ = bytes;
}

}  // namespace sluice
