// Copying: the kernel copies out of the cache's pages during the call. A small reply is one call, header and all.
#include <sys/socket.h>

#include <cerrno>

#include "net/send_path.h"

namespace sluice {
namespace {

void append(std::string_view bytes, std::vector<iovec>& iovecs) {
  if (!bytes.empty()) iovecs.push_back({const_cast<char*>(bytes.data()), bytes.size()});
}

}  // namespace

bool SendPath::push_copy() {
  std::vector<iovec>& iovecs = context_->iovecs_;
  iovecs.clear();
  uint64_t end = position_;
  if (in_head()) {
    append(std::string_view(reply().head).substr(position_), iovecs);
    end = reply().head.size();
  }
  if (slice_) {
    slice_->pages.append_iovecs(slice_->skip, slice_->length, iovecs);
    end += slice_->length;
  }
  const uint64_t tail_start = reply().head.size() + reply().length;
  if (end >= tail_start) {
    append(std::string_view(reply().tail).substr(end - tail_start), iovecs);
    end = reply().size();
  }
  msghdr message{};
  message.msg_iov = iovecs.data();
  message.msg_iovlen = iovecs.size();
  const int more = end < reply().size() ? MSG_MORE : 0;
  const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT | more);
  const int error = errno;
  if (sent < 0 && error == EINTR) return true;
  const uint64_t wanted = end - position_;
  slice_.reset();
  if (sent < 0) return error == EAGAIN ? wait_socket() : failed(error);
  context_->copy_bytes_.fetch_add(static_cast<uint64_t>(sent), std::memory_order_relaxed);
  owner_->on_send_progress();
  advanced(static_cast<size_t>(sent));
  return static_cast<uint64_t>(sent) == wanted ? true : wait_socket();
}

// The header of a body that goes by reference, held back until the body follows.
bool SendPath::push_head() {
  const std::string_view rest = std::string_view(reply().head).substr(position_);
  const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
  if (sent < 0) {
    switch (errno) {
      case EINTR: return true;
      case EAGAIN: return wait_socket();
      default: return failed(errno);
    }
  }
  context_->copy_bytes_.fetch_add(static_cast<uint64_t>(sent), std::memory_order_relaxed);
  return advanced(static_cast<size_t>(sent));
}

}  // namespace sluice
