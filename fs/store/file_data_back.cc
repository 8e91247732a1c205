// Delayed writes: what a file keeps in the cache that the backing does not have yet, and its way there.
//
// A write is delayed when all its pages are known as wholes: written in full, cached, or past the end of the file. Any
// other one takes the way through, after what is dirty in its range (settle). Readers find dirty pages in the cache, or
// laid over what the disk says when the cache has evicted them.
//
// The order of changes is that of the range lock, which every change holds. What writes dirty pages does not: whoever
// changes the backing in another way first waits until nothing in the range is dirty or on its way.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "cache/log.h"
#include "fs/store/file_data_impl.h"
#include "fs/store/path.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kRunPagesMax = 512;  // one write of the backing
// On their way, of one file. A server that takes them side by side answers none before it has nearly all.
constexpr uint32_t kRunsMax = 32;
constexpr uint64_t kPagesOnWayMax = 4 * kRunPagesMax;
// Extending writes of less go through the PageCache: that is faster, and file systems allocate better.
constexpr uint64_t kDirectExtendMin = uint64_t{256} << 10;
constexpr uint64_t kReserveAligned = uint64_t{1} << 20;
constexpr uint64_t kReserveAheadMax = uint64_t{8} << 20;
constexpr size_t kReservedRangesMax = 256;
constexpr uint64_t kFileSizeMax = INT64_MAX;

// Times before 1970 count backwards, and their nanoseconds forwards.
timespec timespec_of(int64_t ns) {
  const int64_t nanoseconds = (ns % kSecond + kSecond) % kSecond;
  return {.tv_sec = (ns - nanoseconds) / kSecond, .tv_nsec = nanoseconds};
}

uint64_t page_floor(uint64_t bytes) {
  return bytes / kPageSize * kPageSize;
}
uint64_t page_ceiling(uint64_t bytes) {
  return page_floor(bytes + kPageSize - 1);
}

// Of some buffers, the bytes from `skip` on, at most `length`.
template <typename Visit>
void for_each_part(const std::vector<iovec>& buffers, uint64_t skip, uint64_t length, Visit visit) {
  for (const iovec& buffer : buffers) {
    if (length == 0) return;
    if (skip >= buffer.iov_len) {
      skip -= buffer.iov_len;
      continue;
    }
    const uint64_t part = std::min<uint64_t>(length, buffer.iov_len - skip);
    visit(static_cast<char*>(buffer.iov_base) + skip, part);
    length -= part;
    skip = 0;
  }
}

// What a read of the backing has to be completed by.
struct Overlay {
  std::vector<DirtyPages::Run> dirty;
  std::vector<iovec> buffers;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t size = 0;          // of the file
  uint64_t backing_size = 0;  // less: what is between is dirty, or zeros

  bool covers_all() const {
    const uint64_t pages = (std::min(length, page_ceiling(size) - offset)) / kPageSize;
    return dirty.size() == 1 && dirty.front().range.first == offset / kPageSize && dirty.front().range.count >= pages;
  }
  // `found`: bytes that the backing had.
  size_t lay(size_t found) {
    if (found < length && offset + found >= backing_size && size > offset + found) {
      const uint64_t whole = std::min(length, size - offset);
      for_each_part(buffers, found, whole - found, [](char* to, size_t bytes) { ::memset(to, 0, bytes); });
      found = whole;
    }
    for (const DirtyPages::Run& run : dirty) {
      std::vector<iovec> from;
      run.pages.append_iovecs(0, run.range.count * kPageSize, from);
      uint64_t skip = run.range.first * kPageSize - offset;
      for (const iovec& piece : from) {
        const char* bytes = static_cast<const char*>(piece.iov_base);
        for_each_part(buffers, skip, piece.iov_len, [&](char* to, size_t length_of_part) {
          ::memcpy(to, bytes, length_of_part);
          bytes += length_of_part;
        });
        skip += piece.iov_len;
      }
    }
    return found;
  }
};

}  // namespace

