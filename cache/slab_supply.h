// SlabSupply hands out the arena's slabs, touched and guarded, and takes them back. The first touch of a slab takes
// some 200 us, and milliseconds in a virtual machine whose host has to find the memory: as long as the disk needs to
// fill it. So once the cache has begun to grow a thread keeps a few slabs ready ahead of the demand; a cache that stays
// small never takes their memory. The same thread gives memory back to the system, which takes as long.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "cache/mutex.h"
#include "cache/result.h"
#include "cache/slab_memory.h"

namespace sluice {

struct SlabSupplyOptions {
  uint32_t slabs_max = 0;  // numbers are below this
  uint32_t limit = 0;      // ... and below this, until set_limit changes it
  uint32_t ready_max = 8;  // touched ahead, from the second slab on
  bool guards = false;     // the last page of each slab becomes its guard
};

class SlabSupply {
 public:
  struct Slab {
    uint32_t number;
    bool guarded;
  };

  // `memory` outlives it.
  SlabSupply(SlabMemory* memory, const SlabSupplyOptions& options);
  ~SlabSupply();
  SlabSupply(const SlabSupply&) = delete;
  SlabSupply& operator=(const SlabSupply&) = delete;

  // One that is not taken, below the limit, of which there must be one: those that are ready, then the lowest. One
  // thread at a time. Touches the slab itself when none is ready. Errors: ENOMEM.
  Result<Slab> take();
  // Nobody uses the slab any more. Its memory goes back to the system soon.
  void give_back(uint32_t slab);
  // Slabs from there on are not handed out. Those that are taken stay so until they are given back.
  void set_limit(uint32_t slabs);
  // Given back, or touched ahead beyond the limit, and their memory not yet the system's.
  uint32_t going_back() const;

 private:
  enum class State : uint8_t { absent, ready, taken, going_back };

  void run();
  std::optional<Slab> take_ready();
  Result<> make_ready() REQUIRES(touch_mutex_);
  void return_one() REQUIRES(touch_mutex_);
  bool wants_more() const REQUIRES(mutex_);
  std::optional<uint32_t> lowest(State state) const REQUIRES(mutex_);
  void set_state(uint32_t slab, State state) REQUIRES(mutex_);
  uint32_t& count(State state) REQUIRES(mutex_) { return counts_[static_cast<size_t>(state)]; }
  uint32_t count(State state) const REQUIRES(mutex_) { return counts_[static_cast<size_t>(state)]; }

  SlabMemory* const memory_;
  const SlabSupplyOptions options_;

  Mutex touch_mutex_;  // before mutex_; held for as long as it takes to touch a slab or to return it

  mutable Mutex mutex_;  // leaf
  CondVar changed_;
  std::vector<State> states_ GUARDED_BY(mutex_);
  std::array<uint32_t, 4> counts_ GUARDED_BY(mutex_){};  // by state
  uint32_t limit_ GUARDED_BY(mutex_);
  bool unguarded_ GUARDED_BY(mutex_) = false;  // a guard was refused
  bool refused_ GUARDED_BY(mutex_) = false;    // memory was, lately: nothing is touched ahead
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sluice
