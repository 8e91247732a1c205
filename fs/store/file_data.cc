#include "fs/store/file_data.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <optional>
#include <string>

#include "cache/assert.h"
#include "cache/log.h"
#include "cache/mutex.h"
#include "cache/unique_fd.h"
#include "fs/store/coroutine.h"
#include "fs/store/range_lock.h"

namespace sluice {
namespace {

using SharedFd = std::shared_ptr<const UniqueFd>;
constexpr PageRange kWholeFile{0, UINT64_MAX};
constexpr std::chrono::seconds kIdleDescriptorAge{5};

Result<SharedFd> reopen(int path_fd, int flags) {
  const std::string path = fmt::format("/proc/self/fd/{}", path_fd);
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return fail(errno);
  return std::make_shared<const UniqueFd>(fd);
}

// A write ready for the disk, its bytes copied. The whole pages in the middle can go O_DIRECT, from fresh cache pages that
// are published afterwards (or from plain memory when the cache has none); the ends can go only as exact bytes.
struct PreparedWrite {
  struct Part {
    uint64_t offset = 0;
    std::string bytes;
    bool empty() const { return bytes.empty(); }
    PageRange page() const { return pages_of(offset, bytes.size()); }
  };

  PreparedWrite(BlockCache& cache, uint64_t at, std::string_view bytes) : offset(at), size(bytes.size()) {
    const uint64_t end = offset + size;
    const uint64_t middle_start = std::min(end, (offset + kPageSize - 1) / kPageSize * kPageSize);
    const uint64_t middle_end = std::max(middle_start, end / kPageSize * kPageSize);
    head = {offset, std::string(bytes.substr(0, middle_start - offset))};
    tail = {middle_end, std::string(bytes.substr(middle_end - offset))};
    middle_offset = middle_start;
    middle_size = middle_end - middle_start;
    if (middle_size > 0) copy_middle(cache, bytes.data() + (middle_start - offset));
  }

  PageRange range() const { return pages_of(offset, size); }
  PageRange middle_range() const { return pages_of(middle_offset, middle_size); }
  std::vector<iovec> middle_buffers() const {
    std::vector<iovec> buffers;
    if (bounce) {
      buffers.push_back({bounce.get(), middle_size});
    } else {
      middle.append_iovecs(0, middle_size, buffers);
    }
    return buffers;
  }

  uint64_t offset;
  uint64_t size;
  Part head, tail;
  uint64_t middle_offset = 0;
  uint64_t middle_size = 0;
  PageRefs middle;
  std::unique_ptr<char, decltype(&::free)> bounce{nullptr, &::free};

 private:
  void copy_middle(BlockCache& cache, const char* from) {
    middle = cache.allocate(middle_size / kPageSize);
    if (middle.pages() == 0) bounce.reset(static_cast<char*>(::aligned_alloc(kPageSize, middle_size)));
    for (const iovec& to : middle_buffers()) {
      ::memcpy(to.iov_base, from, to.iov_len);
      from += to.iov_len;
    }
  }
};

// The pages that a write changed, as far as their whole content is known afterwards.
struct KnownPages {
  PageRange range;
  PageRefs pages;  // empty: not known
  bool complete() const { return pages.pages() == range.count; }
};

class FileDataImpl final : public FileData, public BlockSource, public std::enable_shared_from_this<FileDataImpl> {
 public:
  FileDataImpl(InodeNumber number, FileDataContext* context)
      : context_(*context), cached_(context->cache->add_file(number)) {}
  ~FileDataImpl() override { close_idle(); }

  Result<void> open(int path_fd, bool for_writing) override;
  void close(bool for_writing) override;
  Result<bool> revalidate() override;
  FileVersion version() const override;
  void read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) override {
    read_attempt(offset, length, true, std::move(done));
  }
  std::optional<FileSlice> read_resident(uint64_t offset, uint64_t length) override;
  void prefetch(PageRange pages) override;
  void write(uint64_t offset, std::string_view bytes, bool append, Callback<void(Result<size_t>)> done) override;
  Result<void> change(uint64_t offset, Callback<Result<void>(int fd)> change) override;
  Result<void> change_attributes(Callback<Result<void>()> change, int path_fd) override;
  Result<void> fsync(bool data_only) override;
  uint64_t cached_blocks() const override { return cached_->blocks(); }
  bool is_open() const override;
  void tidy() override;
  bool needs_tidy() const override;

