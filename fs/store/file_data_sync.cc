// What the backing says of changes after it has accepted them: at fsync, at close, and when what small writes left in
// the PageCache is written back.
//
// On a file system of this machine any descriptor asks for the whole file. It is the same one each time, since the
// kernel tells every descriptor of an error once, and we tell all opens by ourselves; one thread at a time asks
// (sync_rounds.h). Behind a network or a FUSE server the descriptors that wrote are asked: there what was written
// through one may wait for that one's fsync or close.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "cache/log.h"
#include "fs/store/file_data_impl.h"

namespace sluice {
namespace {

// Bytes. Writes of 4 KiB, one after the other: 79 MB/s with 2 MiB, 87 with 8 MiB, 96 with 32 MiB.
constexpr uint64_t kResidueMax = uint64_t{16} << 20;

// As sync_file_range and posix_fadvise want it: 0 is up to the end.
off_t length_of(const ByteRange& bytes) {
  return bytes.end == kAllBytes.end ? 0 : static_cast<off_t>(bytes.end - bytes.offset);
}

ByteRange union_of(const ByteRange& a, const ByteRange& b) {
  return {std::min(a.offset, b.offset), std::max(a.end, b.end)};
}

// The kernel tells the file system of every close, and passes on what that says.
int close_a_copy(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return 0;  // no descriptors left, which says nothing of the file
  return ::close(copy) == 0 || errno == EINTR ? 0 : errno;
}

}  // namespace

std::vector<SharedFd> FileDataImpl::fds_to_sync() const {
  std::vector<SharedFd> fds;
  for (const SharedFd& fd : {buffered_fd_, direct_fd_}) {
    if (fd) fds.push_back(fd);
  }
  return fds;
}

Result<void> FileDataImpl::sync_changes(bool data_only) {
  if (!any_fd()) return fail(EBADF);
  TRY(context_.admit(BackingUse::change));
  sync_rounds_.together(data_only, [this](bool only) {
    const int error = sync_round(only);
    if (error == 0 || !has_dirty_pages()) return;
    uint32_t failures = 0;
    {
      MutexLock lock(&mutex_);
      failures = sync_failures_;
    }
    context_.write_back->add_failed(shared_from_this(), failures, error);
  });
  return {};
}

// For all who wait, each of whom has the file open. Returns the error that it noted, 0 for none.
int FileDataImpl::sync_round(bool data_only) {
  std::vector<SharedFd> fds;
  uint32_t changes = 0;
  const uint64_t written = dirty_ != nullptr ? dirty_->written_count() : 0;
  {
    MutexLock lock(&mutex_);
    if (!context_.is_local) fds = fds_to_sync();
    if (fds.empty()) fds = {any_fd_locked()};
    changes = changes_;
  }
  int error = 0;
  for (const SharedFd& fd : fds) {
    if ((data_only ? ::fdatasync(fd->get()) : ::fsync(fd->get())) == 0) continue;
    error = errno;
  }
  if (error != 0) {
    note_sync_error(error);
    return error;
  }
  if (dirty_ != nullptr) synced(written);
  MutexLock lock(&mutex_);
  synced_changes_ = changes;
  sync_error_ = 0;
  sync_failures_ = 0;
  return 0;
}

// What was delayed is kept and written again: of that those who have the file open are told once for each time that it
// begins to fail, as of writes.
void FileDataImpl::note_sync_error(int error) {
  const bool keeps = has_dirty_pages();
  bool begins = false;
  {
    MutexLock lock(&mutex_);
    begins = !keeps || sync_error_ == 0;
    if (begins) write_errors_.note(error);
    sync_error_ = keeps ? error : 0;
    ++sync_failures_;
  }
  if (!keeps) return;
  dirty_->sync_failed();
  context_.write_back->add_dirty(shared_from_this());
  if (!begins) return;
  log(LogLevel::warning, "inode {}: {} delayed bytes cannot be made durable: {}; they are kept, and written again",
      backing_stamp().ino, dirty_->counts().dirty * kPageSize, error_text(error));
}

Result<void> FileDataImpl::tell_write_error(WriteErrors::Told* told) {
  MutexLock lock(&mutex_);
  if (const int error = write_errors_.tell(told)) return fail(error);
  return {};
}

WriteErrors::Told FileDataImpl::known_write_errors() const {
  MutexLock lock(&mutex_);
  return write_errors_.at_open();
}

Result<void> FileDataImpl::fsync(bool data_only, WriteErrors::Told* told) {
  Result<void> written;
  if (has_dirty_pages()) {
    written = write_dirty(kWholeFile, dirty_->now());
    note_writing(written);
  }
  if (written) TRY(sync_changes(data_only));
  TRY(tell_write_error(told));
  MutexLock lock(&mutex_);
  if (written && sync_error_ != 0) return fail(sync_error_);  // still, though it was told of that before
  return written;
}

void FileDataImpl::sync_unsynced() {
  if (is_dirty()) {
    (void)write_back();  // which notes its error
  } else {
    MutexLock lock(&mutex_);
    if (writers_ == 0 || changes_ == synced_changes_) return;
  }
  if (const auto synced = sync_changes(false); !synced) note_write_error(synced.error().number);
}

Result<void> FileDataImpl::flush(WriteErrors::Told* told) {
  if (context_.is_local) {
    if (dirty_ == nullptr) return fail(ENOSYS);
    return tell_write_error(told);
  }
  // A call that asks the backing nothing must not look like one that came back from it.
  if (needs_flush()) {
    TRY(context_.admit(BackingUse::change));
    flush_changes();
  }
  return tell_write_error(told);
}

bool FileDataImpl::needs_flush() const {
  MutexLock lock(&mutex_);
  return flushed_changes_ != changes_;
}

void FileDataImpl::flush_changes() {
  if (context_.is_local) return;
  std::vector<SharedFd> fds;
  uint32_t changes = 0;
  {
    MutexLock lock(&mutex_);
    if (flushed_changes_ == changes_) return;
    changes = changes_;
    fds = fds_to_sync();
  }
  for (const SharedFd& fd : fds) {
    sync_rounds_.alone([&] {
      if (const int error = close_a_copy(fd->get())) note_write_error(error);
    });
  }
  MutexLock lock(&mutex_);
  flushed_changes_ = changes;
}

// A file with a residue keeps a descriptor until that is on the disk, also when it is closed.
void FileDataImpl::count_residue(bool any) {
  if (residue_.any == any) return;
  residue_.any = any;
  context_.residues.fetch_add(any ? 1 : -1);
}

// So that a file has no more than kResidueMax in the PageCache, and who writes faster than the disk is slowed down:
// what has gathered is sent to the disk, and what was sent before is waited for. Who writes many files is slowed down
// when descriptors get few: the disk has each of them then before the next one comes.
void FileDataImpl::note_residue(const ByteRange& bytes, bool may_wait) {
  SharedFd fd;
  ByteRange sent, waited_for;
  {
    MutexLock lock(&mutex_);
    count_residue(true);
  }
  if (!may_wait) return;
  if (context_.residues.load() > context_.residues_max) return write_back_residue();
  if (bytes.empty()) return;
  {
    MutexLock lock(&mutex_);
    residue_.gathered = residue_.gathered.empty() ? bytes : union_of(residue_.gathered, bytes);
    residue_.gathered_bytes += bytes.end - bytes.offset;
    if (residue_.gathered_bytes < kResidueMax / 2) return;
    residue_.gathered_bytes = 0;
    sent = std::exchange(residue_.gathered, {});
    waited_for = std::exchange(residue_.on_its_way, sent);
    fd = any_fd_locked();
  }
  if (!fd) return;
  ::sync_file_range(fd->get(), static_cast<off_t>(sent.offset), length_of(sent), SYNC_FILE_RANGE_WRITE);
  if (!waited_for.empty()) write_back(fd->get(), waited_for);
}

void FileDataImpl::write_back_residue() {
  SharedFd fd;
  {
    MutexLock lock(&mutex_);
    if (residue_.any) fd = any_fd_locked();
    count_residue(false);
    residue_ = {};
  }
  if (fd) write_back(fd->get(), kAllBytes);
}

void FileDataImpl::write_back(int fd, const ByteRange& bytes) {
  constexpr unsigned kWriteAndWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const auto offset = static_cast<off_t>(bytes.offset);
  sync_rounds_.alone([&] {
    if (::sync_file_range(fd, offset, length_of(bytes), kWriteAndWait) != 0) note_write_error(errno);
  });
  ::posix_fadvise(fd, offset, length_of(bytes), POSIX_FADV_DONTNEED);
}

void FileDataImpl::note_write_error(int error) {
  MutexLock lock(&mutex_);
  write_errors_.note(error);
}

int FileDataImpl::untold_write_error() const {
  MutexLock lock(&mutex_);
  return write_errors_.untold();
}

}  // namespace sluice
