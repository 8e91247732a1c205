// Both implementations of Disk run the same cases on real files in the working directory, which must take O_DIRECT.
#include "cache/disk.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <future>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cache/assert.h"
#include "cache/block.h"
#include "cache/ring.h"
#include "cache/transfer.h"
#include "cache/unique_fd.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"
#include "tests/support/temporary_directory.h"

namespace sluice {
namespace {

char byte_at(uint64_t offset) {
  return static_cast<char>((offset * 2654435761u) >> 13);
}

std::string content(uint64_t offset, size_t length) {
  std::string bytes(length, '\0');
  for (size_t i = 0; i < length; ++i) bytes[i] = byte_at(offset + i);
  return bytes;
}

// Page-aligned memory.
class Buffer {
 public:
  explicit Buffer(size_t length) : length_(length), memory_(static_cast<char*>(std::aligned_alloc(kPageSize, length))) {
    std::memset(memory_.get(), 0x55, length);
  }
  char* data() const { return memory_.get(); }
  iovec part(size_t offset, size_t length) const { return {data() + offset, length}; }
  iovec whole() const { return part(0, length_); }
  std::string_view view(size_t offset, size_t length) const { return {data() + offset, length}; }

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  size_t length_;
  std::unique_ptr<char, Free> memory_;
};

// A file without a name that holds content(0, size), not in the PageCache.
class TestFile {
 public:
  explicit TestFile(uint64_t size) {
    const TemporaryDirectory directory;
    const std::string path = directory / "file";
    buffered_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    ASSERT(buffered_);
    direct_.reset(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    ASSERT(direct_);
    const std::string bytes = content(0, size);
    ASSERT(::pwrite(buffered_.get(), bytes.data(), size, 0) == static_cast<ssize_t>(size));
    ASSERT(::fdatasync(buffered_.get()) == 0);
    // The kernel's own flusher may hold pages for a moment.
    do {
      ::posix_fadvise(buffered_.get(), 0, 0, POSIX_FADV_DONTNEED);
    } while (size > 0 && pages_in_page_cache() > 0);
    // No kernel readahead past what is asked; what an owner of a buffered descriptor should do too.
    ::posix_fadvise(buffered_.get(), 0, 0, POSIX_FADV_RANDOM);
  }
  int direct() const { return direct_.get(); }
  int buffered() const { return buffered_.get(); }

  size_t pages_in_page_cache() const {
    struct stat attributes {};
    ASSERT(::fstat(buffered(), &attributes) == 0);
    const auto size = static_cast<size_t>(attributes.st_size);
    void* map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, buffered(), 0);
    ASSERT(map != MAP_FAILED);
    std::vector<unsigned char> resident(pages_of(0, size).count);
    ASSERT(::mincore(map, size, resident.data()) == 0);
    ::munmap(map, size);
    return static_cast<size_t>(std::count_if(resident.begin(), resident.end(), [](auto page) { return page & 1; }));
  }
  std::string bytes(uint64_t offset, size_t length) const {
    std::string read(length, '\0');
    ASSERT(::pread(buffered(), read.data(), length, static_cast<off_t>(offset)) == static_cast<ssize_t>(length));
    return read;
  }

 private:
  UniqueFd buffered_;
  UniqueFd direct_;
};

std::unique_ptr<Disk> open_disk_named(const std::string& name, const DiskOptions& options = {}) {
  if (name == "threads") return open_thread_disk(options);
  Result<std::unique_ptr<Disk>> disk = open_ring_disk(options);
  REQUIRE(disk);
  return std::move(*disk);
}

// The implementation under test; each case runs once with each.
std::string implementation() {
  return GENERATE(as<std::string>{}, "io_uring", "threads");
}

// A request before it is known who waits for it.
struct Range {
  int fd = -1;
  uint64_t offset = 0;
  std::vector<iovec> buffers = {};
  bool drop_behind = false;