// ---- reading ----

// Takes `done` over, or gives another one in its place. True: it ran, the disk need not be asked.
//
// The dirty pages are got before the disk is asked. One that is written and let go meanwhile may be old on the disk
// when that reads it, and is laid over it; one that gets dirty meanwhile detaches the read from the cache.
bool FileDataImpl::read_dirty(uint64_t offset, std::vector<iovec>& buffers, Callback<void(Result<size_t>)>& done) {
  if (!has_dirty_pages()) return false;
  Overlay overlay;
  overlay.buffers = buffers;
  overlay.offset = offset;
  for (const iovec& buffer : buffers) overlay.length += buffer.iov_len;
  overlay.dirty = dirty_->peek(pages_of(offset, overlay.length));
  {
    MutexLock lock(&mutex_);
    overlay.size = size_locked();
    overlay.backing_size = state_.stamp.size;
  }
  if (overlay.dirty.empty() && offset + overlay.length <= overlay.backing_size) return false;
  if (overlay.covers_all()) {
    done(overlay.lay(std::min(overlay.length, overlay.size - offset)));
    return true;
  }
  done = [overlay = std::move(overlay), done = std::move(done)](Result<size_t> found) mutable {
    if (found) found = overlay.lay(*found);
    done(found);
  };
  return false;
}

bool FileDataImpl::is_dirty() const {
  if (has_dirty_pages()) return true;
  MutexLock lock(&mutex_);
  return set_aside_ != nullptr;
}

std::optional<std::chrono::nanoseconds> FileDataImpl::dirty_since() const {
  if (dirty_ == nullptr) return std::nullopt;
  {
    MutexLock lock(&mutex_);
    if (set_aside_ != nullptr) return std::chrono::nanoseconds{};
  }
  return dirty_->dirty_since();
}

// Attributes may have been read before the last dirty page was written, and come here after it.
void FileDataImpl::show(struct ::statx* attributes) const {
  if (dirty_ == nullptr) return;
  const auto time_of = [](int64_t ns) {
    const timespec from = timespec_of(ns);
    statx_timestamp time{};
    time.tv_sec = from.tv_sec;
    time.tv_nsec = static_cast<uint32_t>(from.tv_nsec);
    return time;
  };
  MutexLock lock(&mutex_);
  const Stamp& stamp = state_.stamp;
  if (!delayed_.any && (!state_.known || stamp_of(*attributes).ctime_ns >= stamp.ctime_ns)) return;
  attributes->stx_size = size_locked();
  attributes->stx_mtime = time_of(delayed_.any ? delayed_.mtime_ns : stamp.mtime_ns);
  attributes->stx_ctime = time_of(delayed_.any ? delayed_.ctime_ns : stamp.ctime_ns);
}

// ---- writing ----

void FileDataImpl::write_when_admitted(std::unique_ptr<PreparedWrite> write, std::string appended, SetIdBits set_id,
                                       Callback<void(Result<size_t>)> done) {
  const uint64_t pages = write ? write->range().count : appended.size() / kPageSize + 2;
  context_.write_back->admit(
      pages * kPageSize, [self = shared_from_this(), pages, write = std::move(write), appended = std::move(appended),
                          set_id, done = std::move(done)](Result<void> admitted) mutable {
        if (!admitted) return done(tl::unexpected(admitted.error()));
        WriteBack* const write_back = self->context_.write_back;
        FileDataImpl* const file = self.get();
        file->write_in_order(
            std::move(write), std::move(appended), set_id,
            [self = std::move(self), write_back, pages, done = std::move(done)](Result<size_t> written) mutable {
              write_back->give_back(pages * kPageSize);
              done(written);
            });
      });
}

