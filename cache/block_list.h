// BlockList is what the list-shaped policies share: a list of blocks that knows how much it charges, and how near
// its front a block still is without walking it (InnoDB's freed_page_clock trick): every push to the front moves
// the others back by what was pushed, so a block is as far back as was pushed since it was.
//
// One thread at a time changes the lists; is_fresh reads relaxed atomics and may be called from any.
#pragma once

#include <atomic>
#include <cstdint>

#include "cache/assert.h"
#include "cache/block.h"
#include "cache/index_list.h"
#include "cache/lazy_array.h"
#include "cache/policy.h"

namespace sluice {

class BlockEntry {
 public:
  ListLink link;
  std::atomic<uint32_t> mark;  // belongs to the list that the block is in; BlockList::push_fresh sets it

  uint32_t list() const { return word() & kListMask; }  // the policy's number for that list; 0: in none
  uint32_t charge() const { return word() >> kListBits; }
  void set_list(uint32_t list) { set_word(charge() << kListBits | list); }
  void set_charge(uint32_t charge) {
    ASSERT(charge > 0 && charge <= kChargeMax);
    set_word(charge << kListBits | list());
  }

 private:
  static constexpr uint32_t kListBits = 4;
  static constexpr uint32_t kListMask = (1u << kListBits) - 1;
  static_assert(kChargeMax <= UINT32_MAX >> kListBits);

  uint32_t word() const { return word_.load(std::memory_order_relaxed); }
  void set_word(uint32_t word) { word_.store(word, std::memory_order_relaxed); }

  std::atomic<uint32_t> word_;
};
static_assert(sizeof(BlockEntry) == 16);

using BlockTable = LazyArray<BlockEntry>;

class BlockList {
 public:
  BlockList(BlockTable& table, uint32_t number) : table_(table), number_(number), list_(&table[0]) {}

  bool empty() const { return list_.empty(); }
  BlockId front() const { return list_.front(); }  // kNoBlock when empty
  BlockId back() const { return list_.back(); }
  uint64_t charge() const { return charge_.load(std::memory_order_relaxed); }
  bool holds(BlockId block) const { return table_[block].list() == number_; }

  // To the front, as the freshest.
  void push_fresh(BlockId block) {
    const uint32_t pushed = pushed_.load(std::memory_order_relaxed) + table_[block].charge();
    pushed_.store(pushed, std::memory_order_relaxed);
    push_front(block, pushed);
  }
  void push_front(BlockId block, uint32_t mark) {
    list_.push_front(block);
    enter(block, mark);
  }
  void push_back(BlockId block, uint32_t mark) {
    list_.push_back(block);
    enter(block, mark);
  }

  void remove(BlockId block) {
    ASSERT(holds(block));
    list_.remove(block);
    add(-int64_t{table_[block].charge()});
    table_[block].set_list(0);
  }

  // `to`, which is in no list, takes the place of `from`.
  void move(BlockId from, BlockId to) {
    ASSERT(holds(from) && table_[to].list() == 0);
    list_.replace(from, to);
    table_[to].mark.store(table_[from].mark.load(std::memory_order_relaxed), std::memory_order_relaxed);
    table_[to].set_charge(table_[from].charge());
    table_[to].set_list(number_);
    table_[from].set_list(0);
  }

  void set_charge(BlockId block, uint32_t charge) {
    add(int64_t{charge} - table_[block].charge());
    table_[block].set_charge(charge);
  }

  // True while the block is in the first quarter of the list, by charge.
  bool is_fresh(BlockId block) const {
    const uint32_t mark = table_[block].mark.load(std::memory_order_relaxed);
    return pushed_.load(std::memory_order_relaxed) - mark < charge() / 4;
  }
  // A mark for blocks that enter this list without being fresh.
  uint32_t stale_mark() const { return pushed_.load(std::memory_order_relaxed) - static_cast<uint32_t>(charge()); }

 private:
  void enter(BlockId block, uint32_t mark) {
    table_[block].mark.store(mark, std::memory_order_relaxed);
    table_[block].set_list(number_);
    add(table_[block].charge());
  }
  void add(int64_t more) { charge_.store(charge() + static_cast<uint64_t>(more), std::memory_order_relaxed); }

  BlockTable& table_;
  const uint32_t number_;
  IndexList<BlockEntry, &BlockEntry::link> list_;
  std::atomic<uint64_t> charge_{0};
  std::atomic<uint32_t> pushed_{0};  // what was pushed to the front ever; wraps
};

}  // namespace sluice
