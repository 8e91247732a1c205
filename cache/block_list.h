// BlockList is what the list-shaped policies share: a list of blocks that knows how many pages it charges, and how near
// its front a block still is without walking it (InnoDB's freed_page_clock trick): every push to the front moves
// the others back by the pages pushed, so a block is as far back as pages were pushed since it was.
//
// One thread at a time changes the lists; is_fresh reads relaxed atomics and may be called from any.
#pragma once

#include <atomic>
#include <cstdint>

#include "cache/assert.h"
#include "cache/block.h"
#include "cache/index_list.h"
#include "cache/lazy_array.h"

namespace sluice {

struct BlockEntry {
  ListLink link;
  std::atomic<uint32_t> mark;  // belongs to the list that the block is in; BlockList::push_fresh sets it
  std::atomic<uint8_t> list;   // the policy's number for that list; 0: in none
  uint8_t pages;
};
static_assert(sizeof(BlockEntry) == 16);

inline void set_pages(BlockEntry& entry, uint32_t pages) {
  ASSERT(pages > 0 && pages <= kPagesPerBlock);
  entry.pages = static_cast<uint8_t>(pages);
}

using BlockTable = LazyArray<BlockEntry>;

class BlockList {
 public:
  BlockList(BlockTable& table, uint8_t number) : table_(table), number_(number), list_(&table[0]) {}

  bool empty() const { return list_.empty(); }
  BlockId front() const { return list_.front(); }  // kNoBlock when empty
  BlockId back() const { return list_.back(); }
  uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }
  bool holds(BlockId block) const { return table_[block].list.load(std::memory_order_relaxed) == number_; }

  // To the front, as the freshest.
  void push_fresh(BlockId block) {
    const uint32_t pushed = pushed_.load(std::memory_order_relaxed) + table_[block].pages;
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
    add_pages(-int64_t{table_[block].pages});
    table_[block].list.store(0, std::memory_order_relaxed);
  }

  void charge(BlockId block, uint32_t pages) {
    add_pages(int64_t{pages} - table_[block].pages);
    set_pages(table_[block], pages);
  }

  // True while the block is in the first quarter of the list, by pages.
  bool is_fresh(BlockId block) const {
    const uint32_t mark = table_[block].mark.load(std::memory_order_relaxed);
    return pushed_.load(std::memory_order_relaxed) - mark < pages() / 4;
  }
  // A mark for blocks that enter this list without being fresh.
  uint32_t stale_mark() const { return pushed_.load(std::memory_order_relaxed) - static_cast<uint32_t>(pages()); }

 private:
  void enter(BlockId block, uint32_t mark) {
    table_[block].mark.store(mark, std::memory_order_relaxed);
    table_[block].list.store(number_, std::memory_order_relaxed);
    add_pages(table_[block].pages);
  }
  void add_pages(int64_t more) { pages_.store(pages() + static_cast<uint64_t>(more), std::memory_order_relaxed); }

  BlockTable& table_;
  const uint8_t number_;
  IndexList<BlockEntry, &BlockEntry::link> list_;
  std::atomic<uint64_t> pages_{0};
  std::atomic<uint32_t> pushed_{0};  // pages pushed to the front ever; wraps
};

}  // namespace sluice