  // BlockSource: a miss of the cache.
  void read(uint64_t offset, std::vector<iovec> buffers, IoClass io_class,
            Callback<void(Result<size_t>)> done) override;

 private:
  struct State {
    uint32_t key_generation = 1;   // of the cache's keys: moves with foreign changes only
    uint32_t version = 1;          // moves with every change of content
    bool known = false;            // a stamp was taken
    Stamp stamp;
    std::chrono::nanoseconds looked_at{};
    uint64_t look = 0;             // number of the look that gave the stamp
    uint32_t changes_under_way = 0;  // our own
  };
  struct Slice {  // what a read will ask of the cache
    CacheRead read;
    uint64_t skip = 0;
    uint64_t length = 0;
    uint32_t version = 0;
  };

  std::optional<Slice> slice_of(uint64_t offset, uint64_t length);
  void read_attempt(uint64_t offset, uint64_t length, bool first, Callback<void(Result<FileSlice>)> done);

  // Versions.
  Result<void> begin_change(int fd);
  void end_change(int fd, bool content);
  bool judge(const Stamp& seen, std::chrono::nanoseconds looked_at, uint64_t look) REQUIRES(mutex_);
  uint64_t next_look() { return looks_.fetch_add(1) + 1; }

  // Writing.
  Detached write_in_order(std::unique_ptr<PreparedWrite> write, std::string appended, Callback<void(Result<size_t>)> done);
  Detached write_disk(const PreparedWrite& write, Callback<void(Result<size_t>)> done);
  KnownPages merge_end(const PreparedWrite::Part& part, uint64_t old_size);
  void finish_write(PreparedWrite& write, int fd, uint64_t old_size, bool whole);
  void drop(PageRange range);
  uint32_t key_generation() const;
  uint64_t size() const;
  void set_residue();

  Result<void> open_descriptors(int path_fd, bool for_writing);
  Result<void> ensure_read_fd(int path_fd) EXCLUDES(mutex_);
  Result<void> ensure_write_fds(int path_fd) EXCLUDES(mutex_);
  Result<SharedFd> open_direct(int path_fd, int flags);
  SharedFd any_fd() const;
  void close_idle();

  FileDataContext& context_;
  const std::shared_ptr<CachedFile> cached_;
  RangeLock range_lock_;
  std::atomic<uint64_t> looks_{0};

