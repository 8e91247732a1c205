// ARC divides the cache between blocks that were used once lately and blocks that were used more often, and learns the
// division from its own mistakes: a miss on a block that it evicted a moment ago says which part was too small.
//
//        <------ ghosts ------>|<------------- cached ------------->|<------ ghosts ------>
//        oldest  recent ghosts | recent (once)   p   frequent (more) | frequent ghosts  oldest
//
//   insert     a ghost of recent: that part was too small, its target p grows; of frequent: p shrinks. By the block's
//              charge, times the other ghosts' share when those are more. A ghost enters frequent, any other
//              block recent
//   touch      to the front of frequent
//   evict      the back of recent if recent is larger than p, else that of frequent; its hash goes to the front
//              of the same side's ghosts (but not when it was read ahead in vain). What was read ahead and not asked
//              for yet stays while recent is an eighth of all or less
//   remove     leaves no ghost: the bytes are gone, reading them again says nothing about the cache
//   charge     changes the sums only; the block keeps its place
//
// With c for what the cache holds: recent and its ghosts are at most c, all four lists at most 2c; beyond that the
// oldest ghosts go. c is what was held at the last eviction, not a constant, so memory that is lent counts for nothing
// while it is away, and a cache that was resized is followed.
//
// Readahead is not in the paper. Where p is near 0, what is read ahead would go before its reader comes: beside random
// reads of a set larger than the cache a stream lost a fifth of it, and all hits together were fewer than with lru.
//
// Worked example, c = 1000 blocks of one page, a working set of 800 hit often and a scan: the 800 are in frequent, the
// scan's blocks pass through recent. Nobody asks for their ghosts, p stays near 0, and the scan evicts itself. When the
// 800 are exchanged for others, those are found among the ghosts of recent, p grows, and they have time to be hit
// again.
//
// The paper adapts p before it chooses the victim of the same miss. Here memory is needed before the disk is asked, so
// the victim goes first and p takes effect one miss later; on the paper's traces that changes nothing (the hit ratios
// are in sluice-internals(7)).
//
// Correlated hits: in live traffic is_recent leaves out hits on the freshest quarter of either part, so that a block
// read in pieces within moments does not count as used often. The simulator reports every hit.
//
// Cost: a hit moves one block (five stores, three cache lines); the freshest need no lock. A miss is one push and a
// look at the ghosts (two or three cache lines), an eviction one removal and one ghost. 16 bytes per block and 24
// per ghost, of which there are at most as many as blocks and 1/16 more: memory is made for several blocks at once, and
// only when they enter is it known which ghosts are too many.
// Source: Megiddo, Modha: ARC, a self-tuning, low overhead replacement cache, FAST 2003.
#include <algorithm>
#include <optional>

#include "cache/assert.h"
#include "cache/block_list.h"
#include "cache/ghost_lists.h"
#include "cache/policy.h"

namespace sluice {
namespace {

constexpr uint64_t kAheadShare = 8;  // two windows of each of two streams, as large as they get

constexpr uint64_t ghosts_max(uint64_t blocks) {
  return blocks + blocks / 16 + 1;
}

class ArcPolicy final : public Policy {
 public:
  explicit ArcPolicy(const PolicyOptions& options)
      : owner_(options.owner),
        table_(options.blocks_max),
        recent_(table_, 1),
        frequent_(table_, 2),
        held_(options.capacity) {
    make_ghosts(options.capacity);
  }

  void insert(BlockId block, uint32_t charge) override {
    ASSERT(block < table_.size() && !knows(block));
    table_[block].set_charge(charge);
    const uint64_t hash = owner_->hash_of(block);
    if (const std::optional<GhostList> ghost = ghosts_->find(hash)) {
      adapt(*ghost, charge);
      ghosts_->forget(hash);
      frequent_.push_fresh(block);
    } else {
      recent_.push_fresh(block);
    }
    trim_ghosts();
  }

