// The one FileData. Its parts: file_data.cc descriptors and versions; file_data_io.cc reading and writing;
// file_data_back.cc delayed writes; file_data_change.cc changes by other calls than write; file_data_sync.cc what the
// backing says of them later.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/dirty_pages.h"
#include "cache/mutex.h"
#include "cache/unique_fd.h"
#include "fs/store/coroutine.h"
#include "fs/store/file_data.h"
#include "fs/store/prepared_write.h"
#include "fs/store/range_lock.h"
#include "fs/store/sync_rounds.h"

namespace sluice {

using SharedFd = std::shared_ptr<const UniqueFd>;
inline constexpr PageRange kWholeFile{0, UINT64_MAX};

// A descriptor of its own on the file behind `fd`. Errors: those of open(2).
Result<SharedFd> reopen(int fd, int flags);

class FileDataImpl final : public FileData, public BlockSource, public std::enable_shared_from_this<FileDataImpl> {
 public:
  FileDataImpl(InodeNumber number, FileDataContext* context)
      : number_(number),
        context_(*context),
        cached_(context->cache->add_file(number)),
        dirty_(context->write_back == nullptr
                   ? nullptr
                   : std::make_unique<DirtyPages>(&context->cache->arena(), &context->write_back->totals())) {
    context_.files.fetch_add(1);
  }
  ~FileDataImpl() override {
    close_idle();
    {
      MutexLock lock(&mutex_);
      count_residue(false);
    }
    context_.files.fetch_sub(1);
  }

  Result<bool> open(int path_fd, Access access) override;
  bool open_unasked(bool for_writing) override;
  bool open_cached(const Stamp* seen) override;
  void close(bool for_writing) override;
  Result<bool> revalidate() override;
  FileVersion version() const override;
  uint64_t size() const override;
  Stamp backing_stamp() const override;
  void show(struct ::statx* attributes) const override;
  std::unique_ptr<ChangeWatch> watch() override;
  uint64_t read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) override {
    return read_attempt({offset, length}, std::move(done));
  }
  std::optional<FileSlice> read_resident(uint64_t offset, uint64_t length) override;
  void prefetch(PageRange pages) override;
  LeftStreams& left_streams() override { return left_streams_; }
  void write(uint64_t offset, std::string_view bytes, const WriteOptions& options,
             Callback<void(Result<size_t>)> done) override;
  void write(std::unique_ptr<PreparedWrite> filled, SetIdBits set_id, Callback<void(Result<size_t>)> done) override;
  Result<void> truncate(uint64_t size, SetIdBits set_id) override;
  Result<void> allocate(const Allocation& allocation) override;
  Result<size_t> copy_from(FileData& source, const CopiedRange& range) override;
  Result<uint64_t> seek(uint64_t offset, int whence) override;
  Result<void> change_attributes(Callback<Result<void>()> change, int path_fd, SetsMtime sets_mtime) override;
  WriteErrors::Told known_write_errors() const override;
  Result<void> fsync(bool data_only, WriteErrors::Told* told) override;
  Result<void> flush(WriteErrors::Told* told) override;
  void note_write_error(int error) override;
  void sync_unsynced() override;
  int untold_write_error() const override;
  Result<void> write_back() override;
  Result<void> sync_written() override { return sync_changes(true); }
  uint64_t written_count() const override { return dirty_->written_count(); }
  void synced(uint64_t written_count) override;
  bool is_dirty() const override;
  std::optional<std::chrono::nanoseconds> dirty_since() const override;
  void removed() override;
  bool writing_fails() const override;
  uint64_t drop_dirty() override;
  void warm(uint64_t offset, uint64_t length, Callback<void(Result<uint64_t>)> done) override;
  Result<void> pin() override;
  void unpin() override;
  bool is_pinned() const override { return pinned_.load(std::memory_order_relaxed); }
  uint64_t evict() override;
  std::vector<PageRange> used_pages() const override { return context_.cache->used_pages(*cached_, generation()); }
  std::optional<uint64_t> disk_position() const override;
  uint64_t cached_blocks() const override { return cached_->blocks(); }
  bool is_open() const override;
  void tidy() override;
  bool needs_tidy() const override;
  void drop_idle() override;

  // BlockSource: a miss of the cache.
  void read(uint64_t offset, std::vector<iovec> buffers, IoClass io_class,
            Callback<void(Result<size_t>)> done) override;

 private:
  struct State {
    uint32_t generation = 1;  // of the cache's keys: moves with foreign changes only
    bool known = false;       // a stamp was taken
    Stamp stamp;
    bool trustworthy = false;               // as of the look that gave it
    bool cache_is_doubtful = false;         // what is cached may be older than the stamp, which would not show it
    std::chrono::nanoseconds first_seen{};  // the stamp, by the monotonic clock
    uint64_t look = 0;                      // number of the look that gave the stamp
    uint32_t changes_under_way = 0;         // our own
    mode_t mode = 0;                        // as of the last change
    // For the changes under way: the bits before the first of them, and whether one of them must clear the bits.
    mode_t set_id_bits = 0;
    bool clears_set_id = false;
  };
  // What readers see of writes that the backing does not show yet.
  struct Delayed {
    bool any = false;
    uint64_t size = 0;
    uint64_t end = 0;  // of what was put to be written, before readers may see it; else the size
    int64_t mtime_ns = 0;
    int64_t ctime_ns = 0;
  };
  struct SetAside {  // dirty pages of a file that somebody else changed; they count as dirty until they are kept
    DirtyPages pages;
    uint64_t size = 0;

