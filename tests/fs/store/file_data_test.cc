#include "fs/store/file_data.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "cache/unique_fd.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seed.h"
#include "tests/support/temporary_directory.h"

namespace sluice {
namespace {

// One real file, and FileData over it.
struct Fixture {
  TemporaryDirectory directory;
  std::string path = directory / "file";

  explicit Fixture(const std::string& content = {}, bool direct_io = true, const Clock* foreign_clock = nullptr) {
    outside = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    REQUIRE(outside);
    write_outside(0, content);
    ::fsync(outside.get());
    ::posix_fadvise(outside.get(), 0, 0, POSIX_FADV_DONTNEED);
    disk = open_disk({});
    cache = *BlockCache::create({.size_bytes = kCacheSizeMin});
    context.cache = cache.get();
    context.disk = disk.get();
    context.direct_io = direct_io;
    context.stamp_clock = stamp_clock(outside.get());
    if (foreign_clock != nullptr) {
      context.stamp_clock = {.tick = std::chrono::milliseconds(20), .is_foreign = true};
      context.clock = foreign_clock;
    }
    data = FileData::create(2, &context);
    path_fd = UniqueFd(::open(path.c_str(), O_PATH));
    REQUIRE(data->open(path_fd.get(), Access::read_write));
  }
  ~Fixture() {
    data->close(true);
    data.reset();
    disk.reset();
  }

  void write_outside(uint64_t offset, const std::string& bytes) const {
    REQUIRE(::pwrite(outside.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
            static_cast<ssize_t>(bytes.size()));
  }
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
  Result<size_t> write(uint64_t offset, const std::string& bytes, bool append = false) const {
    std::promise<Result<size_t>> promise;
    data->write(offset, bytes, {.append = append}, [&](Result<size_t> written) { promise.set_value(written); });
    return promise.get_future().get();
  }
  Result<void> truncate(uint64_t size) const { return data->truncate(size, SetIdBits::clear); }
  std::string on_disk() const {
    struct stat attributes {};
    ::fstat(outside.get(), &attributes);
    std::string bytes(static_cast<size_t>(attributes.st_size), '?');
    REQUIRE(::pread(outside.get(), bytes.data(), bytes.size(), 0) == attributes.st_size);
    return bytes;
  }
  size_t page_cache_pages() const {
    struct stat attributes {};
    ::fstat(outside.get(), &attributes);
    const size_t pages = (static_cast<size_t>(attributes.st_size) + kPageSize - 1) / kPageSize;
    if (pages == 0) return 0;
    void* map = ::mmap(nullptr, pages * kPageSize, PROT_READ, MAP_SHARED, outside.get(), 0);
    std::vector<unsigned char> resident(pages);
    ::mincore(map, pages * kPageSize, resident.data());
    ::munmap(map, pages * kPageSize);
    return static_cast<size_t>(std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return r & 1; }));
  }