  mutable Mutex mutex_;  // leaf
  State state_ GUARDED_BY(mutex_);
  SharedFd read_fd_ GUARDED_BY(mutex_);      // O_DIRECT where possible
  SharedFd direct_fd_ GUARDED_BY(mutex_);    // writing, O_DIRECT; empty where refused
  SharedFd buffered_fd_ GUARDED_BY(mutex_);  // writing exact bytes
  uint32_t opens_ GUARDED_BY(mutex_) = 0;
  uint32_t writers_ GUARDED_BY(mutex_) = 0;
  bool residue_ GUARDED_BY(mutex_) = false;  // unaligned writes left pages in the PageCache
  bool counted_idle_ GUARDED_BY(mutex_) = false;
  std::chrono::nanoseconds closed_at_ GUARDED_BY(mutex_){};
  bool read_is_direct_ GUARDED_BY(mutex_) = false;
};

// ---- descriptors ----

// O_DIRECT, or without it where the backing refuses (EINVAL) or the user said so.
Result<SharedFd> FileDataImpl::open_direct(int path_fd, int flags) {
  if (context_.direct_io) {
    auto fd = reopen(path_fd, flags | O_DIRECT);
    if (fd || fd.error().number != EINVAL) return fd;
    if (context_.direct_io_refused.fetch_add(1) == 0) {
      log(LogLevel::warning, "the backing refuses O_DIRECT: reading through the page cache and dropping it behind");
    }
  }
  return SharedFd();
}

Result<void> FileDataImpl::ensure_read_fd(int path_fd) {
  {
    MutexLock lock(&mutex_);
    if (read_fd_) return {};
  }
  SharedFd fd = TRY(open_direct(path_fd, O_RDONLY));
  const bool direct = fd != nullptr;
  if (!direct) {
    fd = TRY(reopen(path_fd, O_RDONLY));
    ::posix_fadvise(fd->get(), 0, 0, POSIX_FADV_RANDOM);  // the kernel's readahead would leave pages behind
  }
  MutexLock lock(&mutex_);
  if (read_fd_) return {};
  read_fd_ = std::move(fd);
  read_is_direct_ = direct;
  return {};
}

Result<void> FileDataImpl::ensure_write_fds(int path_fd) {
  {
    MutexLock lock(&mutex_);
    if (buffered_fd_) return {};
  }
  SharedFd buffered = TRY(reopen(path_fd, O_WRONLY));
  SharedFd direct = TRY(open_direct(path_fd, O_WRONLY));
  MutexLock lock(&mutex_);
  if (buffered_fd_) return {};
  buffered_fd_ = std::move(buffered);
  direct_fd_ = std::move(direct);
  return {};
}

Result<void> FileDataImpl::open(int path_fd, bool for_writing) {
  {
    MutexLock lock(&mutex_);  // counted first: nobody closes what an open relies on
    opens_++;
    if (for_writing) writers_++;
    if (counted_idle_) context_.idle_descriptors.fetch_sub(1);
    counted_idle_ = false;
  }
  Result<void> opened = open_descriptors(path_fd, for_writing);
  if (!opened) close(for_writing);
  return opened;
}

Result<void> FileDataImpl::open_descriptors(int path_fd, bool for_writing) {
  if (for_writing) TRY(ensure_write_fds(path_fd));
  // Who may only write cannot give us a descriptor to read.
  if (auto opened = ensure_read_fd(path_fd); !opened && !for_writing) return opened;
  TRY(revalidate());
  return {};
}

void FileDataImpl::close(bool for_writing) {
  SharedFd direct, buffered, reader;  // closed outside the lock
  MutexLock lock(&mutex_);
  ASSERT(opens_ > 0);
  opens_--;
  if (for_writing && --writers_ == 0) {
    direct.swap(direct_fd_);
    // What is left in the PageCache can be dropped through any descriptor.
    if (!residue_ || read_fd_) buffered.swap(buffered_fd_);
  }
  if (opens_ > 0 || !read_fd_) return;
  closed_at_ = context_.clock->monotonic();
  if (!residue_ && context_.idle_descriptors.load() >= context_.idle_descriptors_max) {
    reader.swap(read_fd_);
    return;
  }
  counted_idle_ = true;
  context_.idle_descriptors.fetch_add(1);
}

void FileDataImpl::close_idle() {
  SharedFd reader, buffered;
  MutexLock lock(&mutex_);
  if (opens_ > 0) return;
  reader.swap(read_fd_);
  buffered.swap(buffered_fd_);
  if (counted_idle_) context_.idle_descriptors.fetch_sub(1);
  counted_idle_ = false;
}

SharedFd FileDataImpl::any_fd() const {
  MutexLock lock(&mutex_);
  return read_fd_ ? read_fd_ : buffered_fd_;
}

bool FileDataImpl::is_open() const {
  MutexLock lock(&mutex_);
  return opens_ > 0;
}

bool FileDataImpl::needs_tidy() const {
  MutexLock lock(&mutex_);
  if (residue_) return true;
  return opens_ == 0 && read_fd_ && context_.clock->monotonic() - closed_at_ >= kIdleDescriptorAge;
}

void FileDataImpl::tidy() {
  SharedFd fd;
  {
    MutexLock lock(&mutex_);
    if (residue_) fd = read_fd_ ? read_fd_ : buffered_fd_;
    residue_ = false;
  }
  if (fd) {
    constexpr unsigned kWriteAndWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    ::sync_file_range(fd->get(), 0, 0, kWriteAndWait);  // an error stays with the file for the next fsync
    ::posix_fadvise(fd->get(), 0, 0, POSIX_FADV_DONTNEED);
  }
  bool idle = false;
  {
    MutexLock lock(&mutex_);
    idle = opens_ == 0 && context_.clock->monotonic() - closed_at_ >= kIdleDescriptorAge;
  }
  if (idle) close_idle();
}

// ---- versions ----

FileVersion FileDataImpl::version() const {
  MutexLock lock(&mutex_);
  return {state_.version, state_.stamp, is_trustworthy(state_.stamp, state_.looked_at, context_.grain)};
}

uint32_t FileDataImpl::key_generation() const {
  MutexLock lock(&mutex_);
  return state_.key_generation;
}

uint64_t FileDataImpl::size() const {
  MutexLock lock(&mutex_);
  return state_.stamp.size;
}

// Compares what a look at the backing showed with what we believe. Looks are numbered when they begin: one that began
// before the stamp we hold says nothing, and while our own changes are under way no look does. Returns true when
// somebody else changed the file.
bool FileDataImpl::judge(const Stamp& seen, std::chrono::nanoseconds looked_at, uint64_t look) {
  if (look <= state_.look) return false;
  const bool first = !state_.known;
  const bool same = seen == state_.stamp && is_trustworthy(state_.stamp, state_.looked_at, context_.grain);
  state_.known = true;
  state_.stamp = seen;
  state_.looked_at = looked_at;
  state_.look = look;
  if (first || same) return false;
  state_.key_generation++;
  state_.version++;
  return true;
}

Result<bool> FileDataImpl::revalidate() {
  const SharedFd fd = any_fd();
  if (!fd) return false;
  const uint64_t look = next_look();
  const Stamp seen = TRY(read_stamp(fd->get()));
  const auto now = context_.clock->realtime();
  {
    MutexLock lock(&mutex_);
    if (state_.changes_under_way > 0 || !judge(seen, now, look)) return false;
  }
  context_.outside_changes.fetch_add(1);
  drop(kWholeFile);
  return true;
}

// An own change begins: what the backing shows now must still be what we believe, else somebody else was here.
Result<void> FileDataImpl::begin_change(int fd) {
  bool alone = false;
  {
    MutexLock lock(&mutex_);
    alone = state_.changes_under_way++ == 0;
  }
  if (!alone) return {};
  const uint64_t look = next_look();
  const auto seen = read_stamp(fd);
  const auto now = context_.clock->realtime();
  bool foreign = false;
  {
    MutexLock lock(&mutex_);
    if (!seen) {
      state_.changes_under_way--;
      return tl::unexpected(seen.error());
    }
    foreign = judge(*seen, now, look);
  }
  if (!foreign) return {};
  context_.outside_changes.fetch_add(1);
  drop(kWholeFile);
  return {};
}

// The change is done: the stamp that it left is ours. Of several changes at once the last look counts.
void FileDataImpl::end_change(int fd, bool content) {
  const uint64_t look = next_look();
  const auto seen = read_stamp(fd);
  const auto now = context_.clock->realtime();
  MutexLock lock(&mutex_);
  state_.changes_under_way--;
  if (content) state_.version++;
  if (!seen || look <= state_.look) return;
  state_.known = true;
  state_.stamp = *seen;
  state_.looked_at = now;
  state_.look = look;
}

// ---- reading ----

std::optional<FileDataImpl::Slice> FileDataImpl::slice_of(uint64_t offset, uint64_t length) {
  Slice slice;
  MutexLock lock(&mutex_);
  slice.version = state_.version;
  slice.read.size = state_.stamp.size;
  slice.read.generation = state_.key_generation;
  if (offset >= slice.read.size || length == 0) return std::nullopt;
  slice.skip = offset % kPageSize;
  slice.length = std::min({length, slice.read.size - offset, kReadPagesMax * kPageSize - slice.skip});
  slice.read.pages = pages_of(offset, slice.length);
  slice.read.file = cached_.get();
  return slice;
}

std::optional<FileSlice> FileDataImpl::read_resident(uint64_t offset, uint64_t length) {
  const auto slice = slice_of(offset, length);
  if (!slice) return FileSlice{.pages = {}, .skip = 0, .length = 0, .generation = version().generation};
  auto pages = context_.cache->read_resident(slice->read);
  if (!pages) return std::nullopt;
  return FileSlice{std::move(*pages), slice->skip, slice->length, slice->version};
}

void FileDataImpl::read_attempt(uint64_t offset, uint64_t length, bool first, Callback<void(Result<FileSlice>)> done) {
  auto slice = slice_of(offset, length);
  if (!slice) return done(FileSlice{.pages = {}, .skip = 0, .length = 0, .generation = version().generation});
  if (auto pages = context_.cache->read_resident(slice->read)) {
    return done(FileSlice{std::move(*pages), slice->skip, slice->length, slice->version});
  }
  auto self = shared_from_this();
  slice->read.source = self;
  const uint64_t skip = slice->skip, found = slice->length;
  const uint32_t version = slice->version;
  context_.cache->read(std::move(slice->read), [=, done = std::move(done)](Result<PageRefs> pages) mutable {
    if (pages) return done(FileSlice{std::move(*pages), skip, found, version});
    // The file ended early: it was truncated behind our back. Look, and answer for what it is now.
    if (pages.error().number != ESTALE || !first) return done(tl::unexpected(pages.error()));
    if (auto looked = self->revalidate(); !looked) return done(tl::unexpected(looked.error()));
    self->read_attempt(offset, length, false, std::move(done));
  });
}

void FileDataImpl::prefetch(PageRange pages) {
  while (pages.count > 0) {
    const uint64_t count = std::min(pages.count, kReadPagesMax);
    auto slice = slice_of(pages.first * kPageSize, count * kPageSize);
    if (!slice) return;
    slice->read.source = shared_from_this();
    context_.cache->prefetch(std::move(slice->read));
    pages = {pages.first + count, pages.count - count};
  }
}

void FileDataImpl::read(uint64_t offset, std::vector<iovec> buffers, IoClass io_class,
                        Callback<void(Result<size_t>)> done) {
  SharedFd fd;
  bool direct = false;
  {
    MutexLock lock(&mutex_);
    fd = read_fd_;
    direct = read_is_direct_;
  }
  if (!fd) return done(fail(EBADF));  // open for writing only
  const int number = fd->get();
  context_.disk->read({.fd = number,
                       .offset = offset,
                       .buffers = std::move(buffers),
                       .io_class = io_class,
                       .drop_behind = !direct,
                       .done = [fd = std::move(fd), done = std::move(done)](Result<size_t> outcome) mutable { done(outcome); }});
}

// ---- writing ----

void FileDataImpl::write(uint64_t offset, std::string_view bytes, bool append, Callback<void(Result<size_t>)> done) {
  if (bytes.empty()) return done(size_t{0});
  if (append) {  // where the end is shows only under the lock
    write_in_order(nullptr, std::string(bytes), std::move(done));
  } else {
    write_in_order(std::make_unique<PreparedWrite>(*context_.cache, offset, bytes), {}, std::move(done));
  }
}

Detached FileDataImpl::write_in_order(std::unique_ptr<PreparedWrite> write, std::string appended,
                                      Callback<void(Result<size_t>)> done) {
  const auto self = shared_from_this();
  const PageRange range = write ? write->range() : kWholeFile;
  const auto ticket = co_await completion_of<RangeLock::Ticket>(
      [&](auto granted) { range_lock_.acquire(range, std::move(granted)); });
  if (!write) write = std::make_unique<PreparedWrite>(*context_.cache, size(), appended);

  const SharedFd fd = any_fd();
  Result<size_t> outcome = fail(EBADF);
  if (fd) {
    if (auto begun = begin_change(fd->get()); !begun) {
      outcome = tl::unexpected(begun.error());
    } else {
      const uint64_t old_size = size();
      context_.cache->begin_change(*cached_, write->range());
      outcome = co_await completion_of<Result<size_t>>(
          [&](auto written) { write_disk(*write, std::move(written)); });
      finish_write(*write, fd->get(), old_size, outcome && *outcome == write->size);
    }
  }
  range_lock_.release(ticket);
  done(outcome);
}

// Head, middle and tail in file order. Like write(2): the bytes that reached the backing, or the error if none did.
Detached FileDataImpl::write_disk(const PreparedWrite& write, Callback<void(Result<size_t>)> done) {
  SharedFd direct, buffered;
  {
    MutexLock lock(&mutex_);
    buffered = buffered_fd_;
    direct = direct_fd_ ? direct_fd_ : buffered_fd_;
  }
  if (!buffered) {
    done(fail(EBADF));
    co_return;
  }
  struct Step {
    const SharedFd& fd;
    uint64_t offset;
    std::vector<iovec> buffers;
    bool whole_pages;
  };
  auto exact = [&](const PreparedWrite::Part& part) {
    return Step{buffered, part.offset, {{const_cast<char*>(part.bytes.data()), part.bytes.size()}}, false};
  };
  std::vector<Step> steps;
  if (!write.head.empty()) steps.push_back(exact(write.head));
  if (write.middle_size > 0) steps.push_back({direct, write.middle_offset, write.middle_buffers(), true});
  if (!write.tail.empty()) steps.push_back(exact(write.tail));
  size_t written = 0;
  for (Step& step : steps) {
    const auto outcome = co_await completion_of<Result<size_t>>([&](auto finished) {
      context_.disk->write({.fd = step.fd->get(),
                            .offset = step.offset,
                            .buffers = std::move(step.buffers),
                            .io_class = IoClass::demand,
                            .drop_behind = step.whole_pages && direct == buffered,
                            .done = std::move(finished)});
    });
    if (!step.whole_pages) set_residue();
    if (!outcome) {
      done(written > 0 ? Result<size_t>(written) : outcome);
      co_return;
    }
    written += *outcome;
  }
  done(written);
}

// Tells the cache. Pages first, then the size: nobody reads past the old end before the new bytes are there. The page that
// held the old end goes in twice, since a read under the old size may have put it back with zeros past that end.
void FileDataImpl::finish_write(PreparedWrite& write, int fd, uint64_t old_size, bool whole) {
  std::vector<KnownPages> changed;
  if (whole) {
    if (!write.head.empty()) changed.push_back(merge_end(write.head, old_size));
    if (write.middle_size > 0) changed.push_back({write.middle_range(), std::move(write.middle)});
    if (!write.tail.empty()) changed.push_back(merge_end(write.tail, old_size));
  } else {
    changed.push_back({write.range(), {}});
  }
  auto publish = [&](const KnownPages& known) {
    if (!known.complete()) return drop(known.range);
    context_.cache->publish(*cached_, key_generation(), known.range, known.pages);
  };
  for (const KnownPages& known : changed) publish(known);
  end_change(fd, true);
  const PageRange old_end{old_size / kPageSize, 1};
  for (const KnownPages& known : changed) {
    if (!known.complete() || known.range.overlaps(old_end)) publish(known);
  }
}

// The whole content of a page that was written in part, if we know the rest: from the cache, or because the page lay past
// the end of the file and is zeros.
KnownPages FileDataImpl::merge_end(const PreparedWrite::Part& part, uint64_t old_size) {
  KnownPages known{part.page(), {}};
  const uint64_t page_start = known.range.first * kPageSize;
  const PageRefs old = context_.cache->peek(*cached_, key_generation(), known.range.first);
  if (old.pages() == 0 && page_start < old_size) return known;
  known.pages = context_.cache->allocate(1);
  if (known.pages.pages() == 0) return known;
  char* fresh = context_.cache->arena().address(known.pages.frame(0));
  if (old.pages() == 1) {
    ::memcpy(fresh, context_.cache->arena().address(old.frame(0)), kPageSize);
  } else {
    ::memset(fresh, 0, kPageSize);
  }
  part.bytes.copy(fresh + (part.offset - page_start), part.bytes.size());
  return known;
}

void FileDataImpl::set_residue() {
  MutexLock lock(&mutex_);
  residue_ = true;
}

// ---- changing ----

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

}  // namespace

std::shared_ptr<FileData> FileData::create(InodeNumber number, FileDataContext* context) {
  return std::make_shared<FileDataImpl>(number, context);
}

}  // namespace sluice
