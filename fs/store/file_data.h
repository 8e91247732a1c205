// FileData is the data side of one regular file: its descriptors, its version, and the order of its reads and writes.
// One per inode, shared by all opens and all front ends; it stays while blocks of the file are cached, so that the next
// open finds them.
//
//   read   the cached pages, or a read of the backing through the single flight of the cache.
//   write  under the range lock: begin_change, the backing, publish, then `done`. Whole pages go O_DIRECT from
//          fresh cache pages; small writes, heads and tails as exact bytes through a buffered descriptor.
//   truncate, allocate, copy   under the range lock as well. They block the calling thread, and so does fsync.
//
// Thread-safe. The mutex is never held across a system call that can wait for the disk.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "cache/block_cache.h"
#include "cache/callback.h"
#include "cache/clock.h"
#include "cache/disk.h"
#include "cache/readahead.h"
#include "cache/result.h"
#include "fs/store/backing_health.h"
#include "fs/store/change_counts.h"
#include "fs/store/change_watch.h"
#include "fs/store/prepared_write.h"
#include "fs/store/types.h"
#include "fs/store/version.h"
#include "fs/store/write_back.h"
#include "fs/store/write_errors.h"

namespace sluice {

inline constexpr std::chrono::seconds kIdleDescriptorAgeMin{5};

// Shared by all files of a store.
struct FileDataContext {
  BlockCache* cache = nullptr;
  Disk* disk = nullptr;
  BackingHealth* health = nullptr;  // none: calls are never refused
  const Clock* clock = &system_clock();
  StampClock stamp_clock;
  bool is_local = true;                        // of this machine: close(2) of the backing waits for nothing
  bool direct_io = true;                       // false: buffered + drop (backing refuses O_DIRECT, or forced)
  bool may_buffer_direct_io = false;           // some files are read through the page cache all the same
  std::atomic<uint64_t> direct_io_refused{0};  // opens where O_DIRECT was refused; the first one is logged
  std::atomic<uint64_t> outside_changes{0};    // generations moved
  std::atomic<uint64_t> files{0};              // FileData there are
  std::atomic<uint32_t> idle_descriptors{0};   // kept by files that nobody has open
  uint32_t idle_descriptors_max = 64;
  std::atomic<uint32_t> residues{0};  // files with something in the PageCache, which keep one as well
  uint32_t residues_max = 128;
  std::chrono::nanoseconds idle_descriptor_age = kIdleDescriptorAgeMin;  // after its file was closed
  ChangeCounts* changes = nullptr;                                       // may be null
  WriteBack* write_back = nullptr;  // none: writes reach the backing before they are answered
  bool reserves_space = false;      // for delayed writes: what fallocate(2) allocated can be written whatever happens
  // Makes a file beside this one, for what somebody else's change left no place for; `fill` gets its descriptor.
  std::function<Result<void>(InodeNumber number, const std::function<Result<void>(int fd)>& fill)> keep_conflict;

  // Before calls of the backing. Errors: ETIMEDOUT, it hangs.
  Result<void> admit(BackingUse use) const {
    if (health == nullptr) return {};
    return health->admit(use);
  }
};

struct FileVersion {
  Stamp stamp;
  bool trustworthy = false;  // a strong validator (ETag) may be made from it
};

struct WriteOptions {
  bool append = false;  // at the end of file, the offset is ignored
  SetIdBits set_id = SetIdBits::clear;
};

// As for fallocate(2).
struct Allocation {
  int mode = 0;  // FALLOC_FL_*
  uint64_t offset = 0;
  uint64_t length = 0;
  SetIdBits set_id = SetIdBits::clear;
};

struct CopiedRange {
  uint64_t source_offset = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  SetIdBits set_id = SetIdBits::clear;
};

// What an open is for.
enum class Access : uint8_t { read, write, read_write };

class FileData {
 public:
  static std::shared_ptr<FileData> create(InodeNumber number, FileDataContext* context);
  virtual ~FileData() = default;

  // An open begins: makes the descriptors ready (reopening `path_fd`, O_PATH, as the current thread's file system
  // identity; descriptors that are already there are kept) and revalidates, whose answer it returns. Balance with
  // `close`. Errors: those of open(2).
  virtual Result<bool> open(int path_fd, Access access) = 0;
  // An open that asks the backing nothing. False: the descriptors it needs are not there.
  virtual bool open_unasked(bool for_writing) = 0;
  // An open for reading that needs no descriptor, of a small file of which something is cached: only `read_resident`
  // may read. `seen`: the backing just showed this stamp; null: it need not be asked. False: open in another way.
  virtual bool open_cached(const Stamp* seen) = 0;
  virtual void close(bool for_writing) = 0;

  // Compares the stamp with the backing's, and moves the generation when somebody else changed the file, or may have
  // changed it without a trace (see is_trustworthy). Returns true when it moved. One statx(2).
  virtual Result<bool> revalidate() = 0;
  virtual FileVersion version() const = 0;
  virtual uint64_t size() const = 0;
  virtual Stamp backing_stamp() const = 0;  // what the backing is believed to show; `version` is what readers see
  // Puts what delayed writes changed into attributes that the backing gave.
  virtual void show(struct ::statx* attributes) const = 0;
  // Watches from now on: to be made before `version` is asked. The file outlives it.
  virtual std::unique_ptr<ChangeWatch> watch() = 0;

