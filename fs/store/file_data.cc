#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cache/assert.h"
#include "cache/log.h"
#include "fs/store/file_data_impl.h"
#include "fs/store/path.h"

namespace sluice {
namespace {

constexpr uint64_t kSmallFileMax = uint64_t{1} << 20;  // the readers of such a file take it in one piece

}  // namespace

Result<SharedFd> reopen(int fd, int flags) {
  const int opened = ::open(ProcPath(fd).c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (opened < 0) return fail(errno);
  return std::make_shared<const UniqueFd>(opened);
}

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
  if (!direct) fd = TRY(reopen(path_fd, O_RDONLY));
  // The kernel's readahead would leave pages behind.
  if (!direct || context_.may_buffer_direct_io) ::posix_fadvise(fd->get(), 0, 0, POSIX_FADV_RANDOM);
  MutexLock lock(&mutex_);
  if (read_fd_) return {};
  read_fd_ = std::move(fd);
  read_is_direct_ = direct;
  return {};
}

Result<void> FileDataImpl::ensure_buffered_fd(int path_fd) {
  {
    MutexLock lock(&mutex_);
    if (buffered_fd_) return {};
  }
  SharedFd buffered = TRY(reopen(path_fd, O_WRONLY));
  MutexLock lock(&mutex_);
  if (!buffered_fd_) buffered_fd_ = std::move(buffered);
  return {};
}

// Opens the direct one if it is not there and this thread may block: most files are small and never need it.
FileDataImpl::WriteFds FileDataImpl::write_fds(bool may_block) {
  WriteFds fds;
  {
    MutexLock lock(&mutex_);
    fds = {buffered_fd_, direct_fd_, direct_fd_ != nullptr};
    may_block = may_block && !direct_writes_refused_;
  }
  if (fds.buffered && !fds.direct && may_block) {
    const auto opened = open_direct(fds.buffered->get(), O_WRONLY);
    MutexLock lock(&mutex_);
    direct_writes_refused_ = opened && !*opened;
    if (opened && *opened) {
      fds = {fds.buffered, *opened, true};
      if (!direct_fd_ && buffered_fd_) direct_fd_ = *opened;
    }
  }
  if (!fds.direct) fds.direct = fds.buffered;
  return fds;
}

// A file that nobody has open, and its descriptors.
void FileDataImpl::count_idle(bool is_idle) {
  if (counted_idle_ == is_idle) return;
  counted_idle_ = is_idle;
  context_.idle_descriptors.fetch_add(is_idle ? 1 : -1);
}

void FileDataImpl::count_open(bool for_writing) {
  opens_++;
  if (for_writing) writers_++;
  count_idle(false);
}

bool FileDataImpl::open_unasked(bool for_writing) {
  MutexLock lock(&mutex_);
  if (!read_fd_ || (for_writing && writers_ == 0) || !state_.known) return false;
  count_open(for_writing);
  return true;
}

bool FileDataImpl::open_cached(const Stamp* seen) {
  MutexLock lock(&mutex_);
  if (!state_.known || size_locked() > kSmallFileMax || cached_->blocks() == 0) return false;
  if (seen != nullptr) {
    if (state_.changes_under_way > 0 || *seen != state_.stamp) return false;
    if (!state_.trustworthy || state_.cache_is_doubtful) return false;
  }
  count_open(false);
  return true;
}

Result<bool> FileDataImpl::open(int path_fd, Access access) {
  const bool for_writing = access != Access::read;
  {
    MutexLock lock(&mutex_);  // counted first: nobody closes what an open relies on
    count_open(for_writing);
  }
  Result<bool> opened = open_descriptors(path_fd, access);
  if (!opened) close(for_writing);
  return opened;
}

Result<bool> FileDataImpl::open_descriptors(int path_fd, Access access) {
  if (access != Access::read) TRY(ensure_buffered_fd(path_fd));
  // A delayed write that changes a part of a page reads the rest, if it can.
  if (access != Access::write) {
    TRY(ensure_read_fd(path_fd));
  } else if (dirty_ != nullptr) {
    static_cast<void>(ensure_read_fd(path_fd));
  }
  return revalidate();
}

void FileDataImpl::close(bool for_writing) {
  if (for_writing) flush_changes();
  bool is_useless = false, is_replaced = false;
  SharedFd direct, buffered, reader;  // closed outside the lock
  {
    MutexLock lock(&mutex_);
    is_useless = removed_ && opens_ == 1;
    is_replaced = for_writing && std::exchange(was_emptied_, false);
  }
  if (is_useless) discard_dirty();
  // Programs that replace a file's content this way expect it to reach the disk soon, as file systems see to.
  if (is_replaced && dirty_ != nullptr) context_.write_back->hurry(this);
  const bool keeps_writing = is_dirty();
  MutexLock lock(&mutex_);
  ASSERT(opens_ > 0);
  opens_--;
  if (for_writing && --writers_ == 0 && !keeps_writing) {
    direct.swap(direct_fd_);
    // What is left in the PageCache can be dropped through any descriptor.
    if (!residue_.any || read_fd_) buffered.swap(buffered_fd_);
  }
  if (opens_ > 0) return;
  closed_at_ = context_.clock->monotonic();
  if (!residue_.any && context_.idle_descriptors.load() >= context_.idle_descriptors_max) reader.swap(read_fd_);
  count_idle(any_fd_locked() != nullptr);
}

void FileDataImpl::close_idle() {
  SharedFd reader, buffered, direct;
  if (is_dirty()) return;
  MutexLock lock(&mutex_);
  if (opens_ > 0) return;
  reader.swap(read_fd_);
  buffered.swap(buffered_fd_);
  direct.swap(direct_fd_);
  count_idle(false);
}

void FileDataImpl::drop_idle() {
  {
    MutexLock lock(&mutex_);
    if (residue_.any) return;
  }
  close_idle();
}

SharedFd FileDataImpl::any_fd() const {
  MutexLock lock(&mutex_);
  return any_fd_locked();
}

bool FileDataImpl::is_open() const {
  MutexLock lock(&mutex_);
  return opens_ > 0;
}

bool FileDataImpl::needs_tidy() const {
  MutexLock lock(&mutex_);
  return residue_.any || is_long_idle();
}

// A descriptor for reading is kept for the next reader, one for writing for what has still to be written.
bool FileDataImpl::is_long_idle() const {
  if (opens_ > 0 || !any_fd_locked()) return false;
  return !read_fd_ || context_.clock->monotonic() - closed_at_ >= context_.idle_descriptor_age;
}

void FileDataImpl::tidy() {
  write_back_residue();
  bool idle = false;
  {
    MutexLock lock(&mutex_);
    idle = is_long_idle();
  }
  if (idle) close_idle();
}

// ---- versions ----

FileVersion FileDataImpl::version() const {
  MutexLock lock(&mutex_);
  FileVersion version{state_.stamp, state_.trustworthy && !state_.cache_is_doubtful && !delayed_.any};
  if (delayed_.any) {
    version.stamp.size = delayed_.size;
    version.stamp.mtime_ns = delayed_.mtime_ns;
    version.stamp.ctime_ns = delayed_.ctime_ns;
  }
  return version;
}

Stamp FileDataImpl::backing_stamp() const {
  MutexLock lock(&mutex_);
  return state_.stamp;
}

uint32_t FileDataImpl::generation() const {
  MutexLock lock(&mutex_);
  return state_.generation;
}

uint64_t FileDataImpl::size() const {
  MutexLock lock(&mutex_);
  return size_locked();
}

class FileDataImpl::OwnWatch final : public ChangeWatch {
 public:
  explicit OwnWatch(FileDataImpl* file) : file_(*file) {
    MutexLock lock(&file_.mutex_);
    if (!file_.watches_) file_.watches_ = std::make_unique<ChangeWatches>();
    file_.watches_->add(&watch_);
  }
  ~OwnWatch() override {
    MutexLock lock(&file_.mutex_);
    file_.watches_->remove(&watch_);
    if (file_.watches_->empty()) file_.watches_.reset();
  }
  bool touched(const ByteRange& bytes) const override { return watch_.touched(bytes); }

