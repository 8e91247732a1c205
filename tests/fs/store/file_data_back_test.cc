// Delayed writes of one file.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <random>
#include <string>

#include "cache/unique_fd.h"
#include "fs/store/file_data.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seed.h"
#include "tests/support/temporary_directory.h"

namespace {
std::atomic<int> sync_error{0};
int sync_or_fail(long call, int fd) {
  if (sync_error == 0) return static_cast<int>(::syscall(call, fd));
  errno = sync_error;
  return -1;
}
}  // namespace

// In place of the C library's, for this program.
extern "C" int fsync(int fd) {
  return sync_or_fail(SYS_fsync, fd);
}
extern "C" int fdatasync(int fd) {
  return sync_or_fail(SYS_fdatasync, fd);
}

namespace sluice {
namespace {

using namespace std::chrono_literals;

// Fails as it is told; else a real one.
class FaultyDisk final : public Disk {
 public:
  void read(DiskRequest request) override {
    if (read_error != 0) return request.done(fail(read_error));
    if (reads_elsewhere) return disk_->read(std::move(request));
    std::promise<Result<size_t>> promise;
    auto done = std::exchange(request.done, [&](Result<size_t> bytes) { promise.set_value(bytes); });
    disk_->read(std::move(request));
    done(promise.get_future().get());
  }
  void write(DiskRequest request) override {
    ++writes;
    if (error != 0) return request.done(fail(error));
    disk_->write(std::move(request));
  }
  Result<size_t> write_now(DiskRequest request) override {
    ++writes;
    if (error != 0) return fail(error);
    return disk_->write_now(std::move(request));
  }
  DiskStats stats() const override { return disk_->stats(); }
  std::string_view name() const override { return disk_->name(); }

  bool reads_elsewhere = false;  // who waits for a read goes on by the disk's thread, else by his own
  std::atomic<int> read_error{0};
  std::atomic<int> error{0};  // of writes
  std::atomic<int> writes{0};

 private:
  std::unique_ptr<Disk> disk_ = open_disk({});
};

struct Fixture {
  TemporaryDirectory directory;
  std::string path = directory / "file";
  UniqueFd outside, path_fd;
  std::unique_ptr<BlockCache> cache = *BlockCache::create({.size_bytes = kCacheSizeMin});
  FaultyDisk disk;  // ends first
  ManualClock clock;
  FileDataContext context;
  WriteBack back;  // has files
  std::shared_ptr<FileData> data;
  WriteErrors::Told told = 0;
  std::vector<std::string> conflicts;