    // What is newer than these.
    void add(std::vector<DirtyPages::Run> runs, uint64_t size_then) {
      for (const DirtyPages::Run& run : runs) pages.put(run.range, run.pages, {});
      size = std::max(size, size_then);
    }
  };
  struct Residue {     // what changes left in the PageCache
    bool any = false;  // tidy() sees to it
    // Of the writes since some of it was sent to the disk.
    ByteRange gathered;
    uint64_t gathered_bytes = 0;
    ByteRange on_its_way;  // what was sent then
  };
  class OwnWatch;
  struct Attempt {  // to read
    uint64_t offset = 0;
    uint64_t length = 0;
    IoClass io_class = IoClass::demand;
    bool is_first = true;
  };
  struct Slice {  // what a read will ask of the cache
    CacheRead read;
    uint64_t skip = 0;
    uint64_t length = 0;
  };

  std::optional<Slice> slice_of(uint64_t offset, uint64_t length);
  uint64_t read_attempt(const Attempt& attempt, Callback<void(Result<FileSlice>)> done);

  // Versions.
  void count_change() {
    if (context_.changes != nullptr) context_.changes->count(change_key(number_));
  }
  // `bytes` of the content are to change; none when only attributes are.
  Result<void> begin_change(int fd, const ByteRange& bytes, SetIdBits set_id = SetIdBits::clear);
  bool join_changes(const ByteRange& bytes, SetIdBits set_id) REQUIRES(mutex_);
  void end_change(int fd, const ByteRange& bytes);
  void end_watched_change(const ByteRange& bytes) REQUIRES(mutex_);
  void check_version(int fd);
  bool believe(const Stamp& seen, uint64_t look);
  bool judge(const Stamp& seen, uint64_t look) REQUIRES(mutex_);
  void adopt(const Stamp& seen, uint64_t look) REQUIRES(mutex_);
  uint64_t size_locked() const REQUIRES(mutex_) { return delayed_.any ? delayed_.size : state_.stamp.size; }
  uint64_t next_look() { return looks_.fetch_add(1) + 1; }

  // Writing.
  struct WriteFds {
    SharedFd buffered, direct;  // none: not open for writing
    bool is_direct = false;     // else both are the same
  };
  WriteFds write_fds(bool may_block) EXCLUDES(mutex_);
  // `write`, or `appended` at the end of the file.
  void begin_write(std::unique_ptr<PreparedWrite> write, std::string appended, SetIdBits set_id,
                   Callback<void(Result<size_t>)> done);
  Detached write_in_order(std::unique_ptr<PreparedWrite> write, std::string appended, SetIdBits set_id,
                          Callback<void(Result<size_t>)> done);
  void write_when_admitted(std::unique_ptr<PreparedWrite> write, std::string appended, SetIdBits set_id,
                           Callback<void(Result<size_t>)> done);
  Detached write_disk(const PreparedWrite& write, bool may_block, Callback<void(Result<size_t>)> done);
  PageRefs peek_page(PageRange page);
  std::vector<PageRange> unknown_ends(const PreparedWrite& write);
  KnownPages merge_end(const PreparedWrite::Part& part, uint64_t old_size);
  void finish_write(PreparedWrite& write, int fd, uint64_t old_size, bool whole);
  std::vector<KnownPages> known_pages(PreparedWrite& write, uint64_t old_size);
  void publish(const KnownPages& known);
  void publish_old_end(const std::vector<KnownPages>& changed, uint64_t old_size);
  void settle_set_id_bits(int fd, SetIdBits set_id);

  // Delayed writes.
  bool read_dirty(uint64_t offset, std::vector<iovec>& buffers, Callback<void(Result<size_t>)>& done);
  std::optional<Result<size_t>> delay_write(PreparedWrite& write, SetIdBits set_id);
  std::optional<Result<size_t>> put_dirty(const SharedFd& fd, PreparedWrite& write);
  void begin_delayed(uint64_t end);
  void end_delayed(uint64_t end);
  void set_delayed_size(uint64_t size);
  void note_mtime(int64_t mtime_ns);
  void update_delayed(bool changed_content) REQUIRES(mutex_);
  bool has_dirty_pages() const { return dirty_ != nullptr && dirty_->counts().kept() > 0; }
  Result<void> reserve(const SharedFd& fd, const ByteRange& bytes);
  bool is_reserved(const ByteRange& bytes) const REQUIRES(mutex_);
  void add_reserved(ByteRange bytes) REQUIRES(mutex_);
  void trim_reservation();
  Result<void> write_dirty(PageRange range, uint64_t put_until);
  Result<void> write_round(PageRange range, uint64_t put_until);
  struct Landing;
  // Up to `direct_end` by O_DIRECT, then up to `end` as exact bytes: the last page of the file in part, and all of a
  // short run at its end.
  struct WriteOfRun {
    DirtyPages::Run run;
    uint64_t direct_end = 0;
    uint64_t end = 0;
  };
  WriteOfRun write_of(DirtyPages::Run run) const;
  void submit(const WriteFds& fds, WriteOfRun write, const std::shared_ptr<Landing>& landing);
  Result<size_t> write_end(const WriteFds& fds, const WriteOfRun& write);
  void restore_mtime(int fd);
  Result<void> settle(PageRange range);
  void note_writing(const Result<void>& outcome);
  bool is_conflict(const Stamp& seen) const REQUIRES(mutex_);
  void set_dirty_aside() REQUIRES(mutex_);
  Result<void> keep_set_aside();
  void discard_dirty();
  void drop_write_fds();

