// How the arena finds frames.
//
// Free frames are one bit each, in a map per slab. Slabs are kept in lists by the length of their longest free run:
// exact up to a block (16 frames), by powers of two above. A wish takes the first slab of the shortest list that surely
// fits it, and in there the shortest run that fits; when none fits, the longest run there is, then the rest of the wish
// in the same way. So single pages fill the holes and long runs stay long. It costs the same with 10 slabs or 10,000: a
// bit scan over the lists and one over a map of 512 bits for each run given.
//
// Cooling frames are a second map per slab. Which slab to test: the one with the most to win, since a test costs
// the same for 1 frame and for 511 (lists by powers of two of the count, oldest first). A slab that said busy rests
// for the next kRestAllocates calls that come short of memory. A call runs at most 16 tests (a busy one counts as
// four), then replaces: in the slab that said busy last, so that few huge pages are broken and the others get time.
//
// Two mutexes. `mutex_` guards the maps, lists and counts; it is a leaf and held for about a microsecond. Everything
// that calls the kernel (taking a slab, a release test, replacing: 10 us to milliseconds) happens under
// `reclaim_mutex_` only, taken before `mutex_` and only by an allocation that found too little: releases, references
// and allocations that need no reclaim go on meanwhile. Tests are not run side by side: the kernel drains every CPU's
// LRU caches in each, behind one lock of its own.
//
// Why a test may free what cooled before it began, and only that: a cooling frame has no owner, so nobody can lend it
// again; references on it only go away. A frame that starts to cool while the test walks may have been passed already.
//
// A slab beyond the limit retires: it is in no list and its free frames are not counted as free, but in its map, so
// that a limit that is raised again finds them. Its cooling frames are tested by who waits for the slab
// (cool_retiring).
//
// A frame's word counts its owners, with a bit on top once it was lent. An owner who reads a count of one is
// alone: nobody else may take a reference, so the last release needs no atomic exchange.
#include "cache/arena.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "cache/assert.h"
#include "cache/frame_map.h"
#include "cache/index_list.h"
#include "cache/lazy_array.h"
#include "cache/log.h"
#include "cache/mutex.h"
#include "cache/release_test.h"
#include "cache/slab_memory.h"
#include "cache/slab_supply.h"

namespace sluice {
namespace {

constexpr uint32_t kUsableFrames = kFramesPerSlab - 1;         // the last page is the guard, or unused
constexpr uint32_t kSlabsMax = kNoFrame / kFramesPerSlab - 1;  // frame numbers have 32 bits
constexpr uint32_t kLentBit = uint32_t{1} << 31;
constexpr uint32_t kTestEffortMax = 16;
constexpr uint32_t kBusyEffort = 4;
constexpr uint64_t kRestAllocates = 16;

// Free lists by longest run: 1 to 16 frames one list each, then 17-31, 32-63, ... 256-511.
constexpr uint32_t kFreeLists = 21;
uint32_t free_list_of(uint32_t run) {
  return run <= kPagesPerBlock ? run - 1 : 11 + static_cast<uint32_t>(std::bit_width(run));
}
// The first list whose slabs all have a run of `wanted`; kFreeLists when none promises it.
uint32_t free_list_that_fits(uint32_t wanted) {
  return wanted <= kPagesPerBlock + 1 ? wanted - 1 : 12 + static_cast<uint32_t>(std::bit_width(wanted - 1));
}

// Cooling lists by count: 1, 2-3, 4-7, ... 256-511.
constexpr uint32_t kCoolingLists = 9;
uint32_t cooling_list_of(uint32_t frames) {
  return static_cast<uint32_t>(std::bit_width(frames)) - 1;
}

struct Slab {
  FrameMap free;
  FrameMap cooling;
  ListLink free_link;     // in the list of `longest_free`, unless 0
  ListLink cooling_link;  // in the list of `cooling_frames`, unless 0, or in the list of resting slabs
  uint64_t rests_until;   // by the count of reclaims
  uint16_t longest_free;
  uint16_t cooling_frames;
  bool present;
  bool retiring;
  bool resting;
  bool half_replaced;  // the replaced part of its huge page may still be charged to us
};

using FreeList = IndexList<Slab, &Slab::free_link>;
using CoolingList = IndexList<Slab, &Slab::cooling_link>;

enum class Dropped { shared, free, lent };

Dropped drop_reference(std::atomic<uint32_t>& count) {
  uint32_t before = count.load(std::memory_order_acquire);
  ASSERT((before & ~kLentBit) != 0);
  if ((before & ~kLentBit) > 1) {
    before = count.fetch_sub(1, std::memory_order_acq_rel);
    ASSERT((before & ~kLentBit) != 0);
    if ((before & ~kLentBit) > 1) return Dropped::shared;
  }
  count.store(0, std::memory_order_relaxed);
  return (before & kLentBit) != 0 ? Dropped::lent : Dropped::free;
}

class SlabArena final : public Arena {
 public:
  SlabArena(const ArenaOptions& options, SlabMemory memory);
  Result<> start();

