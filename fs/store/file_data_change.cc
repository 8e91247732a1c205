// Changes of a file by other calls than write.
//
// Each runs its system call under the range lock of what it changes, on the buffered descriptor: the kernel zeroes and
// copies parts of pages through its PageCache, which is tidied afterwards. The cached pages are dropped, never filled.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "fs/store/file_data_impl.h"
#include "fs/store/identity.h"

namespace sluice {
namespace {

constexpr uint64_t kCopiedBytesMax = uint64_t{64}
                                     << 20;  // per call, so that writers of the two files wait for a moment only

// Raises what keeps the set-id bits, for a call of this thread.
class KeepSetId : private ActAs {
 public:
  explicit KeepSetId(SetIdBits set_id) : ActAs(Caller{}, set_id == SetIdBits::keep ? kSetId : 0) {}
};

PageRange from_byte(uint64_t offset) {
  return {offset / kPageSize, UINT64_MAX - offset / kPageSize};
}

PageRange union_of(PageRange one, PageRange other) {
  const uint64_t first = std::min(one.first, other.first);
  return {first, std::max(one.end(), other.end()) - first};
}

}  // namespace

void FileDataImpl::drop(PageRange range) {
  context_.cache->drop(*cached_, generation(), range);
}

Result<void> FileDataImpl::change(const ByteRange& bytes, SetIdBits set_id, Callback<Result<void>(int fd)> change) {
  const PageRange range = pages_of(bytes.offset, bytes.end - bytes.offset);
  SharedFd fd;
  {
    MutexLock lock(&mutex_);
    fd = buffered_fd_;
  }
  if (!fd) return fail(EBADF);
  {
    MutexLock lock(&mutex_);
    reserved_.clear();
  }
  TRY(begin_change(fd->get(), bytes, set_id));
  context_.cache->begin_change(*cached_, range);
  Result<void> outcome;
  {
    const KeepSetId keep(set_id);
    outcome = change(fd->get());
  }
  settle_set_id_bits(fd->get(), set_id);
  drop(range);  // before the new version is known: no read under it sees the old bytes
  end_change(fd->get(), bytes);
  drop(range);             // and after: no read under the old size has left a page behind
  note_residue({}, true);  // of parts of pages: too little to count
  return outcome;
}

Result<void> FileDataImpl::truncate(uint64_t size, SetIdBits set_id) {
  TRY(context_.admit(BackingUse::change));
  const uint64_t first = std::min(size, this->size());
  const HeldRange held(range_lock_, from_byte(first));
  // What is cut off need not have found room before; the page that is cut through must. It is given up only when the
  // file is cut: until then nobody else has it.
  const PageRange cut = from_byte(first + kPageSize - 1);
  const auto settled = settle(from_byte(first));
  if (!settled) {
    if (size >= this->size()) return settled;
    if (cut.first != first / kPageSize) TRY(settle({first / kPageSize, 1}));
  }
  return change({first, UINT64_MAX}, set_id, [&, empties = size == 0 && this->size() > 0](int fd) -> Result<void> {
    std::vector<DirtyPages::Run> kept;
    if (!settled) {
      kept = dirty_->peek(cut);
      dirty_->discard(cut);
      dirty_->await_idle(cut);
    }
    if (::ftruncate(fd, static_cast<off_t>(size)) != 0) {
      const int error = errno;
      for (const auto& run : kept) dirty_->put(run.range, run.pages, context_.clock->monotonic());
      return fail(error);
    }
    set_delayed_size(size);
    MutexLock lock(&mutex_);
    was_emptied_ = was_emptied_ || empties;
    return {};
  });
}

Result<void> FileDataImpl::allocate(const Allocation& allocation) {
  constexpr int kModes = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  if ((allocation.mode & ~kModes) != 0) return fail(EOPNOTSUPP);
  if (allocation.length == 0 || allocation.offset > INT64_MAX || allocation.length > INT64_MAX) return fail(EINVAL);
  TRY(context_.admit(BackingUse::change));
  const PageRange range = pages_of(allocation.offset, allocation.length);
  // Allocating alone changes no byte, so what is cached stays.
  const bool zeroes = (allocation.mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  const ByteRange changed{allocation.offset, allocation.offset + (zeroes ? allocation.length : 0)};
  const HeldRange held(range_lock_, range);
  TRY(settle(zeroes ? range : PageRange{}));
  return change(changed, allocation.set_id, [&](int fd) -> Result<void> {
    const auto offset = static_cast<off_t>(allocation.offset);
    if (::fallocate(fd, allocation.mode, offset, static_cast<off_t>(allocation.length)) != 0) return fail(errno);
    const uint64_t end = allocation.offset + allocation.length;
    if ((allocation.mode & FALLOC_FL_KEEP_SIZE) == 0 && end > this->size()) set_delayed_size(end);
    return {};
  });
}

// Without O_DIRECT, which would refuse unaligned copies. Who may read only through the descriptor that is there copies
// in another way.
Result<SharedFd> FileDataImpl::open_to_copy() {
  SharedFd fd;
  {
    MutexLock lock(&mutex_);
    fd = read_fd_;
    if (fd && !read_is_direct_) return fd;
  }
  if (!fd) return fail(EBADF);
  auto opened = reopen(fd->get(), O_RDONLY);
  if (!opened && opened.error().number == EACCES) return fail(EOPNOTSUPP);
  return opened;
}

Result<size_t> FileDataImpl::copy_from(FileData& from, const CopiedRange& range) {
  auto& source = static_cast<FileDataImpl&>(from);
  const uint64_t length = std::min(range.length, kCopiedBytesMax);
  if (length == 0) return 0;
  if (range.offset > INT64_MAX - length || range.source_offset > INT64_MAX - length) return fail(EOVERFLOW);
  TRY(context_.admit(BackingUse::change));
  const SharedFd source_fd = TRY(source.open_to_copy());
  const PageRange read = pages_of(range.source_offset, length);
  const PageRange written = pages_of(range.offset, length);

  std::optional<HeldRange> first, second;
  if (&source == this) {
    first.emplace(range_lock_, union_of(read, written));
  } else if (&source < this) {  // everybody in this order, so that two copies crosswise do not wait for each other
    first.emplace(source.range_lock_, read);
    second.emplace(range_lock_, written);
  } else {
    first.emplace(range_lock_, written);
    second.emplace(source.range_lock_, read);
  }
  if (source.has_dirty_pages()) {
    // A hole before what is dirty is one for the backing only when that has come, too: until then it is past the end.
    const bool reaches_end = range.source_offset + length > source.backing_stamp().size;
    TRY(source.write_dirty(reaches_end ? kWholeFile : read, source.dirty_->now()));
  }
  TRY(settle(written));
  size_t copied = 0;
  TRY(change({range.offset, range.offset + length}, range.set_id, [&](int fd) -> Result<void> {
    auto source_offset = static_cast<off_t>(range.source_offset);
    auto offset = static_cast<off_t>(range.offset);
    const ssize_t done = ::copy_file_range(source_fd->get(), &source_offset, fd, &offset, length, 0);
    if (done < 0) return fail(errno);
    copied = static_cast<size_t>(done);
    ::sync_file_range(fd, static_cast<off_t>(range.offset), done, SYNC_FILE_RANGE_WRITE);  // starts, does not wait
    return {};
  }));
  ::posix_fadvise(source_fd->get(), static_cast<off_t>(range.source_offset), static_cast<off_t>(copied),
                  POSIX_FADV_DONTNEED);
  return copied;
}

Result<uint64_t> FileDataImpl::seek(uint64_t offset, int whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return fail(EINVAL);
  const SharedFd fd = any_fd();
  if (!fd) return fail(EBADF);
  TRY(context_.admit(BackingUse::look));
  if (has_dirty_pages()) TRY(write_dirty(kWholeFile, dirty_->now()));
  const off_t found = ::lseek(fd->get(), static_cast<off_t>(offset), whence);  // nobody uses the descriptor's position
  if (found < 0) return fail(errno);
  return static_cast<uint64_t>(found);
}

Result<void> FileDataImpl::change_attributes(Callback<Result<void>()> change, int path_fd, SetsMtime sets_mtime) {
  TRY(begin_change(path_fd, {}));
  const Result<void> outcome = change();
  if (outcome && sets_mtime == SetsMtime::yes && has_dirty_pages()) {
    if (const auto after = read_stamp(path_fd)) note_mtime(after->mtime_ns);
  }
  end_change(path_fd, {});
  return outcome;
}

// Of a file with dirty pages the time that somebody gave it is the one to give it again when they are written.
void FileDataImpl::note_mtime(int64_t mtime_ns) {
  MutexLock lock(&mutex_);
  delayed_.mtime_ns = mtime_ns;
}

}  // namespace sluice