  void touch(BlockId block) override {
    if (!knows(block)) return;
    list_of(block).remove(block);
    frequent_.push_fresh(block);
  }

  void charge(BlockId block, uint32_t charge) override {
    if (knows(block)) list_of(block).set_charge(block, charge);
  }

  void remove(BlockId block) override {
    if (knows(block)) list_of(block).remove(block);
  }

  BlockId evict() override {
    if (recent_.empty() && frequent_.empty()) return kNoBlock;
    held_ = recent_.charge() + frequent_.charge();
    const bool from_recent = !recent_.empty() && (frequent_.empty() || recent_is_too_large());
    BlockList& list = from_recent ? recent_ : frequent_;
    const BlockId victim = list.back();
    list.remove(victim);
    if (owner_->was_used(victim)) {
      const GhostList ghosts = from_recent ? GhostList::recent : GhostList::frequent;
      ghosts_->push(ghosts, owner_->hash_of(victim), table_[victim].charge());
    }
    return victim;
  }

  void move(BlockId from, BlockId to) override {
    if (knows(from)) list_of(from).move(from, to);
  }
  void resize(uint64_t capacity, uint32_t blocks_max) override {
    table_.forget_from(blocks_max);
    make_ghosts(capacity);
  }

  bool is_recent(BlockId block) const override {
    if (!knows(block)) return true;
    return frequent_.holds(block) ? frequent_.is_fresh(block) : recent_.is_fresh(block);
  }

  std::string_view name() const override { return kArcPolicy.name; }

 private:
  bool knows(BlockId block) const { return block < table_.size() && (recent_.holds(block) || frequent_.holds(block)); }
  BlockList& list_of(BlockId block) { return recent_.holds(block) ? recent_ : frequent_; }

  bool recent_is_too_large() const {
    if (static_cast<double>(recent_.charge()) <= recent_target_) return false;
    return recent_.charge() > held_ / kAheadShare || owner_->was_used(recent_.back());
  }

  void make_ghosts(uint64_t capacity) { ghosts_.emplace(ghosts_max(std::min<uint64_t>(table_.size(), capacity))); }

  // Called while the ghost that was missed is still in its list, which is therefore not empty.
  void adapt(GhostList missed, uint32_t charge) {
    const auto recent = static_cast<double>(ghosts_->charge(GhostList::recent));
    const auto frequent = static_cast<double>(ghosts_->charge(GhostList::frequent));
    if (missed == GhostList::recent) {
      const double step = charge * std::max(1.0, frequent / recent);
      recent_target_ = std::min(recent_target_ + step, static_cast<double>(held_));
    } else {
      const double step = charge * std::max(1.0, recent / frequent);
      recent_target_ = std::max(recent_target_ - step, 0.0);
    }
  }

  void trim_ghosts() {
    while (!ghosts_->empty(GhostList::recent) && recent_.charge() + ghosts_->charge(GhostList::recent) > held_) {
      ghosts_->forget_oldest(GhostList::recent);
    }
    const uint64_t blocks = recent_.charge() + frequent_.charge() + ghosts_->charge(GhostList::recent);
    while (!ghosts_->empty(GhostList::frequent) && blocks + ghosts_->charge(GhostList::frequent) > 2 * held_) {
      ghosts_->forget_oldest(GhostList::frequent);
    }
  }

  const BlockOwner* const owner_;
  BlockTable table_;
  BlockList recent_;                  // T1 in the paper
  BlockList frequent_;                // T2
  std::optional<GhostLists> ghosts_;  // B1, B2
  double recent_target_ = 0;          // p
  uint64_t held_;                     // c
};

std::unique_ptr<Policy> make(const PolicyOptions& options) {
  return std::make_unique<ArcPolicy>(options);
}

}  // namespace

const PolicyKind kArcPolicy{"arc", sizeof(BlockEntry), GhostLists::kBytesPerGhost * 17 / 16 + 1, 0, make};

}  // namespace sluice
