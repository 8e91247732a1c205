// PolicyCache is a cache without bytes around a policy: blocks come and go as it says, charges never exceed the
// capacity.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "cache/assert.h"
#include "cache/policy.h"

namespace sluice {

class PolicyCache {
 public:
  PolicyCache(std::unique_ptr<Policy> policy, uint64_t capacity) : policy_(std::move(policy)), capacity_(capacity) {}

  Policy& policy() { return *policy_; }
  uint64_t charge() const { return charge_; }
  bool holds(BlockId block) const { return held_.contains(block); }

  // True: a hit.
  bool request(BlockId block, uint32_t charge = 1) {
    if (holds(block)) {
      policy_->touch(block);
      return true;
    }
    while (charge_ + charge > capacity_) evict();
    policy_->insert(block, charge);
    held_[block] = charge;
    charge_ += charge;
    return false;
  }
  void remove(BlockId block) {
    policy_->remove(block);
    forget(block);
  }
  void recharge(BlockId block, uint32_t charge) {
    policy_->charge(block, charge);
    if (!holds(block)) return;
    charge_ = charge_ - held_[block] + charge;
    held_[block] = charge;
    while (charge_ > capacity_) evict();
  }
  BlockId evict() {
    const BlockId victim = policy_->evict();
    ASSERT(holds(victim));
    forget(victim);
    return victim;
  }

 private:
  void forget(BlockId block) {
    const auto found = held_.find(block);
    if (found == held_.end()) return;
    charge_ -= found->second;
    held_.erase(found);
  }

  std::unique_ptr<Policy> policy_;
  const uint64_t capacity_;
  std::map<BlockId, uint32_t> held_;
  uint64_t charge_ = 0;
};

}  // namespace sluice
