// GhostTable remembers the hashes of blocks that were evicted lately, in 8 bytes each. It is a FIFO without links: an
// entry is stamped with what had been added before it, and is forgotten once `span` more was added. It is a hash
// table of sets of 8 entries, a cache line each, so that every call costs one cache miss. A full set forgets its oldest
// entry early: with as many ghosts as places that are the last few percent of the span.
//
// What counts against the span is the owner's choice. Either all that was added since, so that ghosts are a measure of
// time. Or only what is still there, so that the table holds as much as the span whatever comes back: for that it sums
// up what is left of each stamp, in another 128 KiB whatever its size.
//
// Hashes whose low halves differ are never mistaken for one another; others are if they also share a set.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "cache/lazy_array.h"

namespace sluice {

struct GhostTableOptions {
  uint32_t ghosts_max = 0;
  uint64_t span = 0;  // in the unit of charges, about; decides how fine the stamps are
  bool taken_make_room = false;
};

class GhostTable {
  // Fine enough to tell a span by, coarse enough for a million spans to pass before a stamp comes again.
  static constexpr uint64_t kStampsPerSpan = 4096;
  // Three of four ghosts may come back before the others are forgotten for that.
  static constexpr uint32_t kStampsLeftMax = 4 * kStampsPerSpan;

 public:
  explicit GhostTable(const GhostTableOptions& options)
      : sets_count_(options.ghosts_max / kWays + 1),
        charge_per_stamp_(std::max<uint64_t>(1, options.span / kStampsPerSpan)),
        added_(charge_per_stamp_),
        sets_(sets_count_),
        left_(options.taken_make_room ? kStampsLeftMax : 0) {}

  static constexpr uint32_t kBytesPerGhost = 8;
  static constexpr uint32_t kBytesOfStamps = kStampsLeftMax * sizeof(uint64_t);  // where taken_make_room

  void add(uint64_t hash, uint32_t charge) {
    const Place place = place_of(hash);
    auto& set = sets_[place.set];
    // An empty entry is older than any other.
    Ghost& oldest =
        *std::max_element(set.begin(), set.end(), [this](const Ghost& a, const Ghost& b) { return age(a) < age(b); });
    if (!left_.empty()) {
      if (is_left(oldest)) uncount(oldest.stamp, charge);  // its own is about the same
      count(charge);
    }
    oldest = {place.tag, stamp()};
    added_ += charge;
  }

  // True if it was there and no more than `span` counts since, itself included. Forgets it, and that `charge` counted.
  bool take(uint64_t hash, uint32_t charge, uint64_t span) {
    if (!left_.empty()) forget_beyond(span);
    const Place place = place_of(hash);
    for (Ghost& ghost : sets_[place.set]) {
      if (ghost.stamp == 0 || ghost.tag != place.tag) continue;
      const bool found = left_.empty() ? age(ghost) <= span / charge_per_stamp_ : is_left(ghost);
      if (found && !left_.empty()) uncount(ghost.stamp, charge);
      ghost = {};
      return found;
    }
    return false;
  }

 private:
  struct Ghost {
    uint32_t tag;
    uint32_t stamp;  // 0: empty
  };
  static_assert(sizeof(Ghost) == kBytesPerGhost);
  static constexpr uint32_t kWays = 8;

  struct Place {
    uint64_t set;
    uint32_t tag;
  };
  Place place_of(uint64_t hash) const {
    const uint64_t mixed = hash * 0x9e3779b97f4a7c15;  // odd: the low half differs where the hash's does
    return {(mixed >> 32) * sets_count_ >> 32, static_cast<uint32_t>(mixed)};
  }

  uint32_t stamp() const { return std::max<uint32_t>(1, static_cast<uint32_t>(added_ / charge_per_stamp_)); }
  uint32_t age(const Ghost& ghost) const { return ghost.stamp == 0 ? UINT32_MAX : stamp() - ghost.stamp; }

  bool is_left(const Ghost& ghost) const { return ghost.stamp != 0 && age(ghost) <= stamp() - oldest_; }
  uint64_t& left_of(uint32_t stamp) { return left_[stamp % kStampsLeftMax]; }
  void count(uint32_t charge) {
    while (stamp() - oldest_ >= kStampsLeftMax) forget_oldest();
    left_of(stamp()) += charge;
    left_sum_ += charge;
  }
  void uncount(uint32_t stamp, uint32_t charge) {
    const uint64_t known = std::min<uint64_t>(left_of(stamp), charge);
    left_of(stamp) -= known;
    left_sum_ -= known;
  }
  void forget_oldest() { left_sum_ -= std::exchange(left_of(oldest_++), 0); }
  void forget_beyond(uint64_t span) {
    while (left_sum_ > span && oldest_ != stamp()) forget_oldest();
  }

  const uint64_t sets_count_;
  const uint64_t charge_per_stamp_;
  uint64_t added_;  // from one stamp on, as 0 means empty
  LazyArray<std::array<Ghost, kWays>> sets_;
  std::vector<uint64_t> left_;  // of each stamp from oldest_ on, by charge; empty: all that was added counts
  uint64_t left_sum_ = 0;
  uint32_t oldest_ = 1;  // stamp that is not forgotten
};

}  // namespace sluice