  DiskRequest request(Callback<void(Result<size_t>)> done) const {
    return {fd, offset, buffers, IoClass::demand, drop_behind, std::move(done)};
  }
};

Result<size_t> read_and_wait(Disk& disk, const Range& range) {
  std::promise<Result<size_t>> result;
  disk.read(range.request([&result](Result<size_t> got) { result.set_value(got); }));
  return result.get_future().get();
}

Result<size_t> write_and_wait(Disk& disk, const Range& range) {
  std::promise<Result<size_t>> result;
  disk.write(range.request([&result](Result<size_t> got) { result.set_value(got); }));
  return result.get_future().get();
}

}  // namespace

TEST_CASE("disk: a vectored read fills its buffers in order", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const TestFile file(1 << 20);
  const Buffer buffer(64 << 10);
  const auto got = read_and_wait(
      *disk, {.fd = file.direct(),
              .offset = 128 << 10,
              .buffers = {buffer.part(32 << 10, 4 << 10), buffer.part(0, 32 << 10), buffer.part(40 << 10, 8 << 10)}});
  REQUIRE(got == size_t{44 << 10});
  CHECK(buffer.view(32 << 10, 4 << 10) == content(128 << 10, 4 << 10));
  CHECK(buffer.view(0, 32 << 10) == content(132 << 10, 32 << 10));
  CHECK(buffer.view(40 << 10, 8 << 10) == content(164 << 10, 8 << 10));
  CHECK(buffer.view(36 << 10, 4 << 10) == std::string(4 << 10, 0x55));
  CHECK(file.pages_in_page_cache() == 0);
}

TEST_CASE("disk: a request may have 1024 buffers", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const TestFile file(4 << 20);
  const Buffer buffer(4 << 20);
  std::vector<iovec> buffers;
  for (size_t page = 1024; page-- > 0;) buffers.push_back(buffer.part(page * kPageSize, kPageSize));
  REQUIRE(read_and_wait(*disk, {.fd = file.direct(), .buffers = buffers}) == size_t{4 << 20});
  CHECK(buffer.view(0, kPageSize) == content(1023 * kPageSize, kPageSize));
  CHECK(buffer.view(1023 * kPageSize, kPageSize) == content(0, kPageSize));
}

TEST_CASE("disk: a read is short where the file ends, and zero past the end", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const uint64_t size = GENERATE(1, 511, 512, 4096, 4096 + 1536, 8191, 100000);
  const TestFile file(size);
  const Buffer buffer(128 << 10);
  const bool direct = GENERATE(true, false);
  const int fd = direct ? file.direct() : file.buffered();
  CHECK(read_and_wait(*disk, {.fd = fd, .buffers = {buffer.whole()}}) == size_t{size});
  CHECK(buffer.view(0, size) == content(0, size));
  const uint64_t end = pages_of(0, size).end() * kPageSize;
  CHECK(read_and_wait(*disk, {.fd = fd, .offset = end, .buffers = {buffer.whole()}}) == size_t{0});
  CHECK(read_and_wait(*disk, {.fd = fd, .offset = end + (1 << 20), .buffers = {buffer.whole()}}) == size_t{0});
}

TEST_CASE("disk: a request without bytes completes with zero", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const TestFile file(4096);
  CHECK(read_and_wait(*disk, {.fd = file.direct(), .drop_behind = true}) == size_t{0});
  CHECK(write_and_wait(*disk, {.fd = file.direct(), .drop_behind = true}) == size_t{0});
}

TEST_CASE("disk: what was written is in the file, counted, and not in the page cache", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const TestFile file(64 << 10);
  const Buffer buffer(32 << 10);
  const std::string news = content(1000, 32 << 10);
  std::memcpy(buffer.data(), news.data(), news.size());
  const auto put = write_and_wait(
      *disk,
      {.fd = file.direct(), .offset = 48 << 10, .buffers = {buffer.part(0, 4 << 10), buffer.part(4 << 10, 28 << 10)}});
  REQUIRE(put == size_t{32 << 10});
  CHECK(file.pages_in_page_cache() == 0);
  CHECK(file.bytes(0, 48 << 10) == content(0, 48 << 10));
  CHECK(file.bytes(48 << 10, 32 << 10) == news);
  CHECK(disk->stats().writes == 1);
  CHECK(disk->stats().written_bytes == 32 << 10);
  CHECK(disk->stats().errors == 0);
}

TEST_CASE("disk: many threads with a small depth get each completion once, with the right bytes", "[cache][disk]") {
  const std::string name = implementation();
  constexpr uint64_t kThreads = 4;
  constexpr uint64_t kReadsPerThread = 250;
  constexpr uint64_t kReads = kThreads * kReadsPerThread;
  constexpr uint64_t kFilePages = 512;
  const TestFile file(kFilePages * kPageSize);
  const Buffer buffer(kReads * kPageSize);
  std::vector<std::atomic<int>> completions(kReads);
  std::vector<uint64_t> pages(kReads);
  std::atomic<uint64_t> bytes = 0;
  std::mt19937_64 random(test_seed());
  for (uint64_t& page : pages) page = random() % kFilePages;

  auto disk = open_disk_named(name, {.io_depth = 3, .threads_max = 4});
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = t * kReadsPerThread; i < (t + 1) * kReadsPerThread; ++i) {
        disk->read({.fd = file.direct(),
                    .offset = pages[i] * kPageSize,
                    .buffers = {buffer.part(i * kPageSize, kPageSize)},
                    .io_class = i % 3 == 0 ? IoClass::readahead : IoClass::demand,
                    .done = [&, i](Result<size_t> got) {
                      ++completions[i];
                      bytes += got.value_or(0);
                    }});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  disk.reset();  // waits for all

  CHECK(bytes == kReads * kPageSize);
  CHECK(std::all_of(completions.begin(), completions.end(), [](const auto& count) { return count == 1; }));
  for (uint64_t i = 0; i < kReads; ++i) {
    REQUIRE(buffer.view(i * kPageSize, kPageSize) == content(pages[i] * kPageSize, kPageSize));
  }
}

// Empty pipes take the depth; whatever else is in flight, though it should wait, does not let the last one pass, which
// is on demand. Pipes have no offsets: only the ring can read them.
TEST_CASE("disk: no more requests are in flight than the depth allows", "[cache][disk]") {
  constexpr uint32_t kDepth = 3, kRequests = 10;
  auto disk = open_disk_named("io_uring", {.io_depth = kDepth});
  const Buffer buffer(kRequests * kPageSize);
  const std::string page = content(0, kPageSize);
  std::vector<std::array<UniqueFd, 2>> pipes;
  std::mutex mutex;
  std::vector<uint32_t> order;
  std::promise<void> all_but_two;
  for (uint32_t i = 0; i < kRequests; i++) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    pipes.push_back({UniqueFd(ends[0]), UniqueFd(ends[1])});
    if (i >= kDepth) REQUIRE(::write(ends[1], page.data(), page.size()) == ssize_t{kPageSize});
  }
  for (uint32_t i = 0; i < kRequests; i++) {
    disk->read({.fd = pipes[i][0].get(),
                .buffers = {buffer.part(i * kPageSize, kPageSize)},
                .io_class = i + 1 < kRequests ? IoClass::readahead : IoClass::demand,
                .done = [&, i](auto) {
                  const std::lock_guard lock(mutex);
                  order.push_back(i);
                  if (order.size() == kRequests - 2) all_but_two.set_value();
                }});
  }
  REQUIRE(::write(pipes[0][1].get(), page.data(), page.size()) == ssize_t{kPageSize});
  all_but_two.get_future().wait();
  {
    const std::lock_guard lock(mutex);
    CHECK(order == std::vector<uint32_t>{0, 9, 3, 4, 5, 6, 7, 8});  // all by the one place that came free
  }
  for (uint32_t i = 1; i < kDepth; i++) {
    REQUIRE(::write(pipes[i][1].get(), page.data(), page.size()) == ssize_t{kPageSize});
  }
  disk.reset();
  CHECK(order.size() == kRequests);
}