  UniqueFd outside, path_fd;
  std::unique_ptr<Disk> disk;
  std::unique_ptr<BlockCache> cache;
  FileDataContext context;
  std::shared_ptr<FileData> data;
};

std::string pattern(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TEST_CASE("file data: reads are exact to the byte, at the end of file too", "[store][data]") {
  const std::string content = pattern(300'001, 1);
  Fixture f(content);
  CHECK(*f.read(0, 1 << 20) == content);
  CHECK(*f.read(5, 10) == content.substr(5, 10));
  CHECK(*f.read(299'990, 100) == content.substr(299'990));
  CHECK(f.read(300'001, 10)->empty());
  CHECK(f.read(1 << 30, 10)->empty());
}

TEST_CASE("file data: reading leaves nothing in the PageCache", "[store][data]") {
  const std::string content = pattern(1'000'000, 2);
  const bool direct_io = GENERATE(true, false);
  Fixture f(content, direct_io);
  REQUIRE(f.page_cache_pages() == 0);
  CHECK(*f.read(0, 1 << 20) == content);
  CHECK(f.page_cache_pages() == 0);
}

TEST_CASE("file data: a write is in the backing when it returns, and in the cache", "[store][data]") {
  Fixture f(pattern(20'000, 3));
  std::string expected = f.on_disk();
  const std::string bytes = pattern(9'000, 4);
  REQUIRE(*f.write(3'001, bytes) == bytes.size());
  expected.replace(3'001, bytes.size(), bytes);
  CHECK(f.on_disk() == expected);
  CHECK(*f.read(0, 20'000) == expected);
}

TEST_CASE("file data: small appends keep the tail readable without the disk", "[store][data]") {
  Fixture f;
  std::string expected;
  for (int i = 0; i < 100; i++) {
    const std::string line = "line " + std::to_string(i) + "\n";
    REQUIRE(*f.write(0, line, true) == line.size());
    expected += line;
    CHECK(*f.read(0, 1 << 16) == expected);
  }
  CHECK(f.on_disk() == expected);
  CHECK(f.disk->stats().reads == 0);
}

TEST_CASE("file data: our own writes do not count as foreign changes nor flush the cache", "[store][data]") {
  Fixture f(pattern(100'000, 5));
  f.read(0, 100'000);
  const uint64_t reads = f.disk->stats().reads;
  for (uint64_t i = 0; i < 20; i++) f.write(i * 4'000 + 17, pattern(500, i));
  REQUIRE(f.data->revalidate() == false);
  f.read(0, 100'000);
  CHECK(f.context.outside_changes == 0);
  CHECK(f.disk->stats().reads == reads);
}

TEST_CASE("file data: a watch knows which bytes our own changes touched", "[store][data]") {
  Fixture f(pattern(100'000, 5));
  const auto watch = f.data->watch();
  CHECK_FALSE(watch->touched(kAllBytes));
  SECTION("appending touches what lies past the old end") {
    for (int i = 0; i < 100; i++) REQUIRE(f.write(0, "one more line", true));
    CHECK_FALSE(watch->touched({0, 100'000}));
    CHECK(watch->touched({99'999, 100'001}));
  }
  SECTION("writing touches its bytes, not their pages") {
    f.write(50'001, "x");
    CHECK_FALSE(watch->touched({0, 50'001}));
    CHECK(watch->touched({50'001, 50'002}));
    CHECK_FALSE(watch->touched({50'002, 100'000}));
    CHECK_FALSE(f.data->watch()->touched(kAllBytes));
  }
  SECTION("truncating touches what is cut off, or added") {
    REQUIRE(f.data->truncate(70'000, SetIdBits::clear));
    CHECK_FALSE(watch->touched({0, 70'000}));
    CHECK(watch->touched({69'999, 70'001}));
    const auto later = f.data->watch();
    REQUIRE(f.data->truncate(90'000, SetIdBits::clear));
    CHECK_FALSE(later->touched({0, 70'000}));
    CHECK(later->touched({80'000, 80'001}));
  }
  SECTION("punching touches its bytes, allocating none") {
    REQUIRE(f.data->allocate({.mode = FALLOC_FL_KEEP_SIZE, .offset = 0, .length = 100'000}));
    CHECK_FALSE(watch->touched(kAllBytes));
    REQUIRE(f.data->allocate({.mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, .offset = 8192, .length = 8192}));
    CHECK(watch->touched({16'383, 16'384}));
    CHECK_FALSE(watch->touched({16'384, 100'000}));
  }
  SECTION("changing attributes touches nothing") {
    REQUIRE(f.data->change_attributes(
        [&]() -> Result<void> {
          if (::chmod(f.path.c_str(), 0600) != 0) return fail(errno);
          return {};
        },
        f.path_fd.get()));
    CHECK_FALSE(watch->touched(kAllBytes));
  }
  SECTION("a change from outside may have touched anything") {
    f.write_outside(10, "y");
    REQUIRE(f.data->revalidate() == true);
    CHECK(watch->touched({99'000, 99'001}));
  }
}

TEST_CASE("change watches: a change under way touches those who begin to watch", "[store][data]") {
  ChangeWatches watches;
  ChangeWatches::Watch watch;
  watches.begin({10, 20});
  watches.add(&watch);
  CHECK(watch.touched({0, 11}));
  CHECK_FALSE(watch.touched({20, 30}));
  watches.end({10, 20});
  CHECK_FALSE(watches.empty());
  watches.remove(&watch);
  CHECK(watches.empty());
}

TEST_CASE("file data: a foreign change of the same size is seen at the next look", "[store][data]") {
  Fixture f(std::string(50'000, 'a'));
  f.read(0, 50'000);
  const FileVersion before = f.data->version();
  f.write_outside(10'000, std::string(5'000, 'b'));
  REQUIRE(f.data->revalidate() == true);
  CHECK_FALSE(f.data->version().stamp == before.stamp);
  CHECK(*f.read(9'999, 3) == "abb");
  CHECK(f.data->revalidate() == false);
}

// By the manual clock the file is from the future, as from a server whose clock is ahead.
TEST_CASE("file data: a file changed a moment ago is read anew at each open, which breaks nothing off",
          "[store][data]") {
  ManualClock clock;
  Fixture f(std::string(50'000, 'a'), true, &clock);
  auto reads = [&, read = f.disk->stats().reads]() mutable {
    CHECK(f.read(0, 50'000)->size() == 50'000);
    return f.disk->stats().reads - std::exchange(read, f.disk->stats().reads);
  };
  CHECK(reads() == 1);
  const auto watch = f.data->watch();
  for (int open = 0; open < 3; open++) {
    CHECK(f.data->revalidate() == true);
    CHECK_FALSE(f.data->version().trustworthy);
    CHECK(reads() == 1);
    CHECK(reads() == 0);
  }
  CHECK_FALSE(watch->touched(kAllBytes));
  SECTION("only once more when no change can look like the last one any more") {
    clock.advance(std::chrono::milliseconds(21));
    CHECK(f.data->revalidate() == true);
    CHECK(f.data->version().trustworthy);
    CHECK(reads() == 1);
    CHECK(f.data->revalidate() == false);
    CHECK(reads() == 0);
    CHECK_FALSE(watch->touched(kAllBytes));
    CHECK(f.context.outside_changes == 0);
  }
  SECTION("a change that shows breaks off what is under way") {
    f.write_outside(10'000, "b");
    CHECK(f.data->revalidate() == true);
    CHECK(watch->touched(kAllBytes));
    CHECK(f.context.outside_changes == 1);
  }
}

TEST_CASE("file data: what others change under a reply is noticed with the next bytes from the disk", "[store][data]") {
  Fixture f(pattern(100'000, 5));
  const auto watch = f.data->watch();
  f.read(0, 4096);
  f.write(20'000, "own");
  f.read(4096, 4096);
  CHECK_FALSE(watch->touched({0, 20'000}));
  ::unlink(f.path.c_str());  // or renamed over
  ::fchmod(f.outside.get(), 0644);
  f.read(8192, 4096);
  CHECK_FALSE(watch->touched({0, 20'000}));
  f.write_outside(50'000, "x");
  f.read(0, 4096);  // what is cached is as the reply's header says
  CHECK_FALSE(watch->touched({0, 20'000}));
  f.read(90'000, 4096);
  CHECK(watch->touched({0, 20'000}));
  CHECK(f.context.outside_changes == 1);
  CHECK(f.data->revalidate() == false);
  CHECK(f.read(50'000, 1) == "x");
}

TEST_CASE("file data: one's own changes in quick succession keep what is cached until the next open", "[store][data]") {
  ManualClock clock;
  Fixture f(std::string(500'000, 'a'), true, &clock);
  clock.advance(std::chrono::milliseconds(21));
  REQUIRE(f.data->revalidate() == true);
  f.read(0, 500'000);
  const uint64_t reads = f.disk->stats().reads;
  for (uint64_t i = 0; i < 20; i++) f.write(i * 8'192, std::string(4'096, 'b'));
  CHECK(f.read(0, 500'000)->size() == 500'000);
  CHECK(f.disk->stats().reads == reads);
  clock.advance(std::chrono::milliseconds(21));
  f.write(0, "c");
  clock.advance(std::chrono::milliseconds(21));
  CHECK(f.data->revalidate() == true);
  CHECK(f.data->version().trustworthy);
  CHECK(*f.read(0, 500'000) == f.on_disk());
  CHECK(f.disk->stats().reads > reads);
  CHECK(f.data->revalidate() == false);
  CHECK(f.context.outside_changes == 0);
}

TEST_CASE("file data: a file truncated behind our back answers for what it is now", "[store][data]") {
  Fixture f(std::string(200'000, 'a'));
  f.read(0, 10);
  REQUIRE(::ftruncate(f.outside.get(), 70'000) == 0);
  CHECK(f.read(60'000, 50'000)->size() <= 10'000);
  CHECK(f.read(65'000, 50'000)->size() == 5'000);
}

TEST_CASE("file data: bytes cut off do not come back when the file grows again", "[store][data]") {
  Fixture f(std::string(10'000, 'x'));
  f.read(0, 10'000);
  REQUIRE(f.truncate(5'000));
  REQUIRE(f.truncate(12'000));
  CHECK(*f.read(0, 20'000) == std::string(5'000, 'x') + std::string(7'000, '\0'));
  REQUIRE(*f.write(11'000, "end") == 3);
  CHECK(*f.read(0, 20'000) == f.on_disk());
}

TEST_CASE("file data: unaligned writes leave the PageCache once tidied", "[store][data]") {
  Fixture f(pattern(100'000, 6));
  for (uint64_t i = 0; i < 10; i++) f.write(i * 9'000 + 1, pattern(3'000, i));
  REQUIRE(f.data->needs_tidy());
  f.data->tidy();
  CHECK(f.page_cache_pages() == 0);
  CHECK_FALSE(f.data->needs_tidy());
}

TEST_CASE("file data: small writes have 16 MiB in the PageCache at most, and large ones nothing", "[store][data]") {
  constexpr size_t kWritten = size_t{40} << 20;
  Fixture f(std::string(kWritten, 'a'));
  const size_t piece = GENERATE(size_t{64} << 10, size_t{256} << 10);
  const bool direct = piece == 256 << 10;
  const std::string bytes = pattern(kWritten, 7);
  size_t pages_most = 0;
  for (size_t at = 0; at < kWritten; at += piece) {
    REQUIRE(*f.write(at, bytes.substr(at, piece)) == piece);
    if (at % (4 << 20) == 0) pages_most = std::max(pages_most, f.page_cache_pages());
  }
  // The file system may keep the edge of a large folio that is on its way.
  CHECK(pages_most <= (direct ? 0 : (17 << 20) / kPageSize));
  CHECK((pages_most > 0) == !direct);
  CHECK(f.on_disk() == bytes);
  CHECK(f.disk->stats().written_bytes == kWritten);
}

TEST_CASE("file data: a write that fails says why and leaves what the backing holds", "[store][data]") {
  Fixture f(std::string(30'000, 'a'));
  f.read(0, 30'000);
  ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit before {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const struct rlimit lower { .rlim_cur = 40'960, .rlim_max = before.rlim_max };
  ::setrlimit(RLIMIT_FSIZE, &lower);
  const auto beyond = f.write(45'056, std::string(8'192, 'b'));
  const auto across = f.write(20'480, std::string(40'960, 'c'));
  ::setrlimit(RLIMIT_FSIZE, &before);
  CHECK(beyond.error() == Error{EFBIG});
  CHECK((!across || *across <= 20'480));
  CHECK((*f.read(0, 100'000) == f.on_disk()));
}

TEST_CASE("file data: without an open for writing a write is EBADF and changes nothing", "[store][data]") {
  Fixture f(std::string(30'000, 'a'));
  f.data->close(true);
  CHECK(f.write(0, std::string(8'192, 'b')).error() == Error{EBADF});
  REQUIRE(f.data->open(f.path_fd.get(), Access::read_write));
  CHECK((*f.read(0, 30'000) == std::string(30'000, 'a')));
}

size_t descriptors_on(const std::string& path) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry, gone) == path) ++count;
  }
  return count;
}

TEST_CASE("file data: who only writes gets no descriptor to read, and one for large writes with the first of them",
          "[store][data]") {
  Fixture f("");
  f.data->close(true);
  f.data->drop_idle();
  const size_t before = descriptors_on(f.path);
  REQUIRE(f.data->open(f.path_fd.get(), Access::write));
  CHECK(descriptors_on(f.path) == before + 1);
  CHECK(f.write(0, std::string(3'000, 'a')) == 3'000);
  CHECK(descriptors_on(f.path) == before + 1);
  CHECK(f.write(3'000, std::string(1'000'000, 'b')) == 1'000'000);
  CHECK(descriptors_on(f.path) == before + (f.context.direct_io_refused == 0 ? 2 : 1));
  f.data->close(true);
  while (f.data->needs_tidy()) f.data->tidy();
  CHECK(descriptors_on(f.path) == before);
  CHECK(f.context.idle_descriptors == 0);
  REQUIRE(f.data->open(f.path_fd.get(), Access::read_write));
  CHECK((*f.read(0, 2'000'000) == std::string(3'000, 'a') + std::string(1'000'000, 'b')));
  CHECK((f.on_disk() == std::string(3'000, 'a') + std::string(1'000'000, 'b')));
}

// Writes, appends, truncates and reads of random places and sizes against a plain string.
TEST_CASE("file data: a thousand random operations match a model", "[store][data][random]") {
  const bool direct_io = GENERATE(true, false);
  std::mt19937_64 random(test_seed());
  Fixture f({}, direct_io);
  std::string model;
  auto grow = [&](size_t size) {
    if (model.size() < size) model.resize(size, '\0');
  };
  for (int step = 0; step < 1000; step++) {
    const uint64_t offset = random() % 600'000;
    const uint64_t length = 1 + random() % (step % 10 == 0 ? 300'000 : 9'000);
    switch (random() % 10) {
      case 0: {
        const uint64_t size = random() % 400'000;
        REQUIRE(f.truncate(size));
        model.resize(size, '\0');
        break;
      }
      case 1:
      case 2: {
        const std::string bytes = pattern(length % 5'000 + 1, random());
        REQUIRE(*f.write(0, bytes, true) == bytes.size());
        model += bytes;
        break;
      }
      case 3:
      case 4:
      case 5: {
        const std::string bytes = pattern(length, random());
        REQUIRE(*f.write(offset, bytes) == bytes.size());
        grow(offset + length);
        model.replace(offset, length, bytes);
        break;
      }
      default: {
        const std::string expected = offset < model.size() ? model.substr(offset, length) : "";
        INFO("step " << step << " offset " << offset << " length " << length << " size " << model.size());
        REQUIRE((*f.read(offset, length) == expected));
      }
    }
  }
  REQUIRE((f.on_disk() == model));
  CHECK(f.context.outside_changes == 0);
}

TEST_CASE("file data: writers of overlapping ranges leave one of them whole", "[store][data][threads]") {
  Fixture f(std::string(100'000, '.'));
  std::vector<std::thread> writers;
  for (char name : {'a', 'b', 'c'}) {
    writers.emplace_back([&, name] {
      for (int i = 0; i < 50; i++) f.write(10'001, std::string(50'000, name));
    });
  }
  std::thread reader([&] {
    for (int i = 0; i < 200; i++) f.read(static_cast<uint64_t>(i) * 300, 4'096);
  });
  for (auto& writer : writers) writer.join();
  reader.join();
  const std::string now = *f.read(0, 100'000);
  CHECK(now == f.on_disk());
  CHECK(now.substr(10'001, 50'000) == std::string(50'000, now[10'001]));
}

}  // namespace
}  // namespace sluice
