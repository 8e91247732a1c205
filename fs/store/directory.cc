#include "fs/store/directory.h"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "cache/mutex.h"

namespace sluice {
namespace {

constexpr size_t kBufferSize = 32768;

class StoreOpenDirectory final : public OpenDirectory {
 public:
  explicit StoreOpenDirectory(OpenDirectoryParts parts) : parts_(std::move(parts)) {
    if (parts_.listing != nullptr) entries_ = *parts_.listing;
  }

  Result<void> read(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) override {
    MutexLock lock(&mutex_);
    TRY(seek(offset));
    while (TRY(fill())) {
      // dirent64 as the kernel writes it, 8-byte aligned in the buffer.
      const auto* raw = reinterpret_cast<const struct dirent64*>(entries_.data());
      const DirectoryEntry entry{raw->d_name, raw->d_ino ^ parts_.number_mask, raw->d_type,
                                 static_cast<uint64_t>(raw->d_off)};
      if (!visit(entry)) return {};
      entries_.remove_prefix(raw->d_reclen);
      position_ = entry.next_offset;
    }
    return {};
  }

  Result<void> fsync(bool data_only) override {
    MutexLock lock(&mutex_);
    TRY(open());
    const int fd = parts_.fd.get();
    if ((data_only ? ::fdatasync(fd) : ::fsync(fd)) != 0) return fail(errno);
    return {};
  }

 private:
  Result<void> open() REQUIRES(mutex_) {
    if (!parts_.fd) parts_.fd = TRY(parts_.open());
    return {};
  }

  // From the start (rewinddir) the directory is always read anew. So it is by who goes on somewhere else than where a
  // known listing was left.
  Result<void> seek(uint64_t offset) REQUIRES(mutex_) {
    if (offset == position_ && (offset != 0 || is_fresh_)) {
      is_fresh_ = false;
      return {};
    }
    is_fresh_ = false;
    parts_.listing = nullptr;
    TRY(open());
    if (::lseek(parts_.fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return fail(errno);
    position_ = offset;
    entries_ = {};
    stop_learning();
    return {};
  }

  // True: an entry is at the beginning of `entries_`. False: the end.
  Result<bool> fill() REQUIRES(mutex_) {
    if (!entries_.empty()) return true;
    if (parts_.listing != nullptr) return false;
    if (buffer_ == nullptr) buffer_ = std::make_unique<char[]>(kBufferSize);
    if (position_ == 0 && parts_.listing_bytes_max > 0) learn_ = parts_.begin_learning(parts_.fd.get());
    const long length = ::syscall(SYS_getdents64, parts_.fd.get(), buffer_.get(), kBufferSize);
    if (length < 0 && errno != ENOENT) return fail(errno);  // ENOENT: the directory was removed, it has no entries
    entries_ = {buffer_.get(), length < 0 ? 0 : static_cast<size_t>(length)};
    if (length >= 0) learn();
    return !entries_.empty();
  }

  // The entries that were just read belong to the listing; it is whole when there were none.
  void learn() REQUIRES(mutex_) {
    if (!learn_) return;
    learnt_ += entries_;
    const bool is_whole = entries_.empty();
    if (is_whole) {
      learnt_.shrink_to_fit();
      learn_(std::make_shared<const std::string>(std::move(learnt_)));
    }
    if (is_whole || learnt_.size() > parts_.listing_bytes_max) stop_learning();
  }

  void stop_learning() REQUIRES(mutex_) {
    learn_ = nullptr;
    learnt_ = {};
  }

  // Serialises reads, which share the descriptor's position, also across getdents64 and `visit`. Outermost.
  Mutex mutex_;
  OpenDirectoryParts parts_ GUARDED_BY(mutex_);
  std::unique_ptr<char[]> buffer_ GUARDED_BY(mutex_);
  std::string_view entries_ GUARDED_BY(mutex_);  // next ones, in the buffer or the listing
  uint64_t position_ GUARDED_BY(mutex_) = 0;     // offset of the next entry
  bool is_fresh_ GUARDED_BY(mutex_) = true;      // nothing was read yet
  OpenDirectoryParts::Learn learn_ GUARDED_BY(mutex_);
  std::string learnt_ GUARDED_BY(mutex_);  // the listing so far
};

}  // namespace

std::unique_ptr<OpenDirectory> make_open_directory(OpenDirectoryParts parts) {
  return std::make_unique<StoreOpenDirectory>(std::move(parts));
}

}  // namespace sluice
