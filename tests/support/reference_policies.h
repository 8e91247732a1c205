// What the policies should do, said as plainly as possible and as slowly as that is: lists that are searched and summed
// each time. Written from the papers, not from the classes under test.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <optional>

#include "cache/block.h"

namespace sluice {

struct ReferenceBlock {
  BlockId id;
  uint32_t charge;
};
using ReferenceList = std::list<ReferenceBlock>;  // newest first

inline ReferenceList::iterator find_in(ReferenceList& list, BlockId id) {
  return std::find_if(list.begin(), list.end(), [id](const ReferenceBlock& block) { return block.id == id; });
}
inline bool holds(ReferenceList& list, BlockId id) {
  return find_in(list, id) != list.end();
}
inline uint64_t charge_of(const ReferenceList& list) {
  uint64_t sum = 0;
  for (const ReferenceBlock& block : list) sum += block.charge;
  return sum;
}
inline ReferenceBlock pull(ReferenceList& list, BlockId id) {
  const auto found = find_in(list, id);
  const ReferenceBlock block = *found;
  list.erase(found);
  return block;
}
inline ReferenceBlock pull_oldest(ReferenceList& list) {
  const ReferenceBlock block = list.back();
  list.pop_back();
  return block;
}

class ReferenceLru {
 public:
  bool holds(BlockId id) { return sluice::holds(list_, id); }
  uint64_t charge() const { return charge_of(list_); }
  void insert(BlockId id, uint32_t charge) { list_.push_front({id, charge}); }
  void touch(BlockId id) { list_.push_front(pull(list_, id)); }
  void recharge(BlockId id, uint32_t charge) { find_in(list_, id)->charge = charge; }
  void remove(BlockId id) { pull(list_, id); }
  BlockId evict() { return pull_oldest(list_).id; }

 private:
  ReferenceList list_;
};

// FAST'03, figure 4, with charges, and with the victim chosen before the block that needs its place is known.
class ReferenceArc {
 public:
  explicit ReferenceArc(uint64_t capacity) : c_(capacity) {}

  bool holds(BlockId id) { return sluice::holds(t1_, id) || sluice::holds(t2_, id); }
  uint64_t charge() const { return charge_of(t1_) + charge_of(t2_); }

  void insert(BlockId id, uint32_t charge) {
    const auto b1 = static_cast<double>(charge_of(b1_));
    const auto b2 = static_cast<double>(charge_of(b2_));
    if (sluice::holds(b1_, id)) {  // case II
      p_ = std::min<double>(static_cast<double>(c_), p_ + charge * (b1 >= b2 ? 1 : b2 / b1));
      pull(b1_, id);
      t2_.push_front({id, charge});
    } else if (sluice::holds(b2_, id)) {  // case III
      p_ = std::max<double>(0, p_ - charge * (b2 >= b1 ? 1 : b1 / b2));
      pull(b2_, id);
      t2_.push_front({id, charge});
    } else {  // case IV
      t1_.push_front({id, charge});
    }
    while (!b1_.empty() && charge_of(t1_) + charge_of(b1_) > c_) b1_.pop_back();
    while (!b2_.empty() && this->charge() + charge_of(b1_) + charge_of(b2_) > 2 * c_) b2_.pop_back();
  }
  void touch(BlockId id) {  // case I
    t2_.push_front(pull(sluice::holds(t1_, id) ? t1_ : t2_, id));
  }
  void recharge(BlockId id, uint32_t charge) { find_in(sluice::holds(t1_, id) ? t1_ : t2_, id)->charge = charge; }
  void remove(BlockId id) { pull(sluice::holds(t1_, id) ? t1_ : t2_, id); }
  BlockId evict() {  // REPLACE
    c_ = charge();
    const bool from_t1 = t2_.empty() || (!t1_.empty() && static_cast<double>(charge_of(t1_)) > p_);
    const ReferenceBlock victim = pull_oldest(from_t1 ? t1_ : t2_);
    (from_t1 ? b1_ : b2_).push_front(victim);
    return victim.id;
  }