  uint32_t allocate(uint32_t wanted, std::vector<FrameRun>& runs) override;
  void reference(FrameRun run) override;
  void release(FrameRun run) override;
  void mark_lent(FrameRun run) override;
  void set_limit(uint32_t slabs) override;
  void cool_retiring() override;
  char* address(FrameNumber frame) const override;
  ArenaStats stats() const override;

 private:
  using Run = FrameMap::Run;

  uint32_t take_free(uint32_t wanted, std::vector<FrameRun>& runs) EXCLUDES(mutex_);
  uint32_t find_free_slab(uint32_t wanted) const REQUIRES(mutex_);
  Run take_run(uint32_t slab, uint32_t wanted) REQUIRES(mutex_);
  void add_free(uint32_t slab, Run run) REQUIRES(mutex_);
  void set_longest_free(uint32_t slab, uint32_t run) REQUIRES(mutex_);
  void put_in_list(uint32_t slab, uint32_t run) REQUIRES(mutex_);
  void take_from_list(uint32_t slab, uint32_t run) REQUIRES(mutex_);
  void retire(uint32_t slab) REQUIRES(mutex_);
  void use_again(uint32_t slab) REQUIRES(mutex_);
  void leave_if_empty(uint32_t slab) REQUIRES(mutex_);

  // Ways to more free frames. Each returns false, or no answer, when it has none left to try.
  bool add_slab() REQUIRES(reclaim_mutex_);
  std::optional<ReleaseAnswer> test_one_slab() REQUIRES(reclaim_mutex_);
  ReleaseAnswer test(uint32_t slab) REQUIRES(reclaim_mutex_);
  bool replace_some(uint32_t wanted) REQUIRES(reclaim_mutex_);
  void replace(uint32_t slab, uint32_t wanted) REQUIRES(reclaim_mutex_);
  ReleaseAnswer test_with_witness(uint32_t slab) REQUIRES(reclaim_mutex_);
  void stop_testing(const char* reason) REQUIRES(reclaim_mutex_);

  std::optional<uint32_t> slab_to_test() const REQUIRES(mutex_);
  std::optional<uint32_t> slab_to_replace() const REQUIRES(mutex_);
  std::vector<uint32_t> retiring_and_cooling() const;
  void add_cooling(uint32_t slab, Run run) REQUIRES(mutex_);
  void cooling_becomes_free(uint32_t slab, const FrameMap& frames) REQUIRES(mutex_);
  void set_cooling_frames(uint32_t slab, uint32_t frames) REQUIRES(mutex_);
  void leave_cooling_list(uint32_t slab) REQUIRES(mutex_);
  void rest(uint32_t slab) REQUIRES(reclaim_mutex_, mutex_);
  void wake_rested() REQUIRES(reclaim_mutex_, mutex_);

  const ArenaOptions options_;
  SlabMemory memory_;
  SlabSupply supply_;
  LazyArray<std::atomic<uint32_t>> counts_;