// The range is held. Nothing: this write has to go through.
std::optional<Result<size_t>> FileDataImpl::delay_write(PreparedWrite& write, SetIdBits set_id) {
  SharedFd fd;
  bool was_delayed = false;
  {
    MutexLock lock(&mutex_);
    fd = buffered_fd_;
    was_delayed = delayed_.any;
  }
  if (!fd || write.bounce) return std::nullopt;
  if (!has_dirty_pages() && !context_.write_back->has_room_for_file()) return std::nullopt;
  // A write takes them away, and who writes must not find them beside his bytes. setxattr waits for delayed ones.
  if (!was_delayed && ::fgetxattr(fd->get(), "security.capability", nullptr, 0) >= 0) return std::nullopt;
  const ByteRange bytes = write.bytes();
  // Of a file that has dirty pages the backing is looked at when they are written.
  if (was_delayed) {
    if (context_.changes != nullptr) context_.changes->count_begin(change_key(number_));
    MutexLock lock(&mutex_);
    join_changes(bytes, set_id);
  } else if (const auto begun = begin_change(fd->get(), bytes, set_id); !begun) {
    return tl::unexpected(begun.error());
  }
  std::optional<Result<size_t>> outcome = put_dirty(fd, write);
  {
    MutexLock lock(&mutex_);
    state_.changes_under_way--;
    end_watched_change(bytes);
    if (delayed_.any) update_delayed(false);  // it may be written already
  }
  count_change();
  if (outcome && *outcome) context_.write_back->add_dirty(shared_from_this());
  return outcome;
}

std::optional<Result<size_t>> FileDataImpl::put_dirty(const SharedFd& fd, PreparedWrite& write) {
  {
    MutexLock lock(&mutex_);
    if ((state_.mode & (S_ISUID | S_ISGID)) != 0) return std::nullopt;  // who writes must take the bits away now
  }
  const uint64_t old_size = size();
  context_.cache->begin_change(*cached_, write.range());
  std::vector<KnownPages> changed = known_pages(write, old_size);
  if (!std::ranges::all_of(changed, &KnownPages::complete)) {
    for (KnownPages& known : changed) {
      if (write.middle_size > 0 && known.range.first == write.middle_range().first)
        write.middle = std::move(known.pages);
    }
    return std::nullopt;
  }
  if (const auto reserved = reserve(fd, write.bytes()); !reserved) return tl::unexpected(reserved.error());
  const std::chrono::nanoseconds now = context_.clock->monotonic();
  begin_delayed(write.offset + write.size);
  for (const KnownPages& known : changed) {
    dirty_->put(known.range, known.pages, now);  // first: a read that finds nothing in the cache finds it there
    publish(known);
  }
  end_delayed(write.offset + write.size);
  publish_old_end(changed, old_size);
  return write.size;
}

// What is put may be on its way before readers see it.
void FileDataImpl::begin_delayed(uint64_t end) {
  MutexLock lock(&mutex_);
  if (!delayed_.any) {
    const Stamp& stamp = state_.stamp;
    delayed_ = {true, stamp.size, stamp.size, stamp.mtime_ns, stamp.ctime_ns};
  }
  if (dirty_->counts().kept() == 0) sync_error_ = 0;  // it was that of others
  delayed_.end = std::max(delayed_.end, end);
}

void FileDataImpl::end_delayed(uint64_t end) {
  const int64_t now_ns = context_.clock->realtime().count();
  MutexLock lock(&mutex_);
  delayed_.size = std::max(delayed_.size, end);
  delayed_.mtime_ns = now_ns;
  delayed_.ctime_ns = std::max(delayed_.ctime_ns + 1, now_ns);
}

void FileDataImpl::set_delayed_size(uint64_t size) {
  MutexLock lock(&mutex_);
  delayed_.size = delayed_.end = size;
}