TEST_CASE("disk: demand overtakes readahead that waits", "[cache][disk]") {
  const TestFile file(64 << 10);
  const Buffer buffer(64 << 10);
  auto owner = open_disk_named(implementation(), {.io_depth = 1});
  Disk& disk = *owner;
  std::string order;
  const auto submit = [&](char label, IoClass io_class) {
    disk.read({.fd = file.direct(),
               .buffers = {buffer.part(0, kPageSize)},
               .io_class = io_class,
               .done = [&order, label](Result<size_t>) { order += label; }});
  };
  // As long as its completion runs, the first request has the only slot.
  disk.read({.fd = file.direct(), .buffers = {buffer.part(0, kPageSize)}, .done = [&](Result<size_t>) {
               submit('r', IoClass::readahead);
               submit('s', IoClass::readahead);
               submit('d', IoClass::demand);
               submit('e', IoClass::demand);
             }});
  owner.reset();
  CHECK(order == "ders");
}

TEST_CASE("disk: a completion may submit the next read", "[cache][disk]") {
  const TestFile file(256 << 10);
  const Buffer buffer(256 << 10);
  auto owner = open_disk_named(implementation(), {.io_depth = 2});
  Disk& disk = *owner;
  uint64_t page = 0;
  Callback<void()> next = [&] {
    const uint64_t offset = page++ * kPageSize;
    if (offset == 256 << 10) return;
    disk.read({.fd = file.direct(),
               .offset = offset,
               .buffers = {buffer.part(offset, kPageSize)},
               .done = [&](Result<size_t>) { next(); }});
  };
  next();
  owner.reset();
  CHECK(buffer.view(0, 256 << 10) == content(0, 256 << 10));
}

