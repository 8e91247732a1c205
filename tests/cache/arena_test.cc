#include "cache/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "cache/assert.h"
#include "cache/unique_fd.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

constexpr uint32_t kUsable = kFramesPerSlab - 1;

std::unique_ptr<Arena> make_arena(uint32_t slabs_max, ReleaseProof proof) {
  auto arena = Arena::create({.slabs_max = slabs_max, .proof = proof});
  REQUIRE(arena.has_value());
  return std::move(*arena);
}

bool has_release_test() {
  if (probe_release_proof() == ReleaseProof::collapse) return true;
  WARN("this kernel has no release test");
  return false;
}

// Proofs that this kernel offers.
std::vector<ReleaseProof> proofs() {
  if (!has_release_test()) return {ReleaseProof::replace};
  return {ReleaseProof::collapse, ReleaseProof::replace};
}

std::vector<FrameRun> take(Arena& arena, uint32_t wanted) {
  std::vector<FrameRun> runs;
  REQUIRE(arena.allocate(wanted, runs) == wanted);
  return runs;
}

std::set<FrameNumber> frames_of(const std::vector<FrameRun>& runs) {
  std::set<FrameNumber> frames;
  for (const FrameRun run : runs) {
    for (uint32_t i = 0; i < run.count; i++) frames.insert(run.first + i);
  }
  return frames;
}

void release_all(Arena& arena, const std::vector<FrameRun>& runs) {
  for (const FrameRun run : runs) arena.release(run);
}

void fill(Arena& arena, FrameRun run, char byte) {
  std::memset(arena.address(run.first), byte, size_t{run.count} * kPageSize);
}

bool has_memory(Arena& arena, FrameRun run) {
  std::vector<unsigned char> resident(run.count);
  REQUIRE(::mincore(arena.address(run.first), size_t{run.count} * kPageSize, resident.data()) == 0);
  return std::all_of(resident.begin(), resident.end(), [](unsigned char page) { return (page & 1) != 0; });
}

// Holds up to 16 pages by reference, as a socket does until its peer has read.
class Borrower {
 public:
  Borrower() {
    int ends[2];
    ASSERT(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);  // not REQUIRE: threads make them too
    reader_ = UniqueFd(ends[0]);
    writer_ = UniqueFd(ends[1]);
  }

  bool borrow(Arena& arena, FrameRun run) {
    arena.mark_lent(run);
    const iovec piece{arena.address(run.first), size_t{run.count} * kPageSize};
    return ::vmsplice(writer_.get(), &piece, 1, 0) == static_cast<ssize_t>(piece.iov_len);
  }

  // Reads that many pages; true when every byte is `byte`.
  bool reads(uint32_t pages, char byte) {
    std::vector<char> bytes(size_t{pages} * kPageSize);
    size_t got = 0;
    while (got < bytes.size()) {
      const ssize_t step = ::read(reader_.get(), bytes.data() + got, bytes.size() - got);
      if (step <= 0) return false;
      got += static_cast<size_t>(step);
    }
    return std::all_of(bytes.begin(), bytes.end(), [byte](char seen) { return seen == byte; });
  }

 private:
  UniqueFd reader_, writer_;
};

TEST_CASE("arena: a wish is one run while a slab has one that long", "[cache][arena]") {
  auto arena = make_arena(2, ReleaseProof::replace);
  for (uint32_t wanted : {1u, 16u, 17u, 100u, 256u}) {
    CAPTURE(wanted);
    CHECK(take(*arena, wanted).size() == 1);
  }
  CHECK(take(*arena, 2 * kUsable - 390 - 20).size() == 2);
}

