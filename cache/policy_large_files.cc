// Blocks of large files pass by the policy. They wait in a queue of their own, which holds a fixed share of the cache
// and no more, even while there is room: what is read once from end to end is not worth remembering, and a reader that
// goes forwards needs no more than its readahead. What does come back is told by ghosts, as in 2Q's A1in and A1out: a
// block that is missed again soon after it left enters the policy like a block of any other file and stays as long as
// that sees fit. So the index of a database or the head of a film becomes resident, and the film does not.
//
//   miss -> large? -- no, or a ghost --> [ the policy: all the rest ]
//             |                                     |
//             +---> [ streams: the share ] --> out  +--> evicted
//                                |
//                                v
//                          ( ghosts: hashes only )
//
//   insert     of a large file and no ghost: to the back of the streams' queue. Otherwise the policy's
//   touch      nothing for a block in the queue: two readers a moment apart, or one that reads in odd pieces, are one
//              stream. Only coming back after it had gone is a sign of use
//   keep       from the queue to the policy: somebody wants the block itself, as the one who warms the cache
//   overfull   the queue holds more than its share. The cache then evicts at once, free memory or not
//   evict      the front of the queue if it is overfull, or if as much as the share was read from anywhere since that
//              block came: what a finished stream left behind goes before anything else. Otherwise the policy's
//              victim; the front of the queue when that has none
//
// What was read ahead and not asked for yet goes round once more: what readers have passed is worth less.
//
// What streams leave is remembered for as long as they fill the cache once. It is counted in what streams read, so that
// a re-read of a file several times that long leaves no trace: its blocks were forgotten before they came again.
//
// Cost: a block of the queue needs no lock on a hit (is_recent). 4 bytes per block of the cache, and for each of those
// that the share can hold 32 bytes in the queue. 8 per ghost, one for every 4 pages of the cache.
// Source: the two queues are Johnson and Shasha: 2Q, VLDB 1994; that a file's size decides about the first is ours.
#include "cache/policy_large_files.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>

#include "cache/assert.h"
#include "cache/ghost_table.h"
#include "cache/lazy_array.h"

namespace sluice {
namespace {

constexpr uint32_t kStreamed = uint32_t{1} << 31;
constexpr uint64_t kChargePerGhost = 4;  // smaller blocks are remembered less long
constexpr size_t kHolesMin = 1024;       // and as many as there are blocks

uint32_t ghosts_of(uint64_t capacity) {
  return static_cast<uint32_t>(capacity / kChargePerGhost + 1);
}

class LargeFiles final : public Policy {
 public:
  struct Entry {
    BlockId block;  // kNoBlock: a hole, the block was removed
    uint32_t charge : 31;
    uint32_t spared : 1;  // it was at the front once, and nobody had asked for it yet
    uint64_t added;       // the sum of all charges when it came
  };

  LargeFiles(std::unique_ptr<Policy> inner, const LargeFilesOptions& options)
      : options_(options), inner_(std::move(inner)), places_(options.blocks_max) {
    set_capacity(options.capacity);
  }

  void insert(BlockId block, uint32_t charge) override {
    added_ += charge;
    if (!options_.owner->is_large(block) || ghosts_->take(options_.owner->hash_of(block), charge, capacity_)) {
      return inner_->insert(block, charge);
    }
    ASSERT(!is_streamed(block));
    push_back({.block = block, .charge = charge, .spared = 0, .added = added_});
    charge_ += charge;
    blocks_++;
  }

  void touch(BlockId block) override {
    if (!is_streamed(block)) inner_->touch(block);
  }

  void charge(BlockId block, uint32_t charge) override {
    if (!is_streamed(block)) return inner_->charge(block, charge);
    Entry& entry = entry_of(block);
    charge_ += uint64_t{charge} - entry.charge;
    entry.charge = charge;
  }

  void remove(BlockId block) override {
    if (!is_streamed(block)) return inner_->remove(block);
    take_out(entry_of(block));
    if (queue_.size() > kHolesMin + 2 * blocks_) close_holes();
  }

  void keep(BlockId block) override {
    if (!is_streamed(block)) return;
    const uint32_t charge = entry_of(block).charge;
    remove(block);
    inner_->insert(block, charge);
  }

