// GhostLists remembers the hashes of blocks that were evicted, in two lists that know their order and their charge,
// found by hash. Both share one pool of ghosts, so that their memory is bounded however it is divided; when the pool is
// empty the oldest ghost of the longer list goes.
//
// Half of the hash is kept: among a million ghosts one block in 4000 is mistaken for another, which costs no more than
// a place of honour that was not deserved. Hashes whose low halves differ are never mistaken.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "cache/assert.h"
#include "cache/index_list.h"
#include "cache/lazy_array.h"

namespace sluice {

enum class GhostList : uint8_t { recent, frequent };

struct Ghost {
  ListLink link;  // a free one: next is the next free one, plus one
  uint32_t tag;
  uint32_t next_in_bucket;  // plus one; 0: it is the last
  uint32_t charge_and_list;

  GhostList list() const { return static_cast<GhostList>(charge_and_list & 1); }
  uint32_t charge() const { return charge_and_list >> 1; }
};

class GhostLists {
 public:
  explicit GhostLists(uint64_t ghosts_max) : ghosts_(ghosts_max), buckets_(ghosts_max) {
    for (List& list : lists_) list.order = Order(ghosts_.data());
  }

  static constexpr uint32_t kBytesPerGhost = sizeof(Ghost) + sizeof(uint32_t);
  static_assert(kBytesPerGhost == 24);

  bool empty(GhostList list) const { return at(list).order.empty(); }
  uint64_t charge(GhostList list) const { return at(list).charge; }

  // As the newest. The hash must be in no list.
  void push(GhostList list, uint64_t hash, uint32_t charge) {
    const uint32_t place = allocate();
    Ghost& ghost = ghosts_[place];
    ghost.tag = tag_of(hash);
    ghost.charge_and_list = charge << 1 | static_cast<uint32_t>(list);
    uint32_t& bucket = bucket_of(ghost.tag);
    ghost.next_in_bucket = bucket;
    bucket = place + 1;
    at(list).order.push_front(place);
    at(list).charge += charge;
  }

  // The list that it is in, if any.
  std::optional<GhostList> find(uint64_t hash) const {
    const uint32_t place = place_of(hash);
    return place == kNone ? std::nullopt : std::optional(ghosts_[place].list());
  }

  void forget(uint64_t hash) {
    const uint32_t place = place_of(hash);
    if (place != kNone) release(place);
  }
  void forget_oldest(GhostList list) {
    ASSERT(!empty(list));
    release(at(list).order.back());
  }

 private:
  using Order = IndexList<Ghost, &Ghost::link>;
  struct List {
    Order order;
    uint64_t charge = 0;
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  List& at(GhostList list) { return lists_[static_cast<size_t>(list)]; }
  const List& at(GhostList list) const { return lists_[static_cast<size_t>(list)]; }

  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash * 0x9e3779b97f4a7c15); }  // odd
  uint32_t& bucket_of(uint32_t tag) { return buckets_[uint64_t{tag} * buckets_.size() >> 32]; }

  uint32_t place_of(uint64_t hash) const {
    const uint32_t tag = tag_of(hash);
    uint32_t next = const_cast<GhostLists*>(this)->bucket_of(tag);
    while (next != 0 && ghosts_[next - 1].tag != tag) next = ghosts_[next - 1].next_in_bucket;
    return next - 1;  // kNone for 0
  }

  uint32_t allocate() {
    if (free_ == 0 && used_ == ghosts_.size()) {
      const bool recent_is_longer = charge(GhostList::recent) >= charge(GhostList::frequent);
      forget_oldest(recent_is_longer ? GhostList::recent : GhostList::frequent);
    }
    if (free_ == 0) return used_++;
    const uint32_t place = free_ - 1;
    free_ = ghosts_[place].link.next;
    return place;
  }

  void release(uint32_t place) {
    Ghost& ghost = ghosts_[place];
    uint32_t* link = &bucket_of(ghost.tag);
    while (*link != place + 1) link = &ghosts_[*link - 1].next_in_bucket;
    *link = ghost.next_in_bucket;
    List& list = at(ghost.list());
    list.order.remove(place);
    list.charge -= ghost.charge();
    ghost.link.next = free_;
    free_ = place + 1;
  }

  LazyArray<Ghost> ghosts_;
  LazyArray<uint32_t> buckets_;  // the first ghost of each, plus one
  std::array<List, 2> lists_;
  uint32_t free_ = 0;  // the first of the free ghosts among those used before, plus one
  uint32_t used_ = 0;
};

}  // namespace sluice