TEST_CASE("arena: single pages fill holes and leave long runs whole", "[cache][arena]") {
  auto arena = make_arena(1, ReleaseProof::replace);
  const FrameNumber first = take(*arena, kUsable).front().first;
  for (uint32_t hole : {3u, 9u, 200u}) arena->release({first + hole, 1});
  arena->release({first + 100, 2});
  arena->release({first + 64, 16});
  arena->release({first + 400, 20});
  CHECK(frames_of(take(*arena, 1)) == std::set<FrameNumber>{first + 3});
  CHECK(frames_of(take(*arena, 1)) == std::set<FrameNumber>{first + 9});
  const auto block = take(*arena, 16);
  CHECK((block.size() == 1 && block[0].first == first + 64));
  CHECK(take(*arena, 2)[0].first == first + 100);
  // Nothing is that long any more: the longest run, then the rest.
  const auto rest = take(*arena, 21);
  CHECK((rest.size() == 2 && rest[0].count == 20 && rest[1].count == 1));
}

TEST_CASE("arena: never gives more than its slabs hold, nor a slab's last page", "[cache][arena]") {
  for (ReleaseProof proof : proofs()) {
    auto arena = make_arena(3, proof);
    CHECK(arena->stats().slabs == 1);
    CHECK(arena->stats().frames_max == 3 * kUsable);
    CHECK(arena->stats().frames_free == 3 * kUsable);
    std::vector<FrameRun> runs;
    CHECK(arena->allocate(10'000, runs) == 3 * kUsable);
    CHECK(arena->allocate(1, runs) == 0);
    const auto frames = frames_of(runs);
    CHECK(frames.size() == 3 * kUsable);
    CHECK(std::none_of(frames.begin(), frames.end(), [](FrameNumber f) { return f % kFramesPerSlab == kUsable; }));
    for (const FrameRun run : runs) fill(*arena, run, 'x');
    CHECK(arena->stats().slabs == 3);
    CHECK(arena->stats().frames_free == 0);
    release_all(*arena, runs);
    CHECK(arena->stats().frames_free == 3 * kUsable);
  }
}

TEST_CASE("arena: an arena larger than the address space is refused", "[cache][arena]") {
  const auto arena = Arena::create({.slabs_max = UINT32_MAX});
  REQUIRE_FALSE(arena.has_value());
  CHECK(arena.error() == Error{ENOMEM});
}

TEST_CASE("arena: a frame is free when the last of its holders let go", "[cache][arena]") {
  auto arena = make_arena(1, ReleaseProof::replace);
  const FrameRun run = take(*arena, 16).front();
  arena->reference({run.first, 8});
  arena->release(run);
  CHECK(arena->stats().frames_free == kUsable - 8);
  arena->release({run.first, 8});
  CHECK(arena->stats().frames_free == kUsable);
}

TEST_CASE("arena: a lent frame is not given out while a pipe still holds it", "[cache][arena]") {
  if (!has_release_test()) return;
  auto arena = make_arena(1, ReleaseProof::collapse);
  const auto all = take(*arena, kUsable);
  const FrameRun lent{all.front().first + 40, 4};
  fill(*arena, lent, 'a');
  Borrower pipe;
  REQUIRE(pipe.borrow(*arena, lent));
  release_all(*arena, all);
  CHECK(arena->stats().frames_cooling == 4);
  CHECK(arena->stats().frames_free == kUsable - 4);

  const auto others = frames_of(take(*arena, kUsable - 4));
  for (uint32_t i = 0; i < lent.count; i++) CHECK_FALSE(others.contains(lent.first + i));
  CHECK(arena->stats().frames_replaced == 0);

  CHECK(pipe.reads(4, 'a'));
  CHECK(take(*arena, 4).front().first == lent.first);
  CHECK(arena->stats().release_tests > 0);
  CHECK(arena->stats().frames_replaced == 0);
}

TEST_CASE("arena: a reader keeps its bytes when memory is needed and nothing has cooled", "[cache][arena]") {
  for (ReleaseProof proof : proofs()) {
    auto arena = make_arena(1, proof);
    const auto all = take(*arena, kUsable);
    for (const FrameRun run : all) fill(*arena, run, 'n');
    const FrameRun lent{all.front().first + 100, 16};
    fill(*arena, lent, 'a');
    Borrower pipe;
    REQUIRE(pipe.borrow(*arena, lent));
    release_all(*arena, all);

    const auto again = take(*arena, kUsable);
    CHECK(has_memory(*arena, lent));  // or a file system that takes no page faults reads through the page cache
    for (const FrameRun run : again) fill(*arena, run, 'b');
    CHECK(arena->stats().frames_replaced == 16);
    CHECK(arena->stats().frames_cooling == 0);
    CHECK(pipe.reads(16, 'a'));
    CHECK(arena->address(lent.first)[0] == 'b');
  }
}

TEST_CASE("arena: exactly the cooling frames are replaced, their neighbours keep their bytes", "[cache][arena]") {
  for (ReleaseProof proof : proofs()) {
    auto arena = make_arena(1, proof);
    const FrameNumber first = take(*arena, kUsable).front().first;
    for (uint32_t i = 0; i < kUsable; i++) fill(*arena, {first + i, 1}, static_cast<char>(i % 127));
    Borrower pipe;
    for (uint32_t i = 10; i < 40; i += 2) {
      REQUIRE(pipe.borrow(*arena, {first + i, 1}));
      arena->release({first + i, 1});
    }
    CHECK(take(*arena, 3).size() == 3);
    CHECK(arena->stats().frames_replaced == 3);
    CHECK(arena->stats().frames_cooling == 12);
    for (uint32_t i = 0; i < kUsable; i++) {
      if (i >= 10 && i < 40 && i % 2 == 0) continue;
      REQUIRE(arena->address(first + i)[kPageSize - 1] == static_cast<char>(i % 127));
    }
  }
}

TEST_CASE("arena: a busy slab is not tested again and again", "[cache][arena]") {
  if (!has_release_test()) return;
  auto arena = make_arena(1, ReleaseProof::collapse);
  const FrameNumber first = take(*arena, kUsable).front().first;
  Borrower pipe;
  REQUIRE(pipe.borrow(*arena, {first, 1}));  // stays in use and keeps the slab busy
  for (uint32_t i = 100; i < 110; i++) {
    arena->mark_lent({first + i, 1});
    arena->release({first + i, 1});
  }
  for (int i = 0; i < 10; i++) take(*arena, 1);
  CHECK(arena->stats().frames_replaced == 10);
  CHECK(arena->stats().release_tests == 1);
  CHECK(arena->stats().release_tests_busy == 1);
}

TEST_CASE("arena: when the release test goes blind, lent frames are replaced instead", "[cache][arena]") {
  if (!has_release_test()) return;
  auto arena = make_arena(1, ReleaseProof::collapse);
  const auto all = take(*arena, kUsable);
  fill(*arena, {all.front().first, 16}, 'a');
  Borrower pipe;
  REQUIRE(pipe.borrow(*arena, {all.front().first, 16}));
  release_all(*arena, all);
  // Without huge pages MADV_COLLAPSE says EINVAL at once, whoever holds the pages.
  REQUIRE(::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
  CHECK(probe_release_proof() == ReleaseProof::replace);
  const auto again = take(*arena, kUsable);
  REQUIRE(::prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0);
  for (const FrameRun run : again) fill(*arena, run, 'b');
  CHECK(arena->stats().frames_replaced == 16);
  CHECK(pipe.reads(16, 'a'));
}

TEST_CASE("arena: a child process does not inherit the memory", "[cache][arena]") {
  auto arena = make_arena(1, ReleaseProof::replace);
  char* const page = arena->address(take(*arena, 1).front().first);
  page[0] = 'p';
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // Memory that is not there is EFAULT here and no signal. (ThreadSanitizer fills the hole with zeros.)
    char seen = 0;
    const bool there = ::write(ends[1], page, 1) == 1 && ::read(ends[0], &seen, 1) == 1;
    ::_exit(there && seen == 'p' ? 1 : 0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

// The arena against a plain model of it, one thread, random requests.
class Model {
 public:
  Model(Arena& arena, uint32_t slabs_max, uint64_t seed)
      : arena_(arena), slabs_max_(slabs_max), limit_(slabs_max), random_(seed) {}

  void step() {
    if (random_() % 200 == 0) return set_limit(static_cast<uint32_t>(1 + random_() % slabs_max_));
    if (random_() % 200 == 0) return arena_.cool_retiring();
    switch (random_() % 6) {
      case 0: return allocate();
      case 1: return reference();
      case 2: return lend();
      default: return release();
    }
  }

  void finish() {
    while (!held_.empty()) release();
    while (!pipes_.empty()) read_a_pipe();
    // What is lent to nobody leaves the slabs that retire, and the memory the process.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (arena_.stats().slabs_retiring > 0) {
      arena_.cool_retiring();
      REQUIRE(std::chrono::steady_clock::now() < deadline);
    }
    REQUIRE(arena_.stats().slabs <= limit_);
    set_limit(slabs_max_);
    const ArenaStats stats = arena_.stats();
    const uint32_t frames_max = slabs_max_ * kUsable;
    REQUIRE(stats.frames_free + stats.frames_cooling == frames_max);
    REQUIRE(frames_of(take(arena_, frames_max)).size() == frames_max);
  }

 private:
  struct Loan {
    Borrower pipe;
    FrameRun run;
    char byte;
  };

  void set_limit(uint32_t slabs) {
    limit_ = slabs;
    arena_.set_limit(slabs);
    REQUIRE(arena_.stats().frames_max == slabs * kUsable);
  }

  void allocate() {
    const auto wanted = static_cast<uint32_t>(1 + random_() % 40);
    std::vector<FrameRun> runs;
    const auto used =
        static_cast<uint32_t>(std::distance(counts_.begin(), counts_.lower_bound(limit_ * kFramesPerSlab)));
    const uint32_t given = arena_.allocate(wanted, runs);
    REQUIRE(given == std::min(wanted, limit_ * kUsable - used));
    uint32_t total = 0;
    for (const FrameRun run : runs) {
      total += run.count;
      const char byte = static_cast<char>(random_());
      REQUIRE(run.first < limit_ * kFramesPerSlab);
      fill(arena_, run, byte);
      for (uint32_t i = 0; i < run.count; i++) {
        REQUIRE(counts_.emplace(run.first + i, 1).second);
        bytes_[run.first + i] = byte;
      }
      held_.push_back(run);
    }
    REQUIRE(total == given);
  }

  FrameRun some_part() {
    const FrameRun run = held_[random_() % held_.size()];
    const auto skip = static_cast<uint32_t>(random_() % run.count);
    return {run.first + skip, static_cast<uint32_t>(1 + random_() % (run.count - skip))};
  }

  void reference() {
    if (held_.empty()) return;
    const FrameRun run = some_part();
    arena_.reference(run);
    for (uint32_t i = 0; i < run.count; i++) counts_[run.first + i]++;
    held_.push_back(run);
  }

  void release() {
    if (held_.empty()) return;
    std::swap(held_[random_() % held_.size()], held_.back());
    const FrameRun run = held_.back();
    held_.pop_back();
    for (uint32_t i = 0; i < run.count; i++) {
      const FrameNumber frame = run.first + i;
      REQUIRE(arena_.address(frame)[random_() % kPageSize] == bytes_[frame]);
      if (--counts_[frame] == 0) counts_.erase(frame);
    }
    arena_.release(run);
  }

  void lend() {
    if (held_.empty() || (pipes_.size() == 30)) return read_a_pipe();
    const FrameRun part = some_part();
    const FrameRun page{part.first, 1};
    Loan loan{{}, page, bytes_[page.first]};
    REQUIRE(loan.pipe.borrow(arena_, page));
    pipes_.push_back(std::move(loan));
  }

  void read_a_pipe() {
    if (pipes_.empty()) return;
    std::swap(pipes_[random_() % pipes_.size()], pipes_.back());
    REQUIRE(pipes_.back().pipe.reads(1, pipes_.back().byte));
    pipes_.pop_back();
  }

  Arena& arena_;
  const uint32_t slabs_max_;
  uint32_t limit_;
  std::mt19937_64 random_;
  std::map<FrameNumber, uint32_t> counts_;
  std::map<FrameNumber, char> bytes_;
  std::vector<FrameRun> held_;
  std::vector<Loan> pipes_;
};

TEST_CASE("arena: agrees with a model of its counts over random requests, and no reader sees a changed byte",
          "[cache][arena]") {
  for (ReleaseProof proof : proofs()) {
    auto arena = make_arena(4, proof);
    Model model(*arena, 4, test_seed());
    for (int step = 0; step < 20'000; step++) model.step();
    model.finish();
  }
}

// Fills, lends, lets go and reads late, over and over; false when the pipe showed other bytes than it was lent.
bool borrow_for_a_while(Arena& arena, uint64_t seed, int rounds) {
  std::mt19937_64 random(seed);
  bool intact = true;
  for (int round = 0; round < rounds; round++) {
    std::vector<FrameRun> runs;
    if (arena.allocate(static_cast<uint32_t>(1 + random() % 16), runs) == 0) continue;
    const char byte = static_cast<char>(random());
    for (const FrameRun run : runs) fill(arena, run, byte);
    std::optional<Borrower> pipe;
    if (random() % 4 != 0) {
      pipe.emplace();
      intact &= pipe->borrow(arena, runs.front());
    }
    arena.reference(runs.front());
    for (const FrameRun run : runs) arena.release(run);
    arena.release(runs.front());

    std::vector<FrameRun> scribble;
    arena.allocate(static_cast<uint32_t>(random() % 300), scribble);
    for (const FrameRun run : scribble) fill(arena, run, static_cast<char>(~byte));
    if (pipe) intact &= pipe->reads(runs.front().count, byte);
    for (const FrameRun run : scribble) arena.release(run);
  }
  return intact;
}

TEST_CASE("arena: readers keep their bytes while threads fight for memory", "[cache][arena]") {
  for (ReleaseProof proof : proofs()) {
    auto arena = make_arena(2, proof);
    std::atomic<int> intact = 0;
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 4; t++) {
      threads.emplace_back([&arena, &intact, t] { intact += borrow_for_a_while(*arena, test_seed() + t, 500); });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(intact == 4);
    const ArenaStats stats = arena->stats();
    CHECK(stats.slabs == 2);
    CHECK(stats.frames_free + stats.frames_cooling == stats.frames_max);
    CHECK(frames_of(take(*arena, 2 * kUsable)).size() == 2 * kUsable);
  }
}

TEST_CASE("arena: a limit that changes all the time does not hurt those who use the memory", "[cache][arena]") {
  for (ReleaseProof proof : proofs()) {
    auto arena = make_arena(4, proof);
    std::atomic<int> intact = 0;
    std::atomic<int> running = 3;
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 3; t++) {
      threads.emplace_back([&, t] {
        intact += borrow_for_a_while(*arena, test_seed() + t, 500);
        running--;
      });
    }
    std::mt19937_64 random(test_seed());
    while (running > 0) {
      arena->set_limit(static_cast<uint32_t>(1 + random() % 4));
      arena->cool_retiring();
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(intact == 3);
    arena->set_limit(4);
    CHECK(frames_of(take(*arena, 4 * kUsable)).size() == 4 * kUsable);
  }
}

TEST_CASE("arena: shared frames are counted right by threads that hold them together", "[cache][arena]") {
  auto arena = make_arena(1, ReleaseProof::replace);
  const FrameRun run = take(*arena, 16).front();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    arena->reference(run);
    threads.emplace_back([&arena, run] {
      for (int round = 0; round < 5'000; round++) {
        arena->reference(run);
        arena->mark_lent({run.first, 1});
        arena->release(run);
      }
      arena->release(run);
    });
  }
  arena->release(run);
  for (std::thread& thread : threads) thread.join();
  CHECK(arena->stats().frames_cooling == 1);
  CHECK(arena->stats().frames_free == kUsable - 1);
}

}  // namespace
}  // namespace sluice