// After a change of the backing.
void FileDataImpl::update_delayed(bool changed_content) {
  if (dirty_->counts().dirty == 0 && state_.changes_under_way == 0) {
    delayed_.any = false;
    return;
  }
  if (changed_content) {
    delayed_.size = std::max(delayed_.size, state_.stamp.size);
    delayed_.end = std::max(delayed_.end, delayed_.size);
    delayed_.mtime_ns = state_.stamp.mtime_ns;
  }
  delayed_.ctime_ns = std::max(delayed_.ctime_ns, state_.stamp.ctime_ns);
}

// ---- space ----

bool FileDataImpl::is_reserved(const ByteRange& bytes) const {
  return std::ranges::any_of(
      reserved_, [&](const ByteRange& range) { return range.offset <= bytes.offset && bytes.end <= range.end; });
}

void FileDataImpl::add_reserved(ByteRange bytes) {
  std::erase_if(reserved_, [&](const ByteRange& range) {
    if (range.end < bytes.offset || bytes.end < range.offset) return false;
    bytes = {std::min(bytes.offset, range.offset), std::max(bytes.end, range.end)};
    return true;
  });
  if (reserved_.size() >= kReservedRangesMax) reserved_.erase(reserved_.begin());
  reserved_.push_back(bytes);
}

// So that a disk that is full says so to who writes, and not when nobody listens. Ahead of a file that grows, so that
// not every write has to ask. What was allocated ahead in vain goes when the file is closed.
Result<void> FileDataImpl::reserve(const SharedFd& fd, const ByteRange& bytes) {
  if (!context_.reserves_space) return {};
  const ByteRange exact{page_floor(bytes.offset), std::min(page_ceiling(bytes.end), kFileSizeMax)};
  ByteRange wanted = exact;
  {
    MutexLock lock(&mutex_);
    if (is_reserved(exact)) return {};
    const uint64_t size = size_locked();
    if (bytes.end > size) {
      wanted.end = page_ceiling(bytes.end + std::min(size, kReserveAheadMax));
    } else {
      wanted.offset = wanted.offset / kReserveAligned * kReserveAligned;
      wanted.end = std::max(exact.end, std::min(page_ceiling(size), (wanted.end + kReserveAligned - 1) /
                                                                        kReserveAligned * kReserveAligned));
    }
    wanted.end = std::min(wanted.end, kFileSizeMax);
  }
  const auto allocate = [&](const ByteRange& range) {
    const auto length = static_cast<off_t>(range.end - range.offset);
    return ::fallocate(fd->get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(range.offset), length) == 0 ? 0 : errno;
  };
  int error = allocate(wanted);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {  // which what is ahead may be alone
    wanted = exact;
    error = allocate(wanted);
  }
  if (error == EOPNOTSUPP || error == ENOSYS) return {};  // it is reported at fsync
  const uint64_t look = next_look();
  const auto seen = read_stamp(fd->get());
  MutexLock lock(&mutex_);
  if (seen && look > state_.look) adopt(*seen, look);  // it moved the times
  if (error != 0) return fail(error);
  add_reserved(wanted);
  return {};
}

void FileDataImpl::trim_reservation() {
  SharedFd fd;
  uint64_t size = 0;
  {
    MutexLock lock(&mutex_);
    size = state_.stamp.size;
    const bool reaches_past_end =
        std::ranges::any_of(reserved_, [&](const ByteRange& range) { return range.end > page_ceiling(size); });
    if (writers_ > 0 || delayed_.any || !reaches_past_end) return;
    fd = buffered_fd_;
  }
  if (!fd) return;
  const HeldRange held(range_lock_, {size / kPageSize, UINT64_MAX - size / kPageSize});
  if (!begin_change(fd->get(), {}, SetIdBits::keep)) return;
  timespec times[2] = {{0, UTIME_OMIT}, {}};
  bool is_same = false;
  {
    MutexLock lock(&mutex_);
    is_same = size == state_.stamp.size && writers_ == 0 && !delayed_.any;
    times[1] = timespec_of(state_.stamp.mtime_ns);
    reserved_.clear();
  }
  if (is_same && ::ftruncate(fd->get(), static_cast<off_t>(size)) == 0) ::futimens(fd->get(), times);
  end_change(fd->get(), {});
}

