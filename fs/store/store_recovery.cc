// A source whose file system has gone: a FUSE server that died, a network mount that was taken away. Our root keeps to
// the file system that it was opened on, so nothing is ever read from or written to what lies beneath; everything fails
// until the same file system is at the same path again. Then the root is exchanged under the numbers that everybody
// has (dup3), and descriptors of the old one are forgotten. To the inode table its files are new ones, since they are
// on another device: files that are open stay with what has gone and fail until they are opened again, and what was
// cached is read anew.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "cache/log.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

// Of the root directory: these say that its file system is no more.
bool means_gone(int error) {
  switch (error) {
    case ENOTCONN:      // a FUSE server died
    case ECONNABORTED:  // ... while it was asked
    case ESHUTDOWN:
    case ESTALE:  // a network server does not know it any more
    case ENODEV:
    case ENXIO: return true;
    default: return false;
  }
}

int look_at(int fd) {
  struct statx attributes {};
  return ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_INO, &attributes) == 0 ? 0 : errno;
}

}  // namespace

// A round of the housekeeper. A call is made only after somebody met an error.
void StoreImpl::look_after_root() {
  if (context_.health == nullptr) return;
  if (!context_.health->take_suspicion() && !root_is_gone_) return;
  const int error = look_at(root_.fd());
  if (!means_gone(error)) {
    if (error == 0) root_is_gone_ = false;
    return;
  }
  if (!std::exchange(root_is_gone_, true)) {
    log(LogLevel::error, "the file system of {} has gone: {}; {}", options_.source, error_text(error),
        root_identity_ ? "everything fails until the same one is mounted there again"
                       : "restart the gateway when it is back, for what it is cannot be proven here");
  }
  if (root_identity_) recover_root();
}

void StoreImpl::recover_root() {
  const auto found = RootIdentity::at(options_.source);
  if (!found) return;  // not yet
  if (*found != *root_identity_) {
    if (found->magic == root_identity_->magic && !std::exchange(told_of_other_root_, true)) {
      log(LogLevel::error, "what is mounted at {} now ({}, {}) is not what was there ({}, {}): not used; {}",
          options_.source, found->type, found->source, root_identity_->type, root_identity_->source,
          "restart the gateway if it is meant");
    }
    return;
  }
  const auto fresh = Root::open(root_options());
  if (!fresh || look_at(fresh->fd()) != 0) return;
  if (!root_.exchange(*fresh) || ::dup3(root_.fd(), root_fd_->get(), O_CLOEXEC) < 0) {
    log(LogLevel::error, "{} is back, but cannot be used: {}", options_.source, error_text(errno));
    return;
  }
  if (const auto attributes = read_statx(root_.fd())) numbers_.learn_root(root_.fd(), *attributes);
  descriptors_.outdate();
  drop_metadata();
  root_is_gone_ = told_of_other_root_ = false;
  log(LogLevel::warning, "the file system of {} is back", options_.source);
}

}  // namespace sluice