  explicit Fixture(const std::string& content = {}, const Clock* real_clock = nullptr)
      : back(options_of(real_clock), real_clock != nullptr ? real_clock : &clock,
             [] { return Result<void>(fail(ENOSYS)); }) {
    outside = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    REQUIRE(::pwrite(outside.get(), content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
    context.cache = cache.get();
    context.disk = &disk;
    context.clock = real_clock != nullptr ? real_clock : &clock;
    context.stamp_clock = stamp_clock(outside.get());
    context.write_back = &back;
    context.reserves_space = true;
    context.keep_conflict = [this](InodeNumber, const std::function<Result<void>(int)>& fill) -> Result<void> {
      const std::string kept = directory / ("conflict" + std::to_string(conflicts.size()));
      const UniqueFd fd(::open(kept.c_str(), O_RDWR | O_CREAT, 0600));
      TRY(fill(fd.get()));
      conflicts.push_back(read_file(fd.get()));
      return {};
    };
    data = FileData::create(2, &context);
    path_fd = UniqueFd(::open(path.c_str(), O_PATH));
    REQUIRE(data->open(path_fd.get(), Access::read_write));
  }
  ~Fixture() {
    disk.error = 0;
    data->close(true);
    data.reset();
  }

  static WriteBackOptions options_of(const Clock* real_clock) {
    WriteBackOptions options;
    options.dirty_max_bytes = uint64_t{4} << 20;
    if (real_clock != nullptr) options.expire = 1ms;
    return options;
  }
  static std::string read_file(int fd) {
    struct stat attributes {};
    ::fstat(fd, &attributes);
    std::string bytes(static_cast<size_t>(attributes.st_size), '?');
    REQUIRE(::pread(fd, bytes.data(), bytes.size(), 0) == attributes.st_size);
    return bytes;
  }
  std::string on_disk() const { return read_file(outside.get()); }
  Result<std::string> read(uint64_t offset, uint64_t length) const {
    std::promise<Result<std::string>> promise;
    data->read(offset, length, [&](Result<FileSlice> slice) {
      if (!slice) return promise.set_value(tl::unexpected(slice.error()));
      std::vector<iovec> parts;
      slice->pages.append_iovecs(slice->skip, slice->length, parts);
      std::string bytes;
      for (const iovec& part : parts) bytes.append(static_cast<char*>(part.iov_base), part.iov_len);
      promise.set_value(bytes);
    });
    return promise.get_future().get();
  }
  std::string read_all() const {
    std::string all;
    for (;;) {
      const auto more = read(all.size(), 1 << 20);
      REQUIRE(more);
      if (more->empty()) return all;
      all += *more;
    }
  }
  Result<size_t> write(uint64_t offset, const std::string& bytes, bool append = false) const {
    std::promise<Result<size_t>> promise;
    data->write(offset, bytes, {.append = append}, [&](Result<size_t> written) { promise.set_value(written); });
    return promise.get_future().get();
  }
  Result<void> fsync() { return data->fsync(false, &told); }
  int64_t mtime_shown() const { return data->version().stamp.mtime_ns; }
};

std::string pattern(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Not shown when it fails: they are not text.
bool same(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto differ = std::ranges::mismatch(a, b).in1 - a.begin();
  UNSCOPED_INFO("sizes " << a.size() << " and " << b.size() << ", differ at " << differ);
  return false;
}

int error_of(const Result<void>& outcome) {
  return outcome ? 0 : outcome.error().number;
}

TEST_CASE("delayed writes: a part of a page that is not cached is delayed as well", "[store][back]") {
  const std::string old(50'000, 'o');
  Fixture f(old);
  f.disk.reads_elsewhere = GENERATE(false, true);
  f.back.start();
  std::string expected = old;
  const auto change = [&](uint64_t offset, const std::string& bytes) {
    f.data->evict();
    CHECK(f.write(offset, bytes) == bytes.size());
    expected.replace(offset, bytes.size(), bytes);
    CHECK(f.on_disk() == old);
  };
  change(5'000, "within a page");
  change(12'288 - 5, "across two pages");
  change(20'481, std::string(9'000, 'l'));  // whole pages between two parts
  change(49'152, std::string(848, 'e'));    // all that the last page has: nothing of it has to be read
  change(49'990, "past the end of the file");
  CHECK(f.read_all() == expected);
  CHECK(f.data->is_dirty());
  REQUIRE(f.fsync());
  CHECK(f.on_disk() == expected);
  f.data->evict();
  CHECK(f.read_all() == expected);
}

TEST_CASE("delayed writes: a part of a page whose rest cannot be read is not delayed", "[store][back]") {
  Fixture f(std::string(50'000, 'o'));
  f.data->evict();
  f.disk.read_error = EIO;
  const auto written = f.write(5'000, "bytes");
  f.disk.read_error = 0;
  std::string expected(50'000, 'o');
  expected.replace(5'000, 5, "bytes");
  CHECK(written == 5);
  CHECK(f.on_disk() == expected);
  CHECK(f.read_all() == expected);
}

TEST_CASE("delayed writes: are seen at once and reach the backing at fsync", "[store][back]") {
  Fixture f;
  const std::string bytes = pattern(100'001, 1);
  CHECK(*f.write(0, bytes) == bytes.size());
  CHECK(f.on_disk().empty());
  CHECK(f.data->size() == bytes.size());
  CHECK(same(f.read_all(), bytes));
  f.cache->clear();
  CHECK(same(f.read_all(), bytes));  // what the cache evicted is laid over what the disk says
  REQUIRE(f.fsync());
  CHECK(same(f.on_disk(), bytes));
  CHECK_FALSE(f.data->is_dirty());
  CHECK(f.back.totals().kept() == 0);
}

TEST_CASE("delayed writes: a page known in part goes through, after what is dirty in its range", "[store][back]") {
  const std::string old = pattern(3 * kPageSize, 2);
  Fixture f(old);
  std::string expected = old;
  const auto write = [&](uint64_t offset, const std::string& bytes) {
    CHECK(f.write(offset, bytes));
    expected.replace(offset, bytes.size(), bytes);
  };
  write(0, std::string(kPageSize, 'a'));  // whole: delayed
  write(5, "in a dirty page");            // the rest is known
  CHECK(same(f.on_disk(), old));
  f.disk.read_error = EIO;
  write(kPageSize - 3, "unaligned");  // nothing can be known of the rest of the second page
  f.disk.read_error = 0;
  CHECK(same(f.on_disk(), expected));
  write(0, "and again");  // what is cached is known, too
  CHECK_FALSE(f.on_disk() == expected);
  CHECK(same(f.read_all(), expected));
  REQUIRE(f.fsync());
  CHECK(same(f.on_disk(), expected));
}

TEST_CASE("delayed writes: the time of a file is that of its writes, or what somebody set since", "[store][back]") {
  Fixture f;
  f.clock.advance(1000s);
  CHECK(f.write(0, "one"));
  const int64_t written = f.mtime_shown();
  CHECK(written == f.clock.realtime().count());
  f.clock.advance(5s);
  REQUIRE(f.data->write_back());
  CHECK(f.mtime_shown() == written);
  CHECK(f.write(0, "two"));
  CHECK(f.mtime_shown() == written + 5'000'000'000);
  const timespec times[2] = {{1, 0}, {12345, 678}};
  REQUIRE(f.data->change_attributes(
      [&]() -> Result<void> {
        if (::utimensat(f.path_fd.get(), "", times, AT_EMPTY_PATH) != 0) return fail(errno);
        return {};
      },
      f.path_fd.get(), SetsMtime::yes));
  CHECK(f.mtime_shown() == 12345'000'000'678);
  REQUIRE(f.fsync());
  CHECK(f.mtime_shown() == 12345'000'000'678);
  struct stat attributes {};
  ::fstat(f.outside.get(), &attributes);
  CHECK(attributes.st_mtim.tv_sec == 12345);
}

TEST_CASE("delayed writes: a time that is put back to what it was stays so", "[store][back]") {
  Fixture f("old");
  const timespec time = GENERATE(timespec{12345, 678}, timespec{-1, 999'999'999}, timespec{-2, 0});
  const auto put_back = [&]() -> Result<void> {
    const timespec times[2] = {{1, 0}, time};
    if (::utimensat(f.path_fd.get(), "", times, AT_EMPTY_PATH) != 0) return fail(errno);
    return {};
  };
  REQUIRE(f.data->change_attributes(put_back, f.path_fd.get(), SetsMtime::yes));
  f.clock.advance(1000s);
  for (const char* bytes : {"one", "two"}) {
    CHECK(f.write(0, bytes));
    CHECK(f.mtime_shown() == f.clock.realtime().count());
    REQUIRE(f.data->change_attributes(put_back, f.path_fd.get(), SetsMtime::yes));
  }
  struct ::statx shown = *read_statx(f.path_fd.get());
  f.data->show(&shown);
  CHECK(shown.stx_mtime.tv_sec == time.tv_sec);
  CHECK(shown.stx_mtime.tv_nsec == time.tv_nsec);
  REQUIRE(f.fsync());
  const struct ::statx written = *read_statx(f.path_fd.get());
  CHECK(written.stx_mtime.tv_sec == time.tv_sec);
  CHECK(written.stx_mtime.tv_nsec == time.tv_nsec);
}

TEST_CASE("delayed writes: a copy takes the hole before what is not written yet", "[store][back]") {
  Fixture from, to;
  CHECK(from.write(1 << 20, "end"));
  CHECK(to.data->copy_from(*from.data, {.source_offset = 0, .offset = 0, .length = 1 << 19}) == size_t{1} << 19);
  CHECK(to.data->size() == 1 << 19);
  CHECK(to.data->copy_from(*from.data, {.source_offset = 0, .offset = 0, .length = 2 << 20}) == (1 << 20) + 3);
  CHECK(same(to.read_all(), from.read_all()));
}

TEST_CASE("delayed writes: what goes to a file with capabilities is not delayed, and takes them away",
          "[store][back]") {
  Fixture f("old");
  const uint32_t capability[] = {0x0200'0000, 1 << 10, 0, 0, 0};  // version 2: CAP_NET_BIND_SERVICE
  const char* const name = "security.capability";
  if (::fsetxattr(f.outside.get(), name, capability, sizeof capability, 0) != 0) {
    WARN("skipped: this user or file system cannot have capabilities on files");
    return;
  }
  REQUIRE(f.data->revalidate());
  CHECK(f.write(0, "new"));
  CHECK(::fgetxattr(f.outside.get(), name, nullptr, 0) < 0);
  CHECK(f.on_disk() == "new");
  CHECK(f.write(0, "two"));
  CHECK(f.on_disk() == "new");
}

TEST_CASE("delayed writes: an error of the backing is told to each open once, and the bytes get there",
          "[store][back]") {
  for (const int error : {EIO, ENOSPC, EDQUOT}) {
    for (const int openers : {1, 2, 64}) {
      Fixture f;
      std::vector<WriteErrors::Told> told(static_cast<size_t>(openers), f.data->known_write_errors());
      CHECK(f.write(0, pattern(50'000, 3)));
      f.disk.error = error;
      CHECK_FALSE(f.data->write_back());
      CHECK_FALSE(f.data->write_back());             // the same trouble is not told again
      told.push_back(f.data->known_write_errors());  // opens while nobody was told
      f.disk.error = 0;
      f.clock.advance(60s);
      CHECK(f.back.write_once());
      CHECK(same(f.on_disk(), pattern(50'000, 3)));
      int reports = 0;
      for (int round = 0; round < 3; ++round) {
        for (WriteErrors::Told& one : told) {
          const auto outcome = f.data->fsync(false, &one);
          if (!outcome) CHECK(outcome.error().number == error);
          reports += outcome ? 0 : 1;
        }
      }
      CHECK(reports == openers + 1);
      f.told = f.data->known_write_errors();
    }
  }
}

TEST_CASE("delayed writes: fsync never says that all is well while bytes are missing", "[store][back]") {
  Fixture f;
  CHECK(f.write(0, pattern(9000, 4)));
  f.disk.error = EIO;
  for (int i = 0; i < 3; ++i) CHECK(f.fsync().error().number == EIO);
  CHECK(same(f.read_all(), pattern(9000, 4)));
  f.disk.error = 0;
  CHECK(f.fsync());
  CHECK(same(f.on_disk(), pattern(9000, 4)));
}

TEST_CASE("delayed writes: what fsync cannot keep is told once, and tried again ever later", "[store][back]") {
  Fixture f;
  WriteErrors::Told other = f.data->known_write_errors();
  const std::string content = pattern(uint64_t{2} << 20, 12);  // much of the bound, so it is written at once
  CHECK(f.write(0, content));
  sync_error = EIO;
  for (int i = 0; i < 100; ++i) {
    f.back.write_once();
    f.back.sync_once();
  }
  const int writes_once = f.disk.writes;
  CHECK(f.data->writing_fails());
  f.clock.advance(2s);
  CHECK(f.back.write_once());
  CHECK(f.back.sync_once());
  CHECK(f.disk.writes == 2 * writes_once);
  CHECK(f.back.stats().errors == 2);
  for (int i = 0; i < 3; ++i) CHECK(f.fsync().error().number == EIO);  // it is still so
  sync_error = 0;
  f.clock.advance(60s);
  CHECK(f.back.write_once());
  f.clock.advance(60s);
  f.back.sync_once();
  CHECK_FALSE(f.data->is_dirty());
  CHECK_FALSE(f.data->writing_fails());
  CHECK(f.fsync());
  CHECK(f.data->fsync(false, &other).error().number == EIO);
  CHECK(f.data->fsync(false, &other));
  CHECK(same(f.on_disk(), content));
}

TEST_CASE("delayed writes: a write up to the greatest size that a file may have", "[store][back]") {
  Fixture f;
  const uint64_t last = INT64_MAX - 1;
  const Result<size_t> written = f.write(last, "x");
  if (::pwrite(f.outside.get(), "y", 1, static_cast<off_t>(last)) != 1) {
    CHECK_FALSE(written);  // the file system has smaller ones
  } else {
    CHECK(written);
  }
}

TEST_CASE("delayed writes: what is cut off need not have been written, the page that is cut through must",
          "[store][back]") {
  Fixture f;
  const std::string content = pattern(20'000, 10);
  CHECK(f.write(0, content));
  f.disk.error = ENOSPC;
  CHECK(f.data->truncate(5000, SetIdBits::keep).error().number == ENOSPC);
  CHECK(same(f.read_all(), content));
  CHECK(f.data->truncate(2 * kPageSize, SetIdBits::keep));
  CHECK(same(f.read_all(), content.substr(0, 2 * kPageSize)));
  f.disk.error = 0;
  static_cast<void>(f.fsync());  // tells of the error
  CHECK(f.fsync());
  CHECK(same(f.on_disk(), content.substr(0, 2 * kPageSize)));
}

TEST_CASE("delayed writes: above the bound a write waits for the disk, and hears when it fails", "[store][back]") {
  Fixture f;
  const std::string chunk = pattern(uint64_t{1} << 20, 5);
  CHECK(f.write(0, chunk));
  CHECK(f.write(chunk.size(), chunk));
  std::promise<Result<size_t>> third;
  f.data->write(2 * chunk.size(), chunk, {}, [&](Result<size_t> written) { third.set_value(written); });
  auto outcome = third.get_future();
  CHECK(outcome.wait_for(0s) == std::future_status::timeout);
  CHECK(f.back.stats().waits == 1);
  SECTION("goes on when as much was written") {
    f.back.start();
    CHECK(*outcome.get() == chunk.size());
    CHECK(same(f.read_all(), chunk + chunk + chunk));
  }
  SECTION("is refused when nothing can be written") {
    f.disk.error = ENOSPC;
    f.back.start();
    CHECK(outcome.get().error().number == ENOSPC);
  }
  f.back.stop();
  f.disk.error = 0;
  CHECK(f.data->write_back());
  CHECK(f.data->sync_written());
}

TEST_CASE("delayed writes: a file that somebody else changed keeps that, ours go beside it", "[store][back]") {
  Fixture f(pattern(20'000, 6));
  const std::string ours(2 * kPageSize, 'o');
  CHECK(f.write(kPageSize, ours));
  const std::string theirs = pattern(30'000, 7);
  REQUIRE(::pwrite(f.outside.get(), theirs.data(), theirs.size(), 0) == 30'000);
  SECTION("found by a look") {
    CHECK(*f.data->revalidate());
  }
  SECTION("found when ours are to be written") {}
  REQUIRE(f.data->write_back());
  CHECK(same(f.on_disk(), theirs));
  CHECK(same(f.read_all(), theirs));
  REQUIRE(f.conflicts.size() == 1);
  CHECK(same(f.conflicts[0], std::string(kPageSize, '\0') + ours + std::string(20'000 - 3 * kPageSize, '\0')));
  CHECK(f.fsync().error().number == ESTALE);  // once
  CHECK(f.fsync());
  CHECK(f.back.stats().conflicts == 1);
  CHECK_FALSE(f.data->is_dirty());
}

TEST_CASE(
    "delayed writes: what finds no place beside a file that was changed counts as dirty, and the newest of it is kept",
    "[store][back]") {
  Fixture f(pattern(20'000, 6));
  const auto keep = std::exchange(f.context.keep_conflict, [](auto...) -> Result<void> { return fail(ENOSPC); });
  for (const char ours : {'a', 'b'}) {
    CHECK(f.write(0, std::string(ours == 'a' ? 30'000 : 5000, ours)));
    REQUIRE(::ftruncate(f.outside.get(), 100 + ours) == 0);
    CHECK(f.data->write_back().error().number == ENOSPC);
    CHECK(f.back.stats().dirty_bytes == 8 * kPageSize);
  }
  f.context.keep_conflict = keep;
  CHECK(f.data->write_back());
  CHECK(f.back.stats().dirty_bytes == 0);
  REQUIRE(f.conflicts.size() == 1);
  CHECK(f.conflicts[0].size() == 30'000);
  CHECK(f.conflicts[0].starts_with(std::string(5000, 'b')));
  CHECK(f.conflicts[0].ends_with(std::string(30'000 - 2 * kPageSize, 'a')));
}

TEST_CASE("delayed writes: other rights or another name are no conflict", "[store][back]") {
  Fixture f(pattern(20'000, 6));
  CHECK(f.write(0, std::string(kPageSize, 'o')));
  ::fchmod(f.outside.get(), 0600);
  f.data->revalidate();
  CHECK(f.read(0, 10) == std::string(10, 'o'));
  REQUIRE(f.fsync());
  CHECK(f.conflicts.empty());
  CHECK(f.on_disk().starts_with(std::string(kPageSize, 'o')));
}

TEST_CASE("delayed writes: what was allocated in vain is given back at the end", "[store][back]") {
  Fixture f;
  for (int i = 0; i < 50; ++i) CHECK(f.write(0, pattern(kPageSize, 8), true));
  struct stat attributes {};
  ::fstat(f.outside.get(), &attributes);
  CHECK(attributes.st_blocks * 512 > 50 * 4096);
  f.data->close(true);
  CHECK(f.data->write_back());
  CHECK(f.data->sync_written());
  ::fstat(f.outside.get(), &attributes);
  CHECK(attributes.st_blocks * 512 <= 51 * 4096);  // one for the map of its extents
  REQUIRE(f.data->open(f.path_fd.get(), Access::read_write));
}

TEST_CASE("delayed writes: only a file that is gone, or an administrator, lets go of bytes", "[store][back]") {
  Fixture f(pattern(100, 9));
  CHECK(f.write(0, std::string(kPageSize, 'x')));
  SECTION("dropped") {
    CHECK(f.data->drop_dirty() == kPageSize);
    CHECK(f.back.stats().dropped_bytes == kPageSize);
    CHECK(same(f.read_all(), pattern(100, 9)));
  }
  SECTION("removed: those who have it open still read it") {
    f.data->removed();
    CHECK(same(f.read_all(), std::string(kPageSize, 'x')));
  }
}

// Whether the writer and the syncer are steps of the schedule, or threads beside it.
enum class Beside { steps, threads };

void run_schedules(Beside beside) {
  std::mt19937_64 random(test_seed());
  for (int schedule = 0; schedule < 40; ++schedule) {
    std::string model = pattern(random() % 100'000, random());
    Fixture f(model, beside == Beside::threads ? &system_clock() : nullptr);
    if (beside == Beside::threads) f.back.start();
    f.disk.reads_elsewhere = beside == Beside::threads;
    f.context.reserves_space = schedule % 2 == 0;
    const auto resize = [&](uint64_t size) { model.resize(size, '\0'); };
    for (int step = 0; step < 150; ++step) {
      const uint64_t offset = random() % 120'000;
      const uint64_t length = 1 + random() % 30'000;
      switch (random() % 14) {
        case 0:
        case 1:
        case 2: {
          const std::string bytes = pattern(length, random());
          REQUIRE(*f.write(offset, bytes) == length);
          if (model.size() < offset + length) resize(offset + length);
          model.replace(offset, length, bytes);
          break;
        }
        case 3:
        case 4: {
          const uint64_t page = offset / kPageSize * kPageSize;
          const std::string bytes = pattern((1 + random() % 6) * kPageSize, random());
          REQUIRE(f.write(page, bytes));
          if (model.size() < page + bytes.size()) resize(page + bytes.size());
          model.replace(page, bytes.size(), bytes);
          break;
        }
        case 5: {
          const std::string bytes = pattern(length, random());
          REQUIRE(f.write(0, bytes, true));
          model += bytes;
          if (model.size() < 300'000) break;
          [[fallthrough]];
        }
        case 6:
          REQUIRE(f.data->truncate(offset, SetIdBits::clear));
          resize(offset);
          break;
        case 7: {
          REQUIRE(f.data->allocate({FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length, SetIdBits::clear}));
          if (offset < model.size()) {
            const uint64_t count = std::min(length, model.size() - offset);
            model.replace(offset, count, count, '\0');
          }
          break;
        }
        case 8: f.cache->clear(); break;
        case 9:
          f.clock.advance(6s);
          if (beside == Beside::steps) f.back.write_once();
          break;
        case 10:
          if (beside == Beside::steps) f.back.sync_once();
          break;
        case 11: REQUIRE(error_of(f.fsync()) == 0); break;
        case 12: f.data->tidy(); break;
        default: {
          const auto got = f.read(offset, length);
          REQUIRE(got);
          REQUIRE(same(*got, offset < model.size() ? model.substr(offset, length) : std::string()));
        }
      }
      REQUIRE(f.data->size() == model.size());
    }
    REQUIRE(same(f.read_all(), model));
    REQUIRE(error_of(f.fsync()) == 0);
    REQUIRE(same(f.on_disk(), model));
    REQUIRE(f.conflicts.empty());
    f.back.stop();
  }
}

TEST_CASE("delayed writes: whatever is done to a file, it reads as it should and ends so on the disk",
          "[store][back]") {
  run_schedules(Beside::steps);
}

TEST_CASE("delayed writes: and so it does while others write it to the disk", "[store][back]") {
  run_schedules(Beside::threads);
}

}  // namespace
}  // namespace sluice