// ---- to the backing ----

// What has come back from the disk, for the thread that sent it there.
struct FileDataImpl::Landing {
  struct Landed {
    WriteOfRun write;
    Result<size_t> outcome;
  };
  Mutex mutex;
  CondVar changed;
  std::deque<Landed> landed GUARDED_BY(mutex);

  void add(WriteOfRun write, Result<size_t> outcome) {
    MutexLock lock(&mutex);
    landed.push_back({std::move(write), outcome});
    changed.notify_one();
  }
  Landed take() {
    MutexLock lock(&mutex);
    while (landed.empty()) changed.wait(mutex);
    Landed first = std::move(landed.front());
    landed.pop_front();
    return first;
  }
};

// Writes what is dirty in the range and was put up to then, and waits for what others are writing of it.
Result<void> FileDataImpl::write_dirty(PageRange range, uint64_t put_until) {
  while (dirty_->has_unwritten(range, put_until)) {
    TRY(write_round(range, put_until));
    dirty_->await_idle(range, put_until);
  }
  return {};
}

Result<void> FileDataImpl::write_round(PageRange range, uint64_t put_until) {
  const WriteFds fds = write_fds(true);
  if (!fds.buffered) return fail(EBADF);
  TRY(context_.admit(BackingUse::change));
  TRY(begin_change(fds.buffered->get(), {}, SetIdBits::keep));
  const auto landing = std::make_shared<Landing>();
  DirtyPages::Wanted wanted{range, kRunPagesMax, put_until};
  Result<void> outcome;
  uint32_t on_way = 0;
  uint64_t pages_on_way = 0;
  bool any = false;
  for (;;) {
    while (on_way < kRunsMax && pages_on_way < kPagesOnWayMax) {
      auto run = dirty_->take(wanted);
      if (!run) break;
      wanted.range = {run->range.end(), range.end() - run->range.end()};
      ++on_way;
      pages_on_way += run->range.count;
      submit(fds, write_of(std::move(*run)), landing);
    }
    if (on_way == 0) break;
    Landing::Landed landed = landing->take();
    BackingHealth::begin_next_call();  // a large file takes long on a slow disk that does not hang
    --on_way;
    const DirtyPages::Run& run = landed.write.run;
    pages_on_way -= run.range.count;
    if (landed.outcome) landed.outcome = write_end(fds, landed.write);
    if (landed.outcome) {
      any = true;
      dirty_->written(run);
      context_.write_back->accepted(run.range.count);
    } else {
      dirty_->failed(run);
      outcome = tl::unexpected(landed.outcome.error());
    }
  }
  settle_set_id_bits(fds.buffered->get(), SetIdBits::keep);
  if (any && !context_.is_local) {
    if (const int error = sync_now()) outcome = fail(error);
  }
  if (outcome) restore_mtime(fds.buffered->get());
  if (any) {
    MutexLock lock(&mutex_);
    changes_++;
  }
  end_change(fds.buffered->get(), {});
  if (dirty_->counts().unsynced > 0) context_.write_back->add_unsynced(shared_from_this());
  return outcome;
}

// A server tells the times of what it has got only then. What it says is noted.
int FileDataImpl::sync_now() {
  int error = 0;
  sync_rounds_.alone([&] { error = sync_round(true); });
  if (error != 0) {
    MutexLock lock(&mutex_);
    writing_fails_ = true;
  }
  return error;
}

// By the file's size of now: what it grows by meanwhile is dirty for itself.
FileDataImpl::WriteOfRun FileDataImpl::write_of(DirtyPages::Run run) const {
  const uint64_t start = run.range.first * kPageSize;
  WriteOfRun write{std::move(run), start, start};
  MutexLock lock(&mutex_);
  write.end =
      std::max(start, std::min(write.run.range.end() * kPageSize, delayed_.any ? delayed_.end : state_.stamp.size));
  const bool is_short_extension = write.end > state_.stamp.size && write.end - start < kDirectExtendMin;
  write.direct_end = is_short_extension ? start : page_floor(write.end);
  return write;
}