 private:
  ReferenceList t1_, t2_, b1_, b2_;
  double p_ = 0;
  uint64_t c_;
};

// The same with blocks of one unit, word for word: the victim is chosen after p was adapted, knowing what was missed.
class PaperArc {
 public:
  explicit PaperArc(size_t capacity) : c_(capacity) {}

  bool request(BlockId x) {
    if (take(t1_, x) || take(t2_, x)) {
      t2_.push_front(x);
      return true;
    }
    const double b1 = static_cast<double>(b1_.size());
    const double b2 = static_cast<double>(b2_.size());
    if (take(b1_, x)) {
      p_ = std::min(static_cast<double>(c_), p_ + (b1 >= b2 ? 1 : b2 / b1));
      replace(false);
      t2_.push_front(x);
    } else if (take(b2_, x)) {
      p_ = std::max(0.0, p_ - (b2 >= b1 ? 1 : b1 / b2));
      replace(true);
      t2_.push_front(x);
    } else {
      make_room();
      t1_.push_front(x);
    }
    return false;
  }

 private:
  using List = std::list<BlockId>;

  static bool take(List& list, BlockId x) {
    const auto found = std::find(list.begin(), list.end(), x);
    if (found == list.end()) return false;
    list.erase(found);
    return true;
  }
  void replace(bool in_b2) {
    const auto t1 = static_cast<double>(t1_.size());
    const bool from_t1 = !t1_.empty() && (t1 > p_ || (in_b2 && t1 == p_));
    List& from = from_t1 ? t1_ : t2_;
    (from_t1 ? b1_ : b2_).push_front(from.back());
    from.pop_back();
  }
  void make_room() {
    const size_t all = t1_.size() + t2_.size() + b1_.size() + b2_.size();
    if (t1_.size() + b1_.size() == c_) {
      if (t1_.size() < c_) {
        b1_.pop_back();
        replace(false);
      } else {
        t1_.pop_back();
      }
    } else if (all >= c_) {
      if (all == 2 * c_) b2_.pop_back();
      replace(false);
    }
  }

  List t1_, t2_, b1_, b2_;
  double p_ = 0;
  const size_t c_;
};

// S3-FIFO with blocks of one unit, as its authors' simulator (libCacheSim) has it: ghosts are a queue that those who
// come back leave.
class AuthorsS3Fifo {
 public:
  explicit AuthorsS3Fifo(size_t capacity) : c_(capacity), main_max_(capacity - capacity / 10) {}

  bool request(BlockId x) {
    if (const auto found = hits_.find(x); found != hits_.end()) {
      found->second = std::min(found->second + 1, 3);
      return true;
    }
    const auto ghost = std::find(ghosts_.begin(), ghosts_.end(), x);
    const bool was_here = ghost != ghosts_.end();
    if (was_here) ghosts_.erase(ghost);
    while (hits_.size() >= c_) evict();
    hits_[x] = 0;
    (was_here ? main_ : small_).push_front(x);
    return false;
  }

 private:
  using List = std::list<BlockId>;

  static BlockId pull_oldest(List& list) {
    const BlockId oldest = list.back();
    list.pop_back();
    return oldest;
  }
  // One of them, or none when all of the small queue went over to the main one.
  void evict() {
    const bool from_small = !small_.empty() && main_.size() <= main_max_;
    while (from_small && !small_.empty()) {
      const BlockId x = pull_oldest(small_);
      if (hits_[x] < 2) {
        hits_.erase(x);
        ghosts_.push_front(x);
        if (ghosts_.size() > main_max_) ghosts_.pop_back();
        return;
      }
      hits_[x] = 0;
      main_.push_front(x);
    }
    while (!from_small) {
      const BlockId x = pull_oldest(main_);
      if (hits_[x]-- == 0) {
        hits_.erase(x);
        return;
      }
      main_.push_front(x);
    }
  }

  List small_, main_, ghosts_;
  std::map<BlockId, int> hits_;  // of what is held
  const size_t c_;
  const size_t main_max_;
};

}  // namespace sluice
