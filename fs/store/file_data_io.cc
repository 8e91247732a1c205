// Reading and writing: what FileData does for every read and write of a front end.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "cache/log.h"
#include "fs/store/file_data_impl.h"
#include "fs/store/identity.h"
#include "fs/store/path.h"

namespace sluice {
namespace {

// Smaller writes go through the PageCache: 4 KiB take 48 us instead of 170, 128 KiB 100 us instead of 350. From some
// 256 KiB on O_DIRECT is as fast, with less work for the processor.
constexpr uint64_t kDirectWriteMin = uint64_t{256} << 10;

constexpr mode_t kSetIdBits = S_ISUID | S_ISGID;

// As in the kernel; S_ISGID alone is not a set-id bit.
mode_t without_set_id_bits(mode_t mode) {
  return mode & ~((mode & S_IXGRP) != 0 ? kSetIdBits : S_ISUID);
}

struct CacheStatRange {
  uint64_t offset, length;
};
struct CacheStat {
  uint64_t cached, dirty, writeback, evicted, recently_evicted;
};
constexpr long kSysCacheStat = 451;  // Linux 6.5; Debian 12's headers do not have it

// True: what the page has beside the part are zeros past the end of the file.
bool has_no_rest(const PreparedWrite::Part& part, uint64_t old_size) {
  const uint64_t page_start = part.page().first * kPageSize;
  return page_start >= old_size || (part.offset == page_start && part.range().end >= old_size);
}

// What a direct read left in the page cache, if anything: with btrfs all of the compressed extents that it came from.
// That it left nothing costs 0.3 us to find out. What is being written is left to tidy().
void drop_if_buffered(int fd, const ByteRange& bytes) {
  constexpr uint64_t kCompressedExtentMax = uint64_t{128} << 10;
  const uint64_t first = bytes.offset / kCompressedExtentMax * kCompressedExtentMax;
  CacheStatRange range{first,
                       (bytes.end - first + kCompressedExtentMax - 1) / kCompressedExtentMax * kCompressedExtentMax};
  CacheStat found{};
  const bool knows = ::syscall(kSysCacheStat, fd, &range, &found, 0) == 0;
  if (knows && (found.cached == 0 || found.dirty > 0)) return;
  ::posix_fadvise(fd, static_cast<off_t>(range.offset), static_cast<off_t>(range.length), POSIX_FADV_DONTNEED);
}

}  // namespace

// ---- reading ----

std::optional<FileDataImpl::Slice> FileDataImpl::slice_of(uint64_t offset, uint64_t length) {
  Slice slice;
  MutexLock lock(&mutex_);
  slice.read.size = size_locked();
  slice.read.generation = state_.generation;
  if (offset >= slice.read.size || length == 0) return std::nullopt;
  slice.skip = offset % kPageSize;
  slice.length = std::min({length, slice.read.size - offset, kReadPagesMax * kPageSize - slice.skip});
  slice.read.pages = pages_of(offset, slice.length);
  slice.read.file = cached_.get();
  return slice;
}

std::optional<FileSlice> FileDataImpl::read_resident(uint64_t offset, uint64_t length) {
  const auto slice = slice_of(offset, length);
  if (!slice) return FileSlice{};
  auto pages = context_.cache->read_resident(slice->read);
  if (!pages) return std::nullopt;
  return FileSlice{std::move(*pages), slice->skip, slice->length};
}

uint64_t FileDataImpl::read_attempt(const Attempt& attempt, Callback<void(Result<FileSlice>)> done) {
  auto slice = slice_of(attempt.offset, attempt.length);
  if (!slice) {
    done(FileSlice{});
    return 0;
  }
  if (attempt.io_class == IoClass::demand) {
    if (auto pages = context_.cache->read_resident(slice->read)) {
      done(FileSlice{std::move(*pages), slice->skip, slice->length});
      return 0;
    }
  }
  auto self = shared_from_this();
  slice->read.source = self;
  slice->read.io_class = attempt.io_class;
  const uint64_t skip = slice->skip, found = slice->length;
  return context_.cache->read(std::move(slice->read), [=, done = std::move(done)](Result<PageRefs> pages) mutable {
    if (pages) return done(FileSlice{std::move(*pages), skip, found});
    // The file ended early: it was truncated behind our back. Look, and answer for what it is now.
    if (pages.error().number != ESTALE || !attempt.is_first) return done(tl::unexpected(pages.error()));
    if (auto looked = self->revalidate(); !looked) return done(tl::unexpected(looked.error()));
    self->read_attempt({attempt.offset, attempt.length, attempt.io_class, false}, std::move(done));
  });
}

void FileDataImpl::prefetch(PageRange pages) {
  if (context_.health != nullptr && context_.health->is_slow()) return;
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
  if (read_dirty(offset, buffers, done)) return;
  const int number = fd->get();
  const bool drops = direct && context_.may_buffer_direct_io;
  context_.disk->read({.fd = number,
                       .offset = offset,
                       .buffers = std::move(buffers),
                       .io_class = io_class,
                       .drop_behind = !direct,
                       .done = [self = shared_from_this(), fd = std::move(fd), drops, offset,
                                done = std::move(done)](Result<size_t> outcome) mutable {
                         if (outcome) self->check_version(fd->get());
                         self.reset();  // or who waits for the bytes could find it in use
                         if (drops && outcome) drop_if_buffered(fd->get(), {offset, offset + *outcome});
                         done(outcome);
                       }});
}

// ---- writing ----

void FileDataImpl::write(uint64_t offset, std::string_view bytes, const WriteOptions& options,
                         Callback<void(Result<size_t>)> done) {
  // Where the end is shows only under the lock.
  if (options.append) return begin_write(nullptr, std::string(bytes), options.set_id, std::move(done));
  begin_write(std::make_unique<PreparedWrite>(context_.cache, offset, bytes), "", options.set_id, std::move(done));
}

void FileDataImpl::write(std::unique_ptr<PreparedWrite> filled, SetIdBits set_id, Callback<void(Result<size_t>)> done) {
  ASSERT(filled->missing() == 0);
  begin_write(std::move(filled), "", set_id, std::move(done));
}

void FileDataImpl::begin_write(std::unique_ptr<PreparedWrite> write, std::string appended, SetIdBits set_id,
                               Callback<void(Result<size_t>)> done) {
  if (write ? write->size == 0 : appended.empty()) return done(size_t{0});
  if (auto admitted = context_.admit(BackingUse::change); !admitted) return done(tl::unexpected(admitted.error()));
  if (dirty_ != nullptr) return write_when_admitted(std::move(write), std::move(appended), set_id, std::move(done));
  write_in_order(std::move(write), std::move(appended), set_id, std::move(done));
}

Detached FileDataImpl::write_in_order(std::unique_ptr<PreparedWrite> write, std::string appended, SetIdBits set_id,
                                      Callback<void(Result<size_t>)> done) {
  const auto self = shared_from_this();
  const auto caller = std::this_thread::get_id();
  const PageRange range = write ? write->range() : kWholeFile;
  const auto ticket =
      co_await completion_of<RangeLock::Ticket>([&](auto granted) { range_lock_.acquire(range, std::move(granted)); });
  if (!write) write = std::make_unique<PreparedWrite>(context_.cache, size(), appended);
  std::vector<Result<FileSlice>> rest;  // keeps in the cache what delay_write will look for there
  if (dirty_ != nullptr) {
    for (const PageRange page : unknown_ends(*write)) {
      rest.push_back(co_await completion_of<Result<FileSlice>>(
          [&](auto found) { read(page.first * kPageSize, kPageSize, std::move(found)); }));
    }
  }
  if (dirty_ != nullptr && std::this_thread::get_id() != caller)
    co_await completion_of<bool>(
        [&](auto go) { context_.write_back->post([go = std::move(go)]() mutable { go(true); }); });
  if (dirty_ != nullptr) {
    std::optional<Result<size_t>> delayed = delay_write(*write, set_id);
    if (!delayed) {
      if (const auto settled = settle(write->range()); !settled) delayed = tl::unexpected(settled.error());
    }
    if (delayed) {
      range_lock_.release(ticket);
      done(*delayed);
      co_return;
    }
  }

  const SharedFd fd = any_fd();
  Result<size_t> outcome = fail(EBADF);
  if (fd) {
    if (auto begun = begin_change(fd->get(), write->bytes(), set_id); !begun) {
      outcome = tl::unexpected(begun.error());
    } else {
      const uint64_t old_size = size();
      context_.cache->begin_change(*cached_, write->range());
      // Who had to wait goes on by the thread that another write was finished by: no place to wait for the disk.
      const bool may_block = std::this_thread::get_id() == caller;
      outcome = co_await completion_of<Result<size_t>>(
          [&](auto written) { write_disk(*write, may_block, std::move(written)); });
      settle_set_id_bits(fd->get(), set_id);
      finish_write(*write, fd->get(), old_size, outcome && *outcome == write->size);
    }
  }
  range_lock_.release(ticket);
  done(outcome);
}

// The thread that writes has no CAP_FSETID, so a local kernel has taken the bits away, also from those who keep them. A
// server may have left them to anybody, since to it we are root.
void FileDataImpl::settle_set_id_bits(int fd, SetIdBits set_id) {
  mode_t before = 0;
  {
    MutexLock lock(&mutex_);
    if (!state_.clears_set_id || set_id == SetIdBits::clear) before = state_.set_id_bits;
  }
  if (before == 0) return;
  const auto now = read_statx(fd);
  if (!now) return;
  const mode_t mode = now->stx_mode & 07777;
  const mode_t wanted = set_id == SetIdBits::keep ? mode | before : without_set_id_bits(mode);
  if (wanted == mode) return;
  const ActAs identity(Caller{}, ActAs::kSetId);
  if (::fchmod(fd, wanted) != 0) {
    log(LogLevel::warning, "inode {} has the set-id bits {:o} after a change, not {:o}: fchmod: {}", now->stx_ino,
        mode & kSetIdBits, wanted & kSetIdBits, error_text(errno));
  }
}

// Like write(2): the bytes that reached the backing, or the error if none did. A large write goes to the disk, but for
// its ends: head, middle and tail in file order. A small one goes to the backing's PageCache as a whole, which gathers
// what belongs together and takes less time than the disk does.
Detached FileDataImpl::write_disk(const PreparedWrite& write, bool may_block, Callback<void(Result<size_t>)> done) {
  const bool is_large = write.size >= kDirectWriteMin;
  const WriteFds fds = write_fds(is_large && may_block);
  if (!fds.buffered) {
    done(fail(EBADF));
    co_return;
  }
  struct Step {
    const SharedFd& fd;
    ByteRange range;
    std::vector<iovec> buffers;
    bool whole_pages;
  };
  std::vector<Step> steps;
  if (!is_large) {
    steps.push_back({fds.buffered, write.bytes(), write.buffers(), false});
  } else {
    if (!write.head.empty()) steps.push_back({fds.buffered, write.head.range(), {write.head.buffer()}, false});
    if (write.middle_size > 0) steps.push_back({fds.direct, write.middle_bytes(), write.middle_buffers(), true});
    if (!write.tail.empty()) steps.push_back({fds.buffered, write.tail.range(), {write.tail.buffer()}, false});
  }
  size_t written = 0;
  for (Step& step : steps) {
    DiskRequest request{.fd = step.fd->get(),
                        .offset = step.range.offset,
                        .buffers = std::move(step.buffers),
                        .drop_behind = step.whole_pages && !fds.is_direct};
    Result<size_t> outcome = 0;
    may_block = may_block && !step.whole_pages;
    if (may_block) {
      outcome = context_.disk->write_now(std::move(request));
    } else {
      outcome = co_await completion_of<Result<size_t>>([&](auto finished) {
        request.done = std::move(finished);
        context_.disk->write(std::move(request));
      });
    }
    if (!step.whole_pages) note_residue(step.range, may_block);
    if (!outcome) {
      done(written > 0 ? Result<size_t>(written) : outcome);
      co_return;
    }
    written += *outcome;
  }
  done(written);
}

// The pages that the write changed.
std::vector<KnownPages> FileDataImpl::known_pages(PreparedWrite& write, uint64_t old_size) {
  std::vector<KnownPages> changed;
  if (!write.head.empty()) changed.push_back(merge_end(write.head, old_size));
  if (write.middle_size > 0) changed.push_back({write.middle_range(), std::move(write.middle)});
  if (!write.tail.empty()) changed.push_back(merge_end(write.tail, old_size));
  return changed;
}

void FileDataImpl::publish(const KnownPages& known) {
  if (!known.complete()) return drop(known.range);
  context_.cache->publish(*cached_, generation(), known.range, known.pages);
}

// After the new size is known. The page that held the old end goes in twice, since a read under the old size may have
// put it back with zeros past that end.
void FileDataImpl::publish_old_end(const std::vector<KnownPages>& changed, uint64_t old_size) {
  const PageRange old_end{old_size / kPageSize, 1};
  for (const KnownPages& known : changed) {
    if (!known.complete() || known.range.overlaps(old_end)) publish(known);
  }
}

// Tells the cache. Pages first, then the size: nobody reads past the old end before the new bytes are there.
void FileDataImpl::finish_write(PreparedWrite& write, int fd, uint64_t old_size, bool whole) {
  std::vector<KnownPages> changed;
  if (whole) {
    changed = known_pages(write, old_size);
  } else {
    changed.push_back({write.range(), {}});
  }
  for (const KnownPages& known : changed) publish(known);
  end_change(fd, write.bytes());
  publish_old_end(changed, old_size);
}

// A page as readers see it, if it is in memory.
PageRefs FileDataImpl::peek_page(PageRange page) {
  PageRefs found = context_.cache->peek(*cached_, generation(), page.first);
  if (found.pages() == 0 && dirty_ != nullptr) {
    std::vector<DirtyPages::Run> kept = dirty_->peek(page);
    if (!kept.empty()) found = std::move(kept.front().pages);
  }
  return found;
}

// The pages of which the write changes a part, while the rest is on the disk only.
std::vector<PageRange> FileDataImpl::unknown_ends(const PreparedWrite& write) {
  std::vector<PageRange> pages;
  const uint64_t old_size = size();
  for (const PreparedWrite::Part* part : {&write.head, &write.tail}) {
    if (!part->empty() && !has_no_rest(*part, old_size) && peek_page(part->page()).pages() == 0)
      pages.push_back(part->page());
  }
  return pages;
}

// The whole content of a page that was written in part, if we know the rest: from memory, or because there is none.
KnownPages FileDataImpl::merge_end(const PreparedWrite::Part& part, uint64_t old_size) {
  KnownPages known{part.page(), {}};
  const uint64_t page_start = known.range.first * kPageSize;
  const PageRefs old = peek_page(known.range);
  if (old.pages() == 0 && !has_no_rest(part, old_size)) return known;
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

}  // namespace sluice
