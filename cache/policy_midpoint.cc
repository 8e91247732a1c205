// Midpoint is the LRU of MySQL's InnoDB buffer pool, which is built to survive table scans: the list is cut in two, and
// a new block enters at the cut, not at the front.
//
//   front [ young: 5/8 of the pages ][ old: 3/8 ] back -> victim
//                                     ^ new blocks enter here
//
// A block of the old sublist goes to the front of the young one only by an access a second or more after its first.
// A scan reads a block several times within moments (a 64 KiB block in pieces) and never again: it passes through
// the old sublist and leaves the young one alone. What is read again after a second has shown that it is worth more.
//
// Worked example, 1000 blocks of one page: 625 young, 375 old. A scan of 10,000 blocks evicts the 375 and then itself.
// A block that is read now and again in two seconds survives if fewer than 375 other blocks are missed meanwhile.
//
//   insert     front of old; its first access is now
//   touch      old, first access less than a second ago: nothing. Old otherwise: front of young. Young: front of young
//   balance    young's back becomes old's front, or the reverse, until old is 3/8 of the pages within 20 (16 of a
//              block and 4)
//   evict      back of old, else of young
//
// Below 512 blocks there is no old sublist (a second is too long for a list so short) and this is LRU.
// A block that sank from young to old counts as accessed long ago: its next access brings it back at once.
//
// Cost: a hit in the freshest quarter of young, or in old too early, does nothing (is_recent, no lock). Other hits and
// misses move one block and on average less than one more across the cut. 16 bytes per block.
// Source: MySQL 8.4 manual 17.8.3.3 "Making the Buffer Pool Scan Resistant", storage/innobase/buf/buf0lru.cc
// (BUF_LRU_OLD_MIN_LEN, BUF_LRU_OLD_TOLERANCE, innodb_old_blocks_pct 37, innodb_old_blocks_time 1000).
#include <algorithm>
#include <chrono>

#include "cache/assert.h"
#include "cache/block_list.h"
#include "cache/policy.h"

namespace sluice {
namespace {

constexpr uint32_t kOldBlocksTimeMs = 1000;
constexpr uint32_t kSplitBlocksMin = 512;
constexpr uint64_t kOldTolerance = 4;  // beyond what a block charges, or a block could go to and fro

class MidpointPolicy final : public Policy {
 public:
  explicit MidpointPolicy(const PolicyOptions& options)
      : clock_(options.clock), table_(options.blocks_max), young_(table_, 1), old_(table_, 2) {}

  void insert(BlockId block, uint32_t charge) override {
    ASSERT(block < table_.size() && !knows(block));
    charge_max_ = std::max(charge_max_, charge);
    table_[block].set_charge(charge);
    blocks_++;
    if (old_.empty()) {
      young_.push_fresh(block);
    } else {
      old_.push_front(block, now_ms());
    }
    balance();
  }

  void touch(BlockId block) override {
    if (!knows(block) || is_too_early(block)) return;
    list_of(block).remove(block);
    young_.push_fresh(block);
    balance();
  }

  void charge(BlockId block, uint32_t charge) override {
    if (!knows(block)) return;
    charge_max_ = std::max(charge_max_, charge);
    list_of(block).set_charge(block, charge);
    balance();
  }

  void remove(BlockId block) override {
    if (!knows(block)) return;
    list_of(block).remove(block);
    blocks_--;
    balance();
  }

  BlockId evict() override {
    const BlockId victim = old_.empty() ? young_.back() : old_.back();
    remove(victim);
    return victim;
  }

  void move(BlockId from, BlockId to) override {
    if (knows(from)) list_of(from).move(from, to);
  }
  void resize(uint64_t /*capacity*/, uint32_t blocks_max) override { table_.forget_from(blocks_max); }

  bool is_recent(BlockId block) const override {
    if (!knows(block)) return true;
    return young_.holds(block) ? young_.is_fresh(block) : is_too_early(block);
  }

  std::string_view name() const override { return "midpoint"; }

 private:
  bool knows(BlockId block) const { return block < table_.size() && (young_.holds(block) || old_.holds(block)); }
  BlockList& list_of(BlockId block) { return young_.holds(block) ? young_ : old_; }

  // In the old sublist a block's mark is the time of its first access. It wraps after 49 days: then at worst one
  // access counts as too early.
  bool is_too_early(BlockId block) const {
    if (!old_.holds(block)) return false;
    return now_ms() - table_[block].mark.load(std::memory_order_relaxed) < kOldBlocksTimeMs;
  }
  uint32_t now_ms() const {
    return static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(clock_->monotonic()).count());
  }

  void balance() {
    const uint64_t target = blocks_ < kSplitBlocksMin ? 0 : (young_.charge() + old_.charge()) * 3 / 8;
    const uint64_t tolerance = charge_max_ + kOldTolerance;
    while (old_.charge() + tolerance < target) {
      const BlockId block = young_.back();
      young_.remove(block);
      old_.push_front(block, now_ms() - kOldBlocksTimeMs);
    }
    while (!old_.empty() && (target == 0 || old_.charge() > target + tolerance)) {
      const BlockId block = old_.front();
      old_.remove(block);
      young_.push_back(block, young_.stale_mark());
    }
  }

  const Clock* const clock_;
  BlockTable table_;
  BlockList young_;
  BlockList old_;
  uint32_t blocks_ = 0;
  uint32_t charge_max_ = 0;  // of any block ever
};

std::unique_ptr<Policy> make(const PolicyOptions& options) {
  return std::make_unique<MidpointPolicy>(options);
}

}  // namespace

const PolicyKind kMidpointPolicy{"midpoint", sizeof(BlockEntry), 0, 0, make};

}  // namespace sluice