void FileDataImpl::submit(const WriteFds& fds, WriteOfRun write, const std::shared_ptr<Landing>& landing) {
  const uint64_t start = write.run.range.first * kPageSize;
  if (write.direct_end == start) return landing->add(std::move(write), size_t{0});
  DiskRequest request{.fd = fds.direct->get(), .offset = start, .drop_behind = !fds.is_direct};
  write.run.pages.append_iovecs(0, write.direct_end - start, request.buffers);
  request.done = [write = std::move(write), landing, fd = fds.direct](Result<size_t> written) mutable {
    landing->add(std::move(write), written);
  };
  context_.disk->write(std::move(request));
}

// In the file's order, so that it does not grow before what is below has come.
Result<size_t> FileDataImpl::write_end(const WriteFds& fds, const WriteOfRun& write) {
  if (write.end == write.direct_end) return 0;
  const ByteRange bytes{write.direct_end, write.end};
  DiskRequest request{.fd = fds.buffered->get(), .offset = bytes.offset};
  write.run.pages.append_iovecs(bytes.offset - write.run.range.first * kPageSize, bytes.end - bytes.offset,
                                request.buffers);
  const Result<size_t> outcome = context_.disk->write_now(std::move(request));
  note_residue(bytes, true);
  return outcome;
}

// The time of a write is when it was made, not when the disk heard of it.
void FileDataImpl::restore_mtime(int fd) {
  timespec times[2] = {{0, UTIME_OMIT}, {}};
  {
    MutexLock lock(&mutex_);
    if (!delayed_.any || dirty_->counts().dirty > 0) return;
    times[1] = timespec_of(delayed_.mtime_ns);
  }
  ::futimens(fd, times);  // an error leaves the later time
}

// The range is held, and the backing is about to be changed in another way. What is unsynced is as safe as any write
// through: it must not be written again over what comes now.
Result<void> FileDataImpl::settle(PageRange range) {
  if (!has_dirty_pages()) return {};
  const Result<void> written = write_dirty(range, UINT64_MAX);
  note_writing(written);
  TRY(written);
  dirty_->discard(range);
  context_.write_back->let_go();
  return {};
}

Result<void> FileDataImpl::write_back() {
  Result<void> outcome;
  if (has_dirty_pages()) outcome = write_dirty(kWholeFile, dirty_->now());
  if (outcome) outcome = keep_set_aside();  // it may have turned out only now that somebody was here
  note_writing(outcome);
  if (outcome) trim_reservation();
  return outcome;
}

// Those who have the file open are told once for each time that it begins to fail.
void FileDataImpl::note_writing(const Result<void>& outcome) {
  const int error = outcome ? 0 : outcome.error().number;
  bool begins = false;
  uint64_t pages = dirty_->counts().dirty;
  {
    MutexLock lock(&mutex_);
    begins = error != 0 && !writing_fails_;
    writing_fails_ = error != 0;
    if (begins) write_errors_.note(error);
    if (set_aside_ != nullptr) pages += set_aside_->pages.counts().dirty;
  }
  if (begins) {
    log(LogLevel::warning, "inode {}: {} delayed bytes cannot be written: {}; they are kept, and tried again",
        backing_stamp().ino, pages * kPageSize, error_text(error));
  }
}

void FileDataImpl::synced(uint64_t written_count) {
  dirty_->synced(written_count);
  context_.write_back->let_go();
  if (has_dirty_pages()) {
    if (dirty_->counts().unsynced > 0) context_.write_back->add_unsynced(shared_from_this());
    return;
  }
  drop_write_fds();
}