 private:
  FileDataImpl& file_;
  ChangeWatches::Watch watch_;
};

std::unique_ptr<ChangeWatch> FileDataImpl::watch() {
  return std::make_unique<OwnWatch>(this);
}

// What a look at the backing showed is what we believe from now on.
void FileDataImpl::adopt(const Stamp& seen, uint64_t look) {
  const std::chrono::nanoseconds now = context_.clock->monotonic();
  if (!state_.known || seen != state_.stamp) state_.first_seen = now;
  state_.known = true;
  state_.stamp = seen;
  state_.look = look;
  const LookTimes times{.since_first = now - state_.first_seen, .realtime = context_.clock->realtime()};
  state_.trustworthy = is_trustworthy(seen, times, context_.stamp_clock);
}

// Compares what a look at the backing showed with what we believe. Looks are numbered when they begin: one that began
// before the stamp we hold says nothing, and while our own changes are under way no look does. Returns true when
// somebody else changed the file.
//
// Of a stamp that was not to be trusted when it was taken, nobody can say: the cache is doubtful. But nothing is known
// to have changed, so no reply under way is broken off.
bool FileDataImpl::judge(const Stamp& seen, uint64_t look) {
  if (look <= state_.look) return false;
  const bool changed = state_.known && seen != state_.stamp && (!has_dirty_pages() || is_conflict(seen));
  if (changed && has_dirty_pages()) set_dirty_aside();
  if (state_.known && !state_.trustworthy) state_.cache_is_doubtful = true;
  adopt(seen, look);
  if (!changed) return false;
  state_.cache_is_doubtful = false;
  state_.generation++;
  if (watches_) watches_->touch_all();
  return true;
}

Result<bool> FileDataImpl::revalidate() {
  const SharedFd fd = any_fd();
  if (!fd) return false;
  const uint64_t look = next_look();
  return believe(TRY(read_stamp(fd->get())), look);
}

// Bytes came from the disk for replies that may have told of another version. By what this machine knows, which is at
// least what it learnt with the bytes: we are on the disk's thread, and a server may hang. And not by the change time,
// which moves when the file gets a link or loses its name: who is sent a file that was replaced gets the old one whole.
void FileDataImpl::check_version(int fd) {
  {
    MutexLock lock(&mutex_);
    if (!watches_) return;
  }
  const uint64_t look = next_look();
  const auto seen = read_known_stamp(fd);
  const Stamp known = backing_stamp();
  if (seen && (seen->size != known.size || seen->mtime_ns != known.mtime_ns)) believe(*seen, look);
}

// True when the generation moved.
bool FileDataImpl::believe(const Stamp& seen, uint64_t look) {
  bool changed = false;
  {
    MutexLock lock(&mutex_);
    if (state_.changes_under_way > 0) return false;
    changed = judge(seen, look);
    if (!changed && !state_.cache_is_doubtful) return false;
    if (!changed) state_.generation++;
    state_.cache_is_doubtful = false;
  }
  if (changed) {
    count_change();  // what is known of the file's attributes is from before
    context_.outside_changes.fetch_add(1);
  }
  drop(kWholeFile);
  return true;
}

// True: there is no other.
bool FileDataImpl::join_changes(const ByteRange& bytes, SetIdBits set_id) {
  const bool alone = state_.changes_under_way++ == 0;
  if (alone) state_.clears_set_id = false;
  if (set_id == SetIdBits::clear) state_.clears_set_id = true;
  if (!watches_) watches_ = std::make_unique<ChangeWatches>();
  watches_->begin(bytes);
  return alone;
}

// An own change begins: what the backing shows now must still be what we believe, else somebody else was here.
Result<void> FileDataImpl::begin_change(int fd, const ByteRange& bytes, SetIdBits set_id) {
  if (context_.changes != nullptr) context_.changes->count_begin(change_key(number_));
  {
    MutexLock lock(&mutex_);
    if (!join_changes(bytes, set_id)) return {};
    state_.set_id_bits = 0;
  }
  const uint64_t look = next_look();
  const auto seen = read_statx(fd);
  bool foreign = false;
  {
    MutexLock lock(&mutex_);
    if (!seen) {
      state_.changes_under_way--;
      end_watched_change(bytes);
      return tl::unexpected(seen.error());
    }
    state_.mode = seen->stx_mode;
    state_.set_id_bits = seen->stx_mode & (S_ISUID | S_ISGID);
    // What began meanwhile may be what it saw.
    foreign = state_.changes_under_way == 1 && judge(stamp_of(*seen), look);
  }
  if (!foreign) return {};
  context_.outside_changes.fetch_add(1);
  drop(kWholeFile);
  return {};
}

void FileDataImpl::end_watched_change(const ByteRange& bytes) {
  watches_->end(bytes);
  if (watches_->empty()) watches_.reset();
}

// The change is done: the stamp that it left is ours. Of several changes at once the last look counts.
void FileDataImpl::end_change(int fd, const ByteRange& bytes) {
  count_change();
  const uint64_t look = next_look();
  const auto seen = read_statx(fd);
  MutexLock lock(&mutex_);
  state_.changes_under_way--;
  end_watched_change(bytes);
  if (!bytes.empty()) changes_++;
  if (seen && look > state_.look) {
    state_.mode = seen->stx_mode;
    adopt(stamp_of(*seen), look);
  }
  if (delayed_.any) update_delayed(!bytes.empty());
}

std::shared_ptr<FileData> FileData::create(InodeNumber number, FileDataContext* context) {
  return std::make_shared<FileDataImpl>(number, context);
}

}  // namespace sluice
