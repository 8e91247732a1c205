// Changes of a file by other calls than write, and what waits for the disk.
#include <errno.h>
#include <unistd.h>

#include <future>

#include "fs/store/file_data_impl.h"

namespace sluice {

void FileDataImpl::drop(PageRange range) { context_.cache->drop(*cached_, key_generation(), range); }

Result<void> FileDataImpl::change(uint64_t offset, Callback<Result<void>(int fd)> change) {
  SharedFd fd;
  {
    MutexLock lock(&mutex_);
    fd = buffered_fd_;
  }
  if (!fd) return fail(EBADF);
  std::promise<RangeLock::Ticket> granted;
  const PageRange range{offset / kPageSize, UINT64_MAX - offset / kPageSize};
  range_lock_.acquire(range, [&](RangeLock::Ticket ticket) { granted.set_value(ticket); });
  const RangeLock::Ticket ticket = granted.get_future().get();
  Result<void> outcome = begin_change(fd->get());
  if (outcome) {
    context_.cache->begin_change(*cached_, range);
    outcome = change(fd->get());
    end_change(fd->get(), true);
    drop(range);    // after the new size is known: no read under the old one can leave a page behind
    set_residue();  // the kernel zeroes a cut page through its PageCache
  }
  range_lock_.release(ticket);
  return outcome;
}

Result<void> FileDataImpl::change_attributes(Callback<Result<void>()> change, int path_fd) {
  TRY(begin_change(path_fd));
  const Result<void> outcome = change();
  end_change(path_fd, false);
  return outcome;
}

Result<void> FileDataImpl::fsync(bool data_only) {
  const SharedFd fd = any_fd();
  if (!fd) return fail(EBADF);
  if ((data_only ? ::fdatasync(fd->get()) : ::fsync(fd->get())) != 0) return fail(errno);
  return {};
}

}  // namespace sluice