TEST_CASE("disk: destruction waits for every request, also for those that still queue", "[cache][disk]") {
  const TestFile file(1 << 20);
  const Buffer buffer(1 << 20);
  std::atomic<int> completions = 0;
  {
    const auto disk = open_disk_named(implementation(), {.io_depth = 2, .threads_max = 2});
    for (size_t i = 0; i < 100; ++i) {
      const iovec target = buffer.part(i * kPageSize, kPageSize);
      disk->read({.fd = file.direct(), .buffers = {target}, .done = [&](Result<size_t>) { ++completions; }});
    }
  }
  CHECK(completions == 100);
}

TEST_CASE("disk: destruction right after creation ends", "[cache][disk]") {
  const std::string name = implementation();
  for (int i = 0; i < 100; ++i) open_disk_named(name);
}

TEST_CASE("disk: what `done` owns is gone once it has run", "[cache][disk]") {
  const TestFile file(4096);
  const Buffer buffer(4096);
  const auto disk = open_disk_named(implementation());
  std::promise<void> destroyed;
  std::shared_ptr<void> owned(nullptr, [&](void*) { destroyed.set_value(); });
  disk->read({.fd = file.direct(), .buffers = {buffer.whole()}, .done = [owned = std::move(owned)](Result<size_t>) {}});
  destroyed.get_future().get();
}

TEST_CASE("disk: errors are the system's, and counted", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const Buffer buffer(kPageSize);
  const bool drop_behind = GENERATE(false, true);
  const UniqueFd folder(::open(".", O_RDONLY | O_DIRECTORY));
  const UniqueFd full(::open("/dev/full", O_WRONLY));
  const auto on = [&](int fd) { return Range{.fd = fd, .buffers = {buffer.whole()}, .drop_behind = drop_behind}; };
  CHECK(read_and_wait(*disk, on(-1)) == fail(EBADF));
  CHECK(read_and_wait(*disk, on(full.get())) == fail(EBADF));
  CHECK(read_and_wait(*disk, on(folder.get())) == fail(EISDIR));
  CHECK(write_and_wait(*disk, on(folder.get())) == fail(EBADF));
  CHECK(write_and_wait(*disk, on(full.get())) == fail(ENOSPC));
  CHECK(disk->stats().errors == 5);
  CHECK(disk->stats().reads == 3);
  CHECK(disk->stats().writes == 2);
  CHECK(disk->stats().read_bytes == 0);
  CHECK(disk->stats().written_bytes == 0);
}