  Mutex reclaim_mutex_;  // before mutex_
  ReleaseProof proof_ GUARDED_BY(reclaim_mutex_);
  std::optional<ReleaseWitness> witness_ GUARDED_BY(reclaim_mutex_);
  uint64_t reclaims_ GUARDED_BY(reclaim_mutex_) = 0;  // the time by which slabs rest
  uint64_t tests_resume_at_ GUARDED_BY(reclaim_mutex_) = 0;
  uint32_t limit_ GUARDED_BY(reclaim_mutex_);

  mutable Mutex mutex_{Mutex::Spins::yes};  // a leaf but for the supply's
  LazyArray<Slab> slab_table_ GUARDED_BY(mutex_);
  std::array<FreeList, kFreeLists> free_lists_ GUARDED_BY(mutex_);
  uint32_t free_lists_used_ GUARDED_BY(mutex_) = 0;  // a bit per list that is not empty
  std::array<CoolingList, kCoolingLists> cooling_lists_ GUARDED_BY(mutex_);
  CoolingList resting_ GUARDED_BY(mutex_);     // in order of rests_until
  uint32_t slabs_max_ GUARDED_BY(mutex_);      // the limit, or what the system gave
  uint32_t slabs_end_ GUARDED_BY(mutex_) = 0;  // all that are present are below
  uint32_t slabs_ GUARDED_BY(mutex_) = 0;      // present
  uint32_t retiring_ GUARDED_BY(mutex_) = 0;   // of them
  uint64_t free_frames_ GUARDED_BY(mutex_) = 0;
  uint64_t cooling_frames_ GUARDED_BY(mutex_) = 0;
  uint64_t frames_given_ GUARDED_BY(mutex_) = 0;
  uint64_t runs_given_ GUARDED_BY(mutex_) = 0;
  uint64_t release_tests_ GUARDED_BY(mutex_) = 0;
  uint64_t release_tests_busy_ GUARDED_BY(mutex_) = 0;
  uint64_t frames_replaced_ GUARDED_BY(mutex_) = 0;
};

SlabArena::SlabArena(const ArenaOptions& options, SlabMemory memory)
    : options_(options),
      memory_(std::move(memory)),
      supply_(
          &memory_,
          {.slabs_max = options.slabs_max, .limit = options.limit, .guards = options.proof == ReleaseProof::collapse}),
      counts_(size_t{options.slabs_max} * kFramesPerSlab),
      proof_(options.proof),
      limit_(options.limit),
      slab_table_(options.slabs_max),
      resting_(&slab_table_[0]),
      slabs_max_(options.limit) {
  free_lists_.fill(FreeList(&slab_table_[0]));
  cooling_lists_.fill(CoolingList(&slab_table_[0]));
}

Result<> SlabArena::start() {
  MutexLock reclaim(&reclaim_mutex_);
  if (proof_ == ReleaseProof::collapse) {
    witness_ = ReleaseWitness::create(memory_.address(options_.slabs_max));
    if (!witness_) stop_testing("it does not see a lent page");
  }
  if (!add_slab()) return fail(ENOMEM);
  return {};
}

// ---- allocation ----

uint32_t SlabArena::allocate(uint32_t wanted, std::vector<FrameRun>& runs) {
  uint32_t given = take_free(wanted, runs);
  if (given == wanted) return given;

  MutexLock reclaim(&reclaim_mutex_);
  reclaims_++;
  const auto satisfied = [&] { return (given += take_free(wanted - given, runs)) == wanted; };
  do {
    if (satisfied()) return given;
  } while (add_slab());
  for (uint32_t effort = 0; effort < kTestEffortMax;) {
    const std::optional<ReleaseAnswer> answer = test_one_slab();
    if (!answer) break;
    if (satisfied()) return given;
    effort += *answer == ReleaseAnswer::released ? 1 : kBusyEffort;
  }
  while (replace_some(wanted - given)) {
    if (satisfied()) return given;
  }
  return given;
}

uint32_t SlabArena::take_free(uint32_t wanted, std::vector<FrameRun>& runs) {
  uint32_t given = 0;
  MutexLock lock(&mutex_);
  while (given < wanted && free_lists_used_ != 0) {
    const uint32_t slab = find_free_slab(wanted - given);
    const Run run = take_run(slab, wanted - given);
    runs.push_back({slab * kFramesPerSlab + run.first, run.count});
    given += run.count;
    runs_given_++;
  }
  frames_given_ += given;
  return given;
}

uint32_t SlabArena::find_free_slab(uint32_t wanted) const {
  const uint32_t fitting = free_lists_used_ & (~uint32_t{0} << std::min(free_list_that_fits(wanted), kFreeLists));
  const uint32_t list = fitting != 0 ? std::countr_zero(fitting) : std::bit_width(free_lists_used_) - 1;
  return free_lists_[list].front();
}

FrameMap::Run SlabArena::take_run(uint32_t slab, uint32_t wanted) {
  Slab& state = slab_table_[slab];
  Run run = state.free.best_run(std::min<uint32_t>(wanted, state.longest_free));
  const bool was_longest = run.count == state.longest_free;
  run.count = std::min(run.count, wanted);
  state.free.clear(run);
  free_frames_ -= run.count;
  if (was_longest) set_longest_free(slab, state.free.longest_run());
  for (uint32_t i = 0; i < run.count; i++) {
    counts_[slab * kFramesPerSlab + run.first + i].store(1, std::memory_order_relaxed);
  }
  return run;
}

void SlabArena::add_free(uint32_t slab, Run run) {
  Slab& state = slab_table_[slab];
  state.free.set(run);
  if (!state.retiring) free_frames_ += run.count;
  set_longest_free(slab, std::max<uint32_t>(state.longest_free, state.free.run_around(run.first).count));
  if (state.retiring) leave_if_empty(slab);
}

void SlabArena::set_longest_free(uint32_t slab, uint32_t run) {
  Slab& state = slab_table_[slab];
  const uint32_t before = std::exchange(state.longest_free, static_cast<uint16_t>(run));
  if (state.retiring || (before > 0 && run > 0 && free_list_of(before) == free_list_of(run))) return;
  take_from_list(slab, before);
  put_in_list(slab, run);
}

void SlabArena::put_in_list(uint32_t slab, uint32_t run) {
  if (run == 0) return;
  free_lists_[free_list_of(run)].push_front(slab);
  free_lists_used_ |= uint32_t{1} << free_list_of(run);
}

void SlabArena::take_from_list(uint32_t slab, uint32_t run) {
  if (run == 0) return;
  FreeList& list = free_lists_[free_list_of(run)];
  list.remove(slab);
  if (list.empty()) free_lists_used_ &= ~(uint32_t{1} << free_list_of(run));
}

// ---- the limit ----

void SlabArena::set_limit(uint32_t slabs) {
  ASSERT(slabs > 0 && slabs <= options_.slabs_max);
  MutexLock reclaim(&reclaim_mutex_);  // no slab is on its way
  supply_.set_limit(slabs);
  limit_ = slabs;
  MutexLock lock(&mutex_);
  slabs_max_ = slabs;
  for (uint32_t slab = 0; slab < slabs_end_; slab++) {
    if (!slab_table_[slab].present || slab_table_[slab].retiring == (slab >= slabs)) continue;
    if (slab < slabs) {
      use_again(slab);
    } else {
      retire(slab);
    }
  }
}

void SlabArena::retire(uint32_t slab) {
  Slab& state = slab_table_[slab];
  take_from_list(slab, state.longest_free);
  leave_cooling_list(slab);
  free_frames_ -= state.free.count();
  state.retiring = true;
  retiring_++;
  leave_if_empty(slab);
}

void SlabArena::use_again(uint32_t slab) {
  Slab& state = slab_table_[slab];
  state.retiring = false;
  retiring_--;
  free_frames_ += state.free.count();
  put_in_list(slab, state.longest_free);
  if (state.cooling_frames > 0) cooling_lists_[cooling_list_of(state.cooling_frames)].push_back(slab);
}

void SlabArena::leave_if_empty(uint32_t slab) {
  Slab& state = slab_table_[slab];
  if (state.longest_free < kUsableFrames) return;
  state.free.clear({0, kUsableFrames});
  state.longest_free = 0;
  state.present = false;
  state.retiring = false;
  state.half_replaced = false;
  slabs_--;
  retiring_--;
  supply_.give_back(slab);
}

void SlabArena::cool_retiring() {
  MutexLock reclaim(&reclaim_mutex_);
  reclaims_++;
  for (const uint32_t slab : retiring_and_cooling()) {
    if (proof_ == ReleaseProof::collapse) {
      if (test(slab) == ReleaseAnswer::refused) return;
    } else {
      replace(slab, kFramesPerSlab);
    }
  }
  {
    MutexLock lock(&mutex_);
    if (retiring_ > 0) return;
  }
  counts_.forget_from(size_t{limit_} * kFramesPerSlab);
}

std::vector<uint32_t> SlabArena::retiring_and_cooling() const {
  std::vector<uint32_t> slabs;
  MutexLock lock(&mutex_);
  for (uint32_t slab = 0; slab < slabs_end_; slab++) {
    if (slab_table_[slab].retiring && slab_table_[slab].cooling_frames > 0) slabs.push_back(slab);
  }
  return slabs;
}

// ---- references ----

void SlabArena::reference(FrameRun run) {
  for (FrameNumber frame = run.first; frame < run.first + run.count; frame++) {
    const uint32_t before = counts_[frame].fetch_add(1, std::memory_order_relaxed);
    ASSERT((before & ~kLentBit) != 0);
  }
}

void SlabArena::mark_lent(FrameRun run) {
  for (FrameNumber frame = run.first; frame < run.first + run.count; frame++) {
    const uint32_t before = counts_[frame].load(std::memory_order_relaxed);
    ASSERT((before & ~kLentBit) != 0);
    // What is sent often is marked already; then its cache line stays shared between the senders.
    if ((before & kLentBit) == 0) counts_[frame].fetch_or(kLentBit, std::memory_order_relaxed);
  }
}

void SlabArena::release(FrameRun run) {
  ASSERT(run.count > 0);
  const uint32_t slab = run.first / kFramesPerSlab;
  ASSERT((run.first + run.count - 1) / kFramesPerSlab == slab);
  FrameMap freed, cooled;
  bool any = false;
  for (FrameNumber frame = run.first; frame < run.first + run.count; frame++) {
    const Dropped dropped = drop_reference(counts_[frame]);
    if (dropped == Dropped::shared) continue;
    (dropped == Dropped::lent ? cooled : freed).set({frame % kFramesPerSlab, 1});
    any = true;
  }
  if (!any) return;
  MutexLock lock(&mutex_);
  for (Run part = freed.next_run(0); part.count > 0; part = freed.next_run(part.end())) add_free(slab, part);
  for (Run part = cooled.next_run(0); part.count > 0; part = cooled.next_run(part.end())) add_cooling(slab, part);
}

// ---- more free frames ----

bool SlabArena::add_slab() {
  uint32_t slabs;
  {
    MutexLock lock(&mutex_);
    slabs = slabs_ - retiring_;
    if (slabs == slabs_max_) return false;
  }
  const Result<SlabSupply::Slab> slab = supply_.take();
  if (!slab) {
    log(LogLevel::warning, "the system gives no memory for more than {} MiB of cache", slabs * (kSlabSize >> 20));
    MutexLock lock(&mutex_);
    slabs_max_ = slabs;
    return false;
  }
  // Without its guard a slab could be collapsed in earnest.
  if (proof_ == ReleaseProof::collapse && !slab->guarded) stop_testing("a guard page was refused");
  MutexLock lock(&mutex_);
  slabs_++;
  slabs_end_ = std::max(slabs_end_, slab->number + 1);
  slab_table_[slab->number].present = true;
  add_free(slab->number, {0, kUsableFrames});
  return true;
}

std::optional<ReleaseAnswer> SlabArena::test_one_slab() {
  if (proof_ != ReleaseProof::collapse || reclaims_ < tests_resume_at_) return std::nullopt;
  std::optional<uint32_t> candidate;
  {
    MutexLock lock(&mutex_);
    wake_rested();
    candidate = slab_to_test();
  }
  if (!candidate) return std::nullopt;
  return test(*candidate);
}

// Of a slab with cooling frames.
ReleaseAnswer SlabArena::test(uint32_t slab) {
  FrameMap cooling;
  bool half_replaced;
  {
    MutexLock lock(&mutex_);
    cooling = slab_table_[slab].cooling;
    half_replaced = slab_table_[slab].half_replaced;
  }
  const ReleaseAnswer answer = test_with_witness(slab);
  if (answer == ReleaseAnswer::refused) tests_resume_at_ = reclaims_ + kRestAllocates;
  if (answer == ReleaseAnswer::released && half_replaced) memory_.split(slab, cooling.next_run(0).first);

  MutexLock lock(&mutex_);
  release_tests_++;
  if (answer == ReleaseAnswer::released) {
    slab_table_[slab].half_replaced = false;
    cooling_becomes_free(slab, cooling);
  } else {
    release_tests_busy_ += answer == ReleaseAnswer::busy;
    rest(slab);
  }
  return answer;
}

ReleaseAnswer SlabArena::test_with_witness(uint32_t slab) {
  const ReleaseAnswer answer = test_release(memory_.address(slab));
  if (answer == ReleaseAnswer::broken) stop_testing("the kernel gave an unknown answer");
  if (answer != ReleaseAnswer::released || witness_->holds()) return answer;
  stop_testing("it no longer sees a page that is lent");
  return ReleaseAnswer::broken;
}

void SlabArena::stop_testing(const char* reason) {
  log(LogLevel::warning, "the release test of lent memory is given up: {}; lent pages are replaced instead", reason);
  proof_ = ReleaseProof::replace;
}

bool SlabArena::replace_some(uint32_t wanted) {
  std::optional<uint32_t> candidate;
  {
    MutexLock lock(&mutex_);
    candidate = slab_to_replace();
  }
  if (!candidate) return false;
  replace(*candidate, wanted);
  return true;
}

// Up to that many of a slab's cooling frames.
void SlabArena::replace(uint32_t slab, uint32_t wanted) {
  uint32_t other;
  FrameMap chosen;
  uint32_t count = 0;
  bool stays = false;
  {
    MutexLock lock(&mutex_);
    const Slab& state = slab_table_[slab];
    stays = !state.retiring;
    const FrameMap& cooling = state.cooling;
    for (Run run = cooling.next_run(0); run.count > 0 && count < wanted; run = cooling.next_run(run.end())) {
      run.count = std::min(run.count, wanted - count);
      chosen.set(run);
      count += run.count;
    }
    other = state.free.first_in_neither(chosen);
  }
  for (Run run = chosen.next_run(0); run.count > 0; run = chosen.next_run(run.end())) {
    memory_.replace(slab, run.first, run.count);
  }
  if (other < kUsableFrames) memory_.split(slab, other);
  for (Run run = chosen.next_run(0); stays && run.count > 0; run = chosen.next_run(run.end())) {
    memory_.fill(slab, run.first, run.count);
  }

  MutexLock lock(&mutex_);
  slab_table_[slab].half_replaced = true;
  frames_replaced_ += count;
  cooling_becomes_free(slab, chosen);
}

// ---- cooling frames ----

std::optional<uint32_t> SlabArena::slab_to_test() const {
  for (auto list = cooling_lists_.rbegin(); list != cooling_lists_.rend(); ++list) {
    if (!list->empty()) return list->front();
  }
  return std::nullopt;
}

std::optional<uint32_t> SlabArena::slab_to_replace() const {
  return resting_.empty() ? slab_to_test() : resting_.back();
}

void SlabArena::add_cooling(uint32_t slab, Run run) {
  slab_table_[slab].cooling.set(run);
  cooling_frames_ += run.count;
  set_cooling_frames(slab, slab_table_[slab].cooling_frames + run.count);
}

void SlabArena::cooling_becomes_free(uint32_t slab, const FrameMap& frames) {
  Slab& state = slab_table_[slab];
  const uint32_t count = frames.count();
  for (Run run = frames.next_run(0); run.count > 0; run = frames.next_run(run.end())) state.cooling.clear(run);
  cooling_frames_ -= count;
  set_cooling_frames(slab, state.cooling_frames - count);
  // Last: with its last frame a slab that retires may go.
  for (Run run = frames.next_run(0); run.count > 0; run = frames.next_run(run.end())) add_free(slab, run);
}

void SlabArena::set_cooling_frames(uint32_t slab, uint32_t frames) {
  Slab& state = slab_table_[slab];
  const uint32_t before = std::exchange(state.cooling_frames, static_cast<uint16_t>(frames));
  if (state.retiring) return;
  if (state.resting) {
    if (frames == 0) leave_cooling_list(slab);
    return;
  }
  if (before > 0 && frames > 0 && cooling_list_of(before) == cooling_list_of(frames)) return;
  if (before > 0) cooling_lists_[cooling_list_of(before)].remove(slab);
  if (frames > 0) cooling_lists_[cooling_list_of(frames)].push_back(slab);
}

void SlabArena::leave_cooling_list(uint32_t slab) {
  Slab& state = slab_table_[slab];
  if (state.resting) {
    resting_.remove(slab);
    state.resting = false;
  } else if (state.cooling_frames > 0) {
    cooling_lists_[cooling_list_of(state.cooling_frames)].remove(slab);
  }
}

void SlabArena::rest(uint32_t slab) {
  Slab& state = slab_table_[slab];
  if (state.retiring) return;  // who waits for it asks again when it sees fit
  leave_cooling_list(slab);
  resting_.push_back(slab);
  state.resting = true;
  state.rests_until = reclaims_ + kRestAllocates;
}

void SlabArena::wake_rested() {
  while (!resting_.empty() && slab_table_[resting_.front()].rests_until <= reclaims_) {
    const uint32_t slab = resting_.front();
    resting_.remove(slab);
    slab_table_[slab].resting = false;
    cooling_lists_[cooling_list_of(slab_table_[slab].cooling_frames)].push_back(slab);
  }
}

// ---- the rest ----

char* SlabArena::address(FrameNumber frame) const {
  ASSERT(frame < counts_.size());
  return memory_.address(0) + size_t{frame} * kPageSize;
}

ArenaStats SlabArena::stats() const {
  MutexLock lock(&mutex_);
  ArenaStats stats;
  stats.frames_max = uint64_t{slabs_max_} * kUsableFrames;
  stats.frames_free = free_frames_ + uint64_t{slabs_max_ - (slabs_ - retiring_)} * kUsableFrames;
  stats.frames_cooling = cooling_frames_;
  stats.slabs = slabs_;
  stats.slabs_retiring = retiring_ + supply_.going_back();
  stats.frames_given = frames_given_;
  stats.runs_given = runs_given_;
  stats.release_tests = release_tests_;
  stats.release_tests_busy = release_tests_busy_;
  stats.frames_replaced = frames_replaced_;
  return stats;
}

}  // namespace

Result<std::unique_ptr<Arena>> Arena::create(ArenaOptions options) {
  ASSERT(options.slabs_max > 0);
  if (options.limit == 0) options.limit = options.slabs_max;
  ASSERT(options.limit <= options.slabs_max);
  if (options.slabs_max > kSlabsMax) return fail(ENOMEM);
  // One more slab of address space, for the release test's witness.
  auto arena = std::make_unique<SlabArena>(options, TRY(SlabMemory::reserve(options.slabs_max + 1)));
  TRY(arena->start());
  return arena;
}

}  // namespace sluice