  void move(BlockId from, BlockId to) override {
    if (!is_streamed(from)) return inner_->move(from, to);
    entry_of(from).block = to;
    places_[to].store(places_[from].exchange(0, std::memory_order_relaxed), std::memory_order_relaxed);
  }
  void resize(uint64_t capacity, uint32_t blocks_max) override {
    places_.forget_from(blocks_max);
    set_capacity(capacity);
    inner_->resize(capacity, blocks_max);
  }

  bool overfull() const override { return charge_ > share_; }

  BlockId evict() override {
    drop_holes_in_front();
    const bool out_of_date = !queue_.empty() && added_ - queue_.front().added > share_;
    if (overfull() || out_of_date) return evict_streamed();
    const BlockId victim = inner_->evict();
    return victim != kNoBlock ? victim : evict_streamed();
  }

  bool is_recent(BlockId block) const override { return is_streamed(block) || inner_->is_recent(block); }
  std::string_view name() const override { return inner_->name(); }

 private:
  void set_capacity(uint64_t capacity) {
    capacity_ = capacity;
    share_ = options_.share_of(capacity);
    ghosts_.emplace(GhostTableOptions{.ghosts_max = ghosts_of(capacity), .span = capacity});
  }

  bool is_streamed(BlockId block) const { return places_[block].load(std::memory_order_relaxed) != 0; }
  Entry& entry_of(BlockId block) {
    return queue_[(places_[block].load(std::memory_order_relaxed) - first_place_) & ~kStreamed];
  }
  void set_place(BlockId block, uint32_t place) { places_[block].store(place | kStreamed, std::memory_order_relaxed); }

  void take_out(Entry& entry) {
    places_[entry.block].store(0, std::memory_order_relaxed);
    charge_ -= entry.charge;
    blocks_--;
    entry.block = kNoBlock;
  }

  void drop_holes_in_front() {
    while (!queue_.empty() && queue_.front().block == kNoBlock) pop_front();
  }

  void push_back(const Entry& entry) {
    queue_.push_back(entry);
    set_place(entry.block, first_place_ + static_cast<uint32_t>(queue_.size() - 1));
  }
  void pop_front() {
    queue_.pop_front();
    first_place_++;
  }

  BlockId evict_streamed() {
    for (drop_holes_in_front(); !queue_.empty(); drop_holes_in_front()) {
      Entry entry = queue_.front();
      const bool was_used = options_.owner->was_used(entry.block);
      if (was_used || entry.spared) {
        take_out(queue_.front());
        pop_front();
        if (was_used) ghosts_->add(options_.owner->hash_of(entry.block), entry.charge);
        return entry.block;
      }
      pop_front();
      entry.spared = 1;
      push_back(entry);
    }
    return kNoBlock;
  }

  void close_holes() {
    std::erase_if(queue_, [](const Entry& entry) { return entry.block == kNoBlock; });
    uint32_t place = first_place_;
    for (const Entry& entry : queue_) set_place(entry.block, place++);
  }

  const LargeFilesOptions options_;
  const std::unique_ptr<Policy> inner_;
  LazyArray<std::atomic<uint32_t>> places_;  // by block: kStreamed and the place, or 0
  uint64_t capacity_ = 0;
  uint64_t share_ = 0;
  std::optional<GhostTable> ghosts_;
  std::deque<Entry> queue_;
  uint32_t first_place_ = 0;  // of the front of the queue; counts on for ever, of which 31 bits matter
  uint64_t charge_ = 0;       // of the queue
  uint64_t blocks_ = 0;       // in the queue
  uint64_t added_ = 0;        // all charges ever inserted
};

}  // namespace

uint64_t streams_share(uint64_t frames) {
  constexpr uint64_t enough = 4096;
  return std::max(frames / 16, std::min(enough, frames / 8));
}

std::unique_ptr<Policy> guard_against_large_files(std::unique_ptr<Policy> inner, const LargeFilesOptions& options) {
  return std::make_unique<LargeFiles>(std::move(inner), options);
}

uint64_t large_files_memory_bytes(const LargeFilesOptions& options) {
  return options.blocks_max * sizeof(uint32_t) + uint64_t{ghosts_of(options.capacity)} * GhostTable::kBytesPerGhost +
         (options.share_of(options.capacity) * 2 + kHolesMin) * sizeof(LargeFiles::Entry);
}

}  // namespace sluice