TEST_CASE("disk: a buffered read with drop_behind leaves nothing in the page cache", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const TestFile file((1 << 20) + 777);
  const Buffer buffer(2 << 20);
  SECTION("of whole pages in the middle") {
    const auto got = read_and_wait(
        *disk,
        {.fd = file.buffered(), .offset = 256 << 10, .buffers = {buffer.part(0, 64 << 10)}, .drop_behind = true});
    REQUIRE(got == size_t{64 << 10});
    CHECK(buffer.view(0, 64 << 10) == content(256 << 10, 64 << 10));
  }
  SECTION("of everything, past the odd end") {
    const auto got = read_and_wait(*disk, {.fd = file.buffered(), .buffers = {buffer.whole()}, .drop_behind = true});
    REQUIRE(got == size_t{(1 << 20) + 777});
    CHECK(buffer.view(0, *got) == content(0, *got));
  }
  SECTION("of bytes that begin and end inside pages") {
    const auto got = read_and_wait(
        *disk, {.fd = file.buffered(), .offset = 5000, .buffers = {buffer.part(0, 10000)}, .drop_behind = true});
    REQUIRE(got == size_t{10000});
    CHECK(buffer.view(0, 10000) == content(5000, 10000));
  }
  CHECK(file.pages_in_page_cache() == 0);
}

TEST_CASE("disk: a buffered write with drop_behind is written back and dropped", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const TestFile file(64 << 10);
  const Buffer buffer(1 << 20);
  const std::string news = content(7777, 1 << 20);
  std::memcpy(buffer.data(), news.data(), news.size());
  const uint64_t offset = GENERATE(0, 100, 4095, 64 << 10);
  const size_t length = GENERATE(1, 100, 4096, 1 << 20);
  const auto put = write_and_wait(
      *disk, {.fd = file.buffered(), .offset = offset, .buffers = {buffer.part(0, length)}, .drop_behind = true});
  REQUIRE(put == length);
  CHECK(file.pages_in_page_cache() == 0);
  CHECK(file.bytes(offset, length) == news.substr(0, length));
}

TEST_CASE("disk: a write by the calling thread is whole when the call returns, and counted", "[cache][disk]") {
  const auto disk = open_disk_named(implementation());
  const TestFile file(64 << 10);
  std::string news = content(7777, 10000);
  const DiskRequest request{
      .fd = file.buffered(), .offset = 100, .buffers = {{news.data(), 4000}, {&news[4000], 6000}}};
  CHECK(disk->write_now({.fd = request.fd, .offset = request.offset, .buffers = request.buffers}) == size_t{10000});
  CHECK(file.bytes(100, 10000) == news);
  CHECK(disk->write_now({.fd = -1, .offset = 0, .buffers = request.buffers}) == fail(EBADF));
  CHECK(disk->stats().writes == 2);
  CHECK(disk->stats().written_bytes == 10000);
  CHECK(disk->stats().errors == 1);
}

