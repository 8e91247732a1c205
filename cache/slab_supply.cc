#include "cache/slab_supply.h"

#include <algorithm>

#include "cache/assert.h"
#include "cache/release_test.h"

namespace sluice {

SlabSupply::SlabSupply(SlabMemory* memory, const SlabSupplyOptions& options)
    : memory_(memory), options_(options), states_(options.slabs_max, State::absent), limit_(options.limit) {
  counts_[static_cast<size_t>(State::absent)] = options.slabs_max;
  thread_ = std::thread([this] { run(); });
}

SlabSupply::~SlabSupply() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

Result<SlabSupply::Slab> SlabSupply::take() {
  for (;;) {
    if (const std::optional<Slab> slab = take_ready()) return *slab;
    MutexLock touching(&touch_mutex_);
    {
      MutexLock lock(&mutex_);
      if (count(State::ready) > 0) continue;  // by the thread, meanwhile
      ASSERT(lowest(State::absent) || lowest(State::going_back));
    }
    TRY(make_ready());
  }
}

std::optional<SlabSupply::Slab> SlabSupply::take_ready() {
  MutexLock lock(&mutex_);
  const std::optional<uint32_t> slab = lowest(State::ready);
  if (!slab) return std::nullopt;
  set_state(*slab, State::taken);
  changed_.notify_one();
  return Slab{.number = *slab, .guarded = options_.guards && !unguarded_};
}

// One more below the limit, of those whose memory is still there if there are any.
Result<> SlabSupply::make_ready() {
  uint32_t slab;
  {
    MutexLock lock(&mutex_);
    const std::optional<uint32_t> going_back = lowest(State::going_back);
    if (going_back) {
      set_state(*going_back, State::ready);
      return {};
    }
    const std::optional<uint32_t> absent = lowest(State::absent);
    if (!absent) return {};  // the limit was lowered meanwhile
    slab = *absent;
  }
  const Result<> touched = memory_->touch(slab);
  const bool unguarded = touched && options_.guards && !install_guard(memory_->address(slab));
  MutexLock lock(&mutex_);
  refused_ = !touched;
  if (!touched) return touched;
  unguarded_ |= unguarded;
  set_state(slab, slab < limit_ ? State::ready : State::going_back);
  return {};
}

void SlabSupply::give_back(uint32_t slab) {
  MutexLock lock(&mutex_);
  ASSERT(states_[slab] == State::taken);
  set_state(slab, State::going_back);
  changed_.notify_one();
}

void SlabSupply::set_limit(uint32_t slabs) {
  MutexLock lock(&mutex_);
  ASSERT(slabs <= options_.slabs_max);
  limit_ = slabs;
  refused_ = false;
  for (uint32_t slab = limit_; slab < states_.size(); slab++) {
    if (states_[slab] == State::ready) set_state(slab, State::going_back);
  }
  changed_.notify_one();
}

uint32_t SlabSupply::going_back() const {
  MutexLock lock(&mutex_);
  return count(State::going_back);
}

void SlabSupply::return_one() {
  uint32_t slab;
  {
    MutexLock lock(&mutex_);
    const auto found = std::find(states_.begin(), states_.end(), State::going_back);
    if (found == states_.end()) return;
    slab = static_cast<uint32_t>(found - states_.begin());
  }
  memory_->give_back(slab);
  if (options_.guards) remove_guard(memory_->address(slab));
  MutexLock lock(&mutex_);
  set_state(slab, State::absent);
}

std::optional<uint32_t> SlabSupply::lowest(State state) const {
  const auto end = states_.begin() + limit_;
  const auto found = std::find(states_.begin(), end, state);
  if (found == end) return std::nullopt;
  return static_cast<uint32_t>(found - states_.begin());
}

void SlabSupply::set_state(uint32_t slab, State state) {
  count(states_[slab])--;
  states_[slab] = state;
  count(state)++;
}

// The first slab is everybody's; the second says that the cache grows. Who takes a slab when memory was refused meets
// the refusal itself and says so.
bool SlabSupply::wants_more() const {
  return count(State::taken) > 1 && !refused_ && count(State::ready) < options_.ready_max &&
         lowest(State::absent).has_value();
}

void SlabSupply::run() {
  for (;;) {
    bool returns;
    {
      MutexLock lock(&mutex_);
      while (!stopping_ && count(State::going_back) == 0 && !wants_more()) changed_.wait(mutex_);
      if (stopping_) return;
      returns = count(State::going_back) > 0;
    }
    MutexLock touching(&touch_mutex_);
    if (returns) {
      return_one();
      continue;
    }
    {
      MutexLock lock(&mutex_);
      if (!wants_more()) continue;  // somebody took them meanwhile
    }
    (void)make_ready();
  }
}

}  // namespace sluice