// After the last writer, when nothing is left to be written.
void FileDataImpl::drop_write_fds() {
  SharedFd direct, buffered;  // closed outside the lock
  MutexLock lock(&mutex_);
  if (writers_ > 0) return;
  direct.swap(direct_fd_);
  if (!residue_.any || read_fd_) buffered.swap(buffered_fd_);
  count_idle(opens_ == 0 && any_fd_locked() != nullptr);
}

// ---- what is not written after all ----

// Not when it has another name or other rights now.
bool FileDataImpl::is_conflict(const Stamp& seen) const {
  Stamp believed = state_.stamp;
  believed.ctime_ns = seen.ctime_ns;
  return believed != seen;
}

void FileDataImpl::set_dirty_aside() {
  std::vector<DirtyPages::Run> runs = dirty_->take_all();
  const uint64_t size = size_locked();
  delayed_.any = false;
  reserved_.clear();
  if (runs.empty()) return;
  if (set_aside_ == nullptr) set_aside_.reset(new SetAside{{&context_.cache->arena(), &context_.write_back->totals()}});
  set_aside_->add(std::move(runs), size);
  write_errors_.note(ESTALE);
}

Result<void> FileDataImpl::keep_set_aside() {
  std::unique_ptr<SetAside> aside;
  {
    MutexLock lock(&mutex_);
    aside = std::move(set_aside_);
  }
  if (aside == nullptr) return {};
  const auto fill = [&](int fd) -> Result<void> {
    for (const DirtyPages::Run& run : aside->pages.peek(kWholeFile)) {
      DiskRequest request{.fd = fd, .offset = run.range.first * kPageSize};
      run.pages.append_iovecs(0, run.range.count * kPageSize, request.buffers);
      TRY(context_.disk->write_now(std::move(request)));
    }
    if (::ftruncate(fd, static_cast<off_t>(aside->size)) != 0 || ::fsync(fd) != 0) return fail(errno);
    return {};
  };
  Result<void> kept = context_.keep_conflict ? context_.keep_conflict(number_, fill) : fail(ENOTSUP);
  if (kept) {
    aside.reset();
    context_.write_back->note_conflict();
    context_.write_back->let_go();
    return {};
  }
  MutexLock lock(&mutex_);
  if (set_aside_ != nullptr) aside->add(set_aside_->pages.take_all(), set_aside_->size);  // another one meanwhile
  set_aside_ = std::move(aside);
  return kept;
}

void FileDataImpl::discard_dirty() {
  if (dirty_ == nullptr) return;
  dirty_->discard(kWholeFile);
  {
    MutexLock lock(&mutex_);
    delayed_.any = false;
  }
  drop_write_fds();
  context_.write_back->forget(this);
  context_.write_back->let_go();
}

void FileDataImpl::removed() {
  bool is_open = false;
  {
    MutexLock lock(&mutex_);
    removed_ = true;
    is_open = opens_ > 0;
  }
  if (!is_open) discard_dirty();
}

bool FileDataImpl::writing_fails() const {
  MutexLock lock(&mutex_);
  return writing_fails_ || sync_error_ != 0;
}

uint64_t FileDataImpl::drop_dirty() {
  if (dirty_ == nullptr) return 0;
  const HeldRange held(range_lock_, kWholeFile);
  uint64_t pages = dirty_->discard(kWholeFile);
  dirty_->await_idle(kWholeFile);
  {
    MutexLock lock(&mutex_);
    if (set_aside_ != nullptr) {
      pages += set_aside_->pages.counts().dirty;
      set_aside_.reset();
    }
    delayed_.any = false;
    writing_fails_ = false;
    sync_error_ = 0;
    state_.generation++;
    if (watches_) watches_->touch_all();
  }
  drop(kWholeFile);
  count_change();
  context_.write_back->note_drop(pages * kPageSize);
  context_.write_back->let_go();
  return pages * kPageSize;
}

}  // namespace sluice