TEST_CASE("disk: without io_uring the threads take over", "[cache][disk]") {
  // The filter holds for the thread that installs it and what that starts.
  std::string name;
  Result<std::unique_ptr<Disk>> refused = fail(0);
  std::thread([&] {
    sock_filter denial[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{.len = std::size(denial), .filter = denial};
    ASSERT(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    ASSERT(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    refused = open_ring_disk({});
    name = open_disk({})->name();
  }).join();
  CHECK(refused == fail(EPERM));
  CHECK(name == "threads");
  CHECK(open_disk({})->name() == "io_uring");
}

TEST_CASE("ring: an operation it was not created for is refused", "[cache][ring]") {
  struct Open final : RingOperation {
    void prepare(io_uring_sqe* entry) override { io_uring_prep_openat(entry, AT_FDCWD, "/", O_RDONLY, 0); }
    void complete(int result) override { answer.set_value(result); }
    std::promise<int> answer;
  } open;
  const auto ring = Ring::create({.entries = 4, .operations = {IORING_OP_NOP}});
  REQUIRE(ring);
  (*ring)->post(&open);
  CHECK(open.answer.get_future().get() == -EACCES);
}

TEST_CASE("ring: more operations than entries all complete", "[cache][ring]") {
  struct Nop final : RingOperation {
    void prepare(io_uring_sqe* entry) override { io_uring_prep_nop(entry); }
    void complete(int result) override {
      ASSERT(result == 0);
      if (--*left == 0) all->set_value();
    }
    std::atomic<int>* left;
    std::promise<void>* all;
  };
  const auto ring = Ring::create({.entries = 2, .operations = {IORING_OP_NOP}});
  REQUIRE(ring);
  std::atomic<int> left = 1000;
  std::promise<void> all;
  std::vector<Nop> nops(1000);
  for (Nop& nop : nops) {
    nop.left = &left;
    nop.all = &all;
    (*ring)->post(&nop);
  }
  all.get_future().get();
}

// Transfers without a disk: the test says how many bytes, or which negative errno, each attempt gives.
namespace {

struct Attempt {
  DiskOperation::Kind kind;
  uint64_t offset;
  uint64_t length;
  friend bool operator==(const Attempt&, const Attempt&) = default;
};

struct FakeRun {
  std::vector<Attempt> attempts;
  Result<size_t> result = fail(0);
};

FakeRun run_fake(Transfer::Direction direction, const Range& range, const std::vector<int64_t>& results) {
  FakeRun run;
  Transfer transfer(direction, range.request([&run](Result<size_t> got) { run.result = got; }));
  for (const int64_t result : results) {
    REQUIRE(!transfer.finished());
    const DiskOperation operation = transfer.next();
    uint64_t length = operation.length;
    for (const iovec& buffer : operation.buffers) length += buffer.iov_len;
    run.attempts.push_back({operation.kind, operation.offset, length});
    transfer.on_result(result);
  }
  REQUIRE(transfer.finished());
  transfer.run_done();
  return run;
}

using Kind = DiskOperation::Kind;
constexpr auto kRead = Transfer::Direction::read;
constexpr auto kWrite = Transfer::Direction::write;

}  // namespace

TEST_CASE("transfer: a short read is resumed on the whole page before the stop", "[cache][disk]") {
  const Buffer buffer(64 << 10);
  const Range range{.offset = 1 << 20, .buffers = {buffer.part(0, 8192), buffer.part(16384, 24576)}};
  SECTION("on a page, inside the first buffer") {
    const auto run = run_fake(kRead, range, {4096, 28672});
    CHECK(run.attempts == std::vector<Attempt>{{Kind::read, 1 << 20, 32768}, {Kind::read, (1 << 20) + 4096, 28672}});
    CHECK(run.result == size_t{32768});
  }
  SECTION("on a sector, inside the second buffer") {
    const auto run = run_fake(kRead, range, {12288 + 512, 20480});
    CHECK(run.attempts == std::vector<Attempt>{{Kind::read, 1 << 20, 32768}, {Kind::read, (1 << 20) + 12288, 20480}});
    CHECK(run.result == size_t{32768});
  }
}

TEST_CASE("transfer: a resumed read goes on in the right memory", "[cache][disk]") {
  const Buffer buffer(64 << 10);
  Transfer transfer(kRead, {.buffers = {buffer.part(0, 8192), buffer.part(16384, 4096), buffer.part(32768, 8192)},
                            .done = [](Result<size_t>) {}});
  transfer.on_result(8192 + 4096 + 4096);
  const DiskOperation rest = transfer.next();
  REQUIRE(rest.buffers.size() == 1);
  CHECK(rest.buffers[0].iov_base == buffer.data() + 32768 + 4096);
  CHECK(rest.buffers[0].iov_len == 4096);
}

TEST_CASE("transfer: a read that stops inside a sector has met the end of the file", "[cache][disk]") {
  const Buffer buffer(32768);
  const auto run = run_fake(kRead, {.buffers = {buffer.whole()}}, {5000});
  CHECK(run.result == size_t{5000});
}

TEST_CASE("transfer: a read that stops on a sector asks once more", "[cache][disk]") {
  const Buffer buffer(32768);
  CHECK(run_fake(kRead, {.buffers = {buffer.whole()}}, {8192, 0}).result == size_t{8192});
  CHECK(run_fake(kRead, {.buffers = {buffer.whole()}}, {512, 512}).result == size_t{512});
  CHECK(run_fake(kRead, {.buffers = {buffer.whole()}}, {0}).result == size_t{0});
}

TEST_CASE("transfer: a file that shrinks while it is read ends where it was seen last", "[cache][disk]") {
  const Buffer buffer(32768);
  CHECK(run_fake(kRead, {.buffers = {buffer.whole()}}, {8192 + 512, 0}).result == size_t{8192});
}

TEST_CASE("transfer: a short write is resumed until it is whole", "[cache][disk]") {
  const Buffer buffer(32768);
  const auto run = run_fake(kWrite, {.buffers = {buffer.whole()}}, {4096 + 512, 8192, 20480});
  CHECK(run.attempts ==
        std::vector<Attempt>{{Kind::write, 0, 32768}, {Kind::write, 4096, 28672}, {Kind::write, 12288, 20480}});
  CHECK(run.result == size_t{32768});
}

TEST_CASE("transfer: a write that stops half-way reports its error", "[cache][disk]") {
  const Buffer buffer(32768);
  CHECK(run_fake(kWrite, {.buffers = {buffer.whole()}}, {4096, -ENOSPC}).result == fail(ENOSPC));
  CHECK(run_fake(kWrite, {.buffers = {buffer.whole()}}, {4096, 0}).result == fail(EIO));
}

TEST_CASE("transfer: a read that fails half-way reports its error", "[cache][disk]") {
  const Buffer buffer(32768);
  CHECK(run_fake(kRead, {.buffers = {buffer.whole()}}, {4096, -EIO}).result == fail(EIO));
}

TEST_CASE("transfer: EINTR and EAGAIN are retried, but not for ever", "[cache][disk]") {
  const Buffer buffer(8192);
  CHECK(run_fake(kRead, {.buffers = {buffer.whole()}}, {-EINTR, -EAGAIN, 4096, -EINTR, 4096}).result == size_t{8192});
  CHECK(run_fake(kRead, {.buffers = {buffer.whole()}}, std::vector<int64_t>(101, -EAGAIN)).result == fail(EAGAIN));
}

TEST_CASE("transfer: drop_behind covers every page the request touched", "[cache][disk]") {
  const Buffer buffer(32768);
  const auto run = run_fake(kWrite, {.offset = 5000, .buffers = {buffer.part(0, 10000)}, .drop_behind = true},
                            {10000, 0, -EINTR, 0});
  CHECK(run.attempts == std::vector<Attempt>{{Kind::write, 5000, 10000},
                                             {Kind::write_back, 4096, 12288},
                                             {Kind::drop, 4096, 12288},
                                             {Kind::drop, 4096, 12288}});
  CHECK(run.result == size_t{10000});
}

TEST_CASE("transfer: a failed write-back fails the write, a failed drop does not", "[cache][disk]") {
  const Buffer buffer(4096);
  const auto write = [&](std::vector<int64_t> results) {
    return run_fake(kWrite, {.buffers = {buffer.whole()}, .drop_behind = true}, results).result;
  };
  CHECK(write({4096, -EIO, 0}) == fail(EIO));
  CHECK(write({-ENOSPC, -EIO, 0}) == fail(ENOSPC));
  CHECK(write({4096, 0, -EINVAL}) == size_t{4096});
  CHECK(write({4096, -ESPIPE, -ESPIPE}) == size_t{4096});
}

}  // namespace sluice
