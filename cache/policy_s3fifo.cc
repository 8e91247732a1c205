// S3-FIFO keeps blocks in queues that only move at their ends. A new block waits in a small queue; only when it was hit
// twice there does it enter the main one. So what is read once passes through a tenth of the cache, and the rest holds
// what is read again and again, without a list that every hit has to reorder.
//
//   miss -> [ small: 1/10 of all ] -- hit twice or more --> [ main: 9/10 ] -> not hit since last time: evicted
//                    |                                         ^   |
//                    | else: evicted                           |   +- hit: once more to the front, one hit less
//                    v                                         |
//               ( ghosts: hashes only ) ---- missed again -----+
//
//   insert     a ghost: front of main. Otherwise: front of small
//   touch      hits + 1, at most 3
//   evict      small holds a tenth or more: its back, to main when hit twice, else it leaves and becomes a ghost (but
//              not when it was read ahead in vain). Otherwise the back of main, to its front while it has hits
//   remove     leaves no ghost: the bytes are gone, reading them again says nothing about the cache
//   charge     changes the sums only; the block keeps its place
//
// Worked example, 1000 blocks of one page: 100 small, 900 main, 900 ghosts. A scan of 10,000 blocks goes through the
// 100 and evicts nothing else. A block that comes back within 900 evictions of its own is a ghost hit and goes straight
// to main: small need not be large enough to see its second use.
//
// The shares are of what is held, not of a capacity, so they stay right when memory is lent or the cache resized.
// Ghosts are 90 % of what was held at the last eviction, by charge. One that came back makes room for others, as in the
// authors' simulator, whose hits these are within some half a point. Were it counted until its time is over, there
// would be fewer: a working set that moves on was hit up to two points less often, and a trace of theirs missed 1.5
// points more.
//
// Correlated hits: a program that reads a page in several pieces hits it several times within moments, which says
// nothing about later. In live traffic is_recent lets hits count only for blocks other than the last 16 that were hit.
// The simulator reports every hit.
//
// Cost: a hit is an addition; a block that has its three hits needs no lock at all (is_recent). A miss is one push and
// one look at the ghosts (a cache line). An eviction looks at one block and at those that it spares: each of them was
// hit since, three times at most per round, so evictions cost no more than hits. 12 bytes per block and 8 per ghost,
// of which there are as many as blocks, and 128 KiB in all.
// Source: Yang, Zhang, Qiu, Yue, Rashmi: FIFO queues are all you need for cache eviction, SOSP 2023. The sizes and the
// two hits are those of its authors' simulator (libCacheSim).
#include <algorithm>
#include <array>
#include <atomic>
#include <optional>

#include "cache/assert.h"
#include "cache/ghost_table.h"
#include "cache/index_list.h"
#include "cache/lazy_array.h"
#include "cache/policy.h"

namespace sluice {
namespace {

enum class Queue : uint32_t { none, small, main };
constexpr uint32_t kHitsMax = 3;
constexpr uint32_t kHitsToMain = 2;

struct Entry {
  ListLink link;
  std::atomic<uint32_t> word;  // charge, hits, queue
};
static_assert(sizeof(Entry) == 12);

struct State {  // an Entry's word, unpacked
  Queue queue;
  uint32_t hits;
  uint32_t charge;
};

class S3FifoPolicy final : public Policy {
 public:
  explicit S3FifoPolicy(const PolicyOptions& options)
      : owner_(options.owner),
        entries_(options.blocks_max),
        small_{.list = Fifo(entries_.data())},
        main_{.list = Fifo(entries_.data())} {
    make_ghosts(options.capacity);
    for (std::atomic<BlockId>& block : last_hit_) block.store(kNoBlock, std::memory_order_relaxed);
  }

  void insert(BlockId block, uint32_t charge) override {
    ASSERT(block < entries_.size() && !knows(block));
    ASSERT(charge > 0 && charge <= kChargeMax);
    const bool was_here = ghosts_->take(owner_->hash_of(block), charge, ghost_span(held_));
    push(block, {was_here ? Queue::main : Queue::small, 0, charge});
  }

  void touch(BlockId block) override {
    if (!knows(block)) return;
    last_hit_[last_hit_next_].store(block, std::memory_order_relaxed);
    last_hit_next_ = (last_hit_next_ + 1) % last_hit_.size();
    State state = get(block);
    if (state.hits == kHitsMax) return;
    state.hits++;
    set(block, state);
  }

