// LRU evicts the block that was used longest ago: one list, a hit moves the block to its front, the victim comes from
// its back.
//
// Why have it: it is the yardstick that every other policy is measured against, and right where recent use is the
// best guess at the next one (a working set that drifts). Its weakness is one long scan: every block read once pushes
// out one that is read again and again. For that there is `midpoint`.
//
// Cost: a hit moves one block (five stores, three cache lines); hits in the freshest quarter of the list change little
// and can be left out (is_recent), as InnoDB does. A miss is one push, an eviction one removal. 16 bytes per block.
// With every hit reported the order is exact LRU.
// Source: Mattson et al., Evaluation techniques for storage hierarchies, IBM Systems Journal 9 (1970).
#include "cache/assert.h"
#include "cache/block_list.h"
#include "cache/policy.h"

namespace sluice {
namespace {

class LruPolicy final : public Policy {
 public:
  explicit LruPolicy(const PolicyOptions& options) : table_(options.blocks_max), list_(table_, 1) {}

  void insert(BlockId block, uint32_t charge) override {
    ASSERT(block < table_.size() && !list_.holds(block));
    table_[block].set_charge(charge);
    list_.push_fresh(block);
  }

  void touch(BlockId block) override {
    if (!knows(block)) return;
    list_.remove(block);
    list_.push_fresh(block);
  }

  void charge(BlockId block, uint32_t charge) override {
    if (knows(block)) list_.set_charge(block, charge);
  }

  void remove(BlockId block) override {
    if (knows(block)) list_.remove(block);
  }

  BlockId evict() override {
    const BlockId victim = list_.back();
    if (victim != kNoBlock) list_.remove(victim);
    return victim;
  }

  void move(BlockId from, BlockId to) override {
    if (knows(from)) list_.move(from, to);
  }
  void resize(uint64_t /*capacity*/, uint32_t blocks_max) override { table_.forget_from(blocks_max); }

  bool is_recent(BlockId block) const override { return !knows(block) || list_.is_fresh(block); }
  std::string_view name() const override { return "lru"; }

 private:
  bool knows(BlockId block) const { return block < table_.size() && list_.holds(block); }

  BlockTable table_;
  BlockList list_;
};

std::unique_ptr<Policy> make(const PolicyOptions& options) {
  return std::make_unique<LruPolicy>(options);
}

}  // namespace

const PolicyKind kLruPolicy{"lru", sizeof(BlockEntry), 0, 0, make};

}  // namespace sluice