  // Changing. Runs `change`, which changes the content of these pages, on a descriptor for writing exact bytes. The
  // range is held.
  Result<void> change(const ByteRange& bytes, SetIdBits set_id, Callback<Result<void>(int fd)> change);
  Result<SharedFd> open_to_copy();
  void drop(PageRange range);
  uint32_t generation() const;

  // Asking the backing what became of changes.
  std::vector<SharedFd> fds_to_sync() const REQUIRES(mutex_);
  Result<void> sync_changes(bool data_only);
  int sync_round(bool data_only);
  int sync_now();
  void note_sync_error(int error);
  bool needs_flush() const;
  void flush_changes();
  void note_residue(const ByteRange& bytes, bool may_wait);
  void count_residue(bool any) REQUIRES(mutex_);
  void write_back_residue();
  void write_back(int fd, const ByteRange& bytes);
  Result<void> tell_write_error(WriteErrors::Told* told);

  void count_open(bool for_writing) REQUIRES(mutex_);
  void count_idle(bool is_idle) REQUIRES(mutex_);
  bool is_long_idle() const REQUIRES(mutex_);
  Result<bool> open_descriptors(int path_fd, Access access);
  Result<void> ensure_read_fd(int path_fd) EXCLUDES(mutex_);
  Result<void> ensure_buffered_fd(int path_fd) EXCLUDES(mutex_);
  Result<SharedFd> open_direct(int path_fd, int flags);
  SharedFd any_fd() const;
  SharedFd any_fd_locked() const REQUIRES(mutex_) { return read_fd_ ? read_fd_ : buffered_fd_; }
  void close_idle();

  const InodeNumber number_;
  FileDataContext& context_;
  const std::shared_ptr<CachedFile> cached_;
  RangeLock range_lock_;
  LeftStreams left_streams_;
  std::atomic<uint64_t> looks_{0};
  std::atomic<bool> pinned_{false};

  SyncRounds sync_rounds_;
  const std::unique_ptr<DirtyPages> dirty_;                    // none: no write is delayed
  mutable Mutex mutex_{Mutex::Spins::yes};                     // leaf
  std::unique_ptr<ChangeWatches> watches_ GUARDED_BY(mutex_);  // while there are any, or changes under way
  State state_ GUARDED_BY(mutex_);
  Delayed delayed_ GUARDED_BY(mutex_);
  std::unique_ptr<SetAside> set_aside_ GUARDED_BY(mutex_);
  std::vector<ByteRange> reserved_ GUARDED_BY(mutex_);  // apart
  bool removed_ GUARDED_BY(mutex_) = false;
  bool was_emptied_ GUARDED_BY(mutex_) = false;  // truncated to nothing, and not closed since
  // Of delayed writes: whether the last write failed; what the last fsync said; how many of these failed in a row.
  bool writing_fails_ GUARDED_BY(mutex_) = false;
  int sync_error_ GUARDED_BY(mutex_) = 0;
  uint32_t sync_failures_ GUARDED_BY(mutex_) = 0;
  SharedFd read_fd_ GUARDED_BY(mutex_);      // O_DIRECT where possible
  SharedFd direct_fd_ GUARDED_BY(mutex_);    // writing, O_DIRECT; empty where refused, and until it is needed
  SharedFd buffered_fd_ GUARDED_BY(mutex_);  // writing exact bytes
  uint32_t opens_ GUARDED_BY(mutex_) = 0;
  uint32_t writers_ GUARDED_BY(mutex_) = 0;
  Residue residue_ GUARDED_BY(mutex_);
  bool counted_idle_ GUARDED_BY(mutex_) = false;
  std::chrono::nanoseconds closed_at_ GUARDED_BY(mutex_){};
  bool read_is_direct_ GUARDED_BY(mutex_) = false;
  bool direct_writes_refused_ GUARDED_BY(mutex_) = false;
  // Changes of the content that are done; how many of them an fsync, and a flush, began after. They may wrap around.
  uint32_t changes_ GUARDED_BY(mutex_) = 0;
  uint32_t synced_changes_ GUARDED_BY(mutex_) = 0;
  uint32_t flushed_changes_ GUARDED_BY(mutex_) = 0;
  WriteErrors write_errors_ GUARDED_BY(mutex_);
};

}  // namespace sluice