  // `done` runs inside the call when everything is cached, else on the disk's thread.
  // Returns how many pages it had to ask the disk for itself.
  // Errors: EIO and what the disk says; ESTALE when the file changed twice under the read.
  virtual uint64_t read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) = 0;
  // The same if it needs no disk, else nothing.
  virtual std::optional<FileSlice> read_resident(uint64_t offset, uint64_t length) = 0;
  virtual void prefetch(PageRange pages) = 0;
  virtual LeftStreams& left_streams() = 0;

  // Copies what it needs of `bytes` before returning. `done` gets the bytes written; runs on any thread. Needs an open
  // for writing.
  virtual void write(uint64_t offset, std::string_view bytes, const WriteOptions& options,
                     Callback<void(Result<size_t>)> done) = 0;
  // The same of bytes that were put into the store's own memory as they came; see Store::prepare_write.
  virtual void write(std::unique_ptr<PreparedWrite> filled, SetIdBits set_id, Callback<void(Result<size_t>)> done) = 0;

  // Like ftruncate(2), fallocate(2), copy_file_range(2). They block, and need an open for writing (EBADF).
  virtual Result<void> truncate(uint64_t size, SetIdBits set_id) = 0;
  // Errors: EOPNOTSUPP also for modes that move bytes (collapse, insert).
  virtual Result<void> allocate(const Allocation& allocation) = 0;
  // The bytes copied, of those asked for: less when it is much, 0 at the end of `source`, which is open for reading.
  // Errors: EXDEV, EOPNOTSUPP: not between these two; read and write instead.
  virtual Result<size_t> copy_from(FileData& source, const CopiedRange& range) = 0;
  // As lseek(2) with SEEK_DATA or SEEK_HOLE. Errors: also ENXIO.
  virtual Result<uint64_t> seek(uint64_t offset, int whence) = 0;
  // An own change of attributes is about to happen outside (chmod, utimens, rename, link ...): run it through here, so
  // that the ctime it leaves is not taken for a foreign change. `change` returns the result; the new stamp is adopted.
  virtual Result<void> change_attributes(Callback<Result<void>()> change, int path_fd,
                                         SetsMtime sets_mtime = SetsMtime::no) = 0;

  // What the backing could not keep, though it had accepted it, is told to each open once; see write_errors.h.
  virtual WriteErrors::Told known_write_errors() const = 0;  // of an open that begins now
  virtual Result<void> fsync(bool data_only, WriteErrors::Told* told) = 0;
  // What close(2) of the backing says of writes that it has not been asked about yet. Errors: also ENOSYS, it has
  // nothing to say, ever.
  virtual Result<void> flush(WriteErrors::Told* told) = 0;
  // Bytes were lost where nobody waits for an answer.
  virtual void note_write_error(int error) = 0;
  // Who has the file open is to be cut off: what was written and not yet fsynced is.
  virtual void sync_unsynced() = 0;
  virtual int untold_write_error() const = 0;  // 0: none

  // Delayed writes; see write_back.h. What is dirty now is given to the backing, which may still lose it.
  virtual Result<void> write_back() = 0;
  // fsync: what the backing has accepted is durable, or dirty again.
  virtual Result<void> sync_written() = 0;
  // The same by somebody who asks the backing for many files at once: first the count, then `synced` with it.
  virtual uint64_t written_count() const = 0;
  virtual void synced(uint64_t written_count) = 0;
  virtual bool is_dirty() const = 0;                                        // or unsynced
  virtual std::optional<std::chrono::nanoseconds> dirty_since() const = 0;  // none: not dirty
  // Its last name is gone: what is dirty is of no use to anybody but those who have it open.
  virtual void removed() = 0;
  // The last attempt to write what is dirty failed.
  virtual bool writing_fails() const = 0;
  // Gives up what the backing does not have. Returns the bytes lost.
  virtual uint64_t drop_dirty() = 0;

  // What an administrator does to the cache. Needs an open.
  // As `read`, but after everybody else's, and the pages are kept like any other file's, however large this one is.
  // `done` gets how many bytes there were.
  virtual void warm(uint64_t offset, uint64_t length, Callback<void(Result<uint64_t>)> done) = 0;
  // See BlockCache::pin. The promise is the file's size now.
  virtual Result<void> pin() = 0;
  virtual void unpin() = 0;
  virtual bool is_pinned() const = 0;
  // Everything that is cached of it, pinned or not. Returns how many bytes that was, in whole pages.
  virtual uint64_t evict() = 0;
  // What is cached and was asked for.
  virtual std::vector<PageRange> used_pages() const = 0;
  // Where on the disk the file begins, for who reads many; nothing where the file system does not tell.
  virtual std::optional<uint64_t> disk_position() const = 0;

  virtual uint64_t cached_blocks() const = 0;
  virtual bool is_open() const = 0;
  // Housekeeping: writes back and drops what small writes left in the PageCache; closes descriptors of a file not
  // open.
  virtual void tidy() = 0;
  virtual bool needs_tidy() const = 0;
  // Closes descriptors that a file not open keeps for its next open, unless it has to tidy through them.
  virtual void drop_idle() = 0;
};

}  // namespace sluice
