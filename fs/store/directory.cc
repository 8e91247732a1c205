#include "fs/store/directory.h"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "cache/mutex.h"

namespace sluice {
namespace {

constexpr size_t kBufferSize = 32768;

class StoreOpenDirectory final : public OpenDirectory {
 public:
  explicit StoreOpenDirectory(OpenDirectoryParts parts) : parts_(std::move(parts)) {}

  Result<void> read(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) override {
    MutexLock lock(&mutex_);
    TRY(seek(offset));
    while (TRY(fill())) {
      // dirent64 as the kernel writes it, 8-byte aligned in the buffer.
      const auto* raw = reinterpret_cast<const struct dirent64*>(buffer_.get() + at_);
      const DirectoryEntry entry{raw->d_name, raw->d_ino, raw->d_type, static_cast<uint64_t>(raw->d_off)};
      if (!visit(entry)) return {};
      at_ += raw->d_reclen;
      position_ = entry.next_offset;
    }
    return {};
  }

  Result<void> fsync(bool data_only) override {
    const int fd = parts_.fd.get();
    if ((data_only ? ::fdatasync(fd) : ::fsync(fd)) != 0) return fail(errno);
    return {};
  }

 private:
  // From the start (rewinddir) the directory is always read anew.
  Result<void> seek(uint64_t offset) REQUIRES(mutex_) {
    if (offset == position_ && offset != 0) return {};
    if (::lseek(parts_.fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return fail(errno);
    position_ = offset;
    at_ = end_ = 0;
    return {};
  }

  // True: an entry is at `at_`. False: the end.
  Result<bool> fill() REQUIRES(mutex_) {
    if (at_ < end_) return true;
    if (buffer_ == nullptr) buffer_ = std::make_unique<char[]>(kBufferSize);
    const long length = ::syscall(SYS_getdents64, parts_.fd.get(), buffer_.get(), kBufferSize);
    if (length < 0 && errno != ENOENT) return fail(errno);  // ENOENT: the directory was removed, it has no entries
    at_ = 0;
    end_ = length < 0 ? 0 : static_cast<size_t>(length);
    return at_ < end_;
  }

  const OpenDirectoryParts parts_;
  // Serialises reads, which share the descriptor's position, also across getdents64 and `visit`. Outermost.
  Mutex mutex_;
  std::unique_ptr<char[]> buffer_ GUARDED_BY(mutex_);
  size_t at_ GUARDED_BY(mutex_) = 0;  // next entry in the buffer
  size_t end_ GUARDED_BY(mutex_) = 0;
  uint64_t position_ GUARDED_BY(mutex_) = 0;  // offset of the next entry
};

}  // namespace

std::unique_ptr<OpenDirectory> make_open_directory(OpenDirectoryParts parts) {
  return std::make_unique<StoreOpenDirectory>(std::move(parts));
}

}  // namespace sluice