  void charge(BlockId block, uint32_t charge) override {
    if (!knows(block)) return;
    ASSERT(charge > 0 && charge <= kChargeMax);
    State state = get(block);
    queue_of(state).charge += uint64_t{charge} - state.charge;
    state.charge = charge;
    set(block, state);
  }

  void remove(BlockId block) override {
    if (knows(block)) pull(block);
  }

  BlockId evict() override {
    if (small_.list.empty() && main_.list.empty()) return kNoBlock;
    held_ = small_.charge + main_.charge;
    const bool small_is_full = small_.charge >= held_ / 10;
    while (small_is_full && !small_.list.empty()) {
      const BlockId block = small_.list.back();
      const State state = pull(block);
      if (state.hits < kHitsToMain) {
        if (owner_->was_used(block)) ghosts_->add(owner_->hash_of(block), state.charge);
        return block;
      }
      push(block, {Queue::main, 0, state.charge});
    }
    for (;;) {
      const BlockId block = main_.list.back();
      const State state = pull(block);
      if (state.hits == 0) return block;
      push(block, {Queue::main, state.hits - 1, state.charge});
    }
  }

  void move(BlockId from, BlockId to) override {
    if (!knows(from)) return;
    const State state = get(from);
    queue_of(state).list.replace(from, to);
    set(to, state);
    set(from, {Queue::none, 0, 0});
  }
  void resize(uint64_t capacity, uint32_t blocks_max) override {
    entries_.forget_from(blocks_max);
    make_ghosts(capacity);
  }

  bool is_recent(BlockId block) const override {
    if (!knows(block) || get(block).hits == kHitsMax) return true;
    for (const std::atomic<BlockId>& recent : last_hit_) {
      if (recent.load(std::memory_order_relaxed) == block) return true;
    }
    return false;
  }

  std::string_view name() const override { return kS3FifoPolicy.name; }

 private:
  using Fifo = IndexList<Entry, &Entry::link>;
  struct Part {
    Fifo list;
    uint64_t charge = 0;
  };

  static uint64_t ghost_span(uint64_t held) { return held - held / 10; }
  void make_ghosts(uint64_t capacity) {
    ghosts_.emplace(
        GhostTableOptions{.ghosts_max = static_cast<uint32_t>(std::min<uint64_t>(entries_.size(), capacity)),
                          .span = ghost_span(capacity),
                          .taken_make_room = true});
  }

  State get(BlockId block) const {
    const uint32_t word = entries_[block].word.load(std::memory_order_relaxed);
    return {static_cast<Queue>(word & 3), word >> 2 & 3, word >> 4};
  }
  void set(BlockId block, const State& state) {
    const uint32_t word = state.charge << 4 | state.hits << 2 | static_cast<uint32_t>(state.queue);
    entries_[block].word.store(word, std::memory_order_relaxed);
  }
  static_assert(kChargeMax <= UINT32_MAX >> 4 && kHitsMax <= 3);

  bool knows(BlockId block) const { return block < entries_.size() && get(block).queue != Queue::none; }
  Part& queue_of(const State& state) { return state.queue == Queue::small ? small_ : main_; }

  void push(BlockId block, const State& state) {
    Part& part = queue_of(state);
    part.list.push_front(block);
    part.charge += state.charge;
    set(block, state);
  }
  State pull(BlockId block) {
    const State state = get(block);
    Part& part = queue_of(state);
    part.list.remove(block);
    part.charge -= state.charge;
    set(block, {Queue::none, 0, 0});
    return state;
  }

  const BlockOwner* const owner_;
  LazyArray<Entry> entries_;
  std::optional<GhostTable> ghosts_;
  Part small_;
  Part main_;
  uint64_t held_ = 0;  // by both queues, at the last eviction
  std::array<std::atomic<BlockId>, 16> last_hit_;
  size_t last_hit_next_ = 0;
};

std::unique_ptr<Policy> make(const PolicyOptions& options) {
  return std::make_unique<S3FifoPolicy>(options);
}

}  // namespace

const PolicyKind kS3FifoPolicy{"s3fifo", sizeof(Entry), GhostTable::kBytesPerGhost, GhostTable::kBytesOfStamps, make};

}  // namespace sluice
