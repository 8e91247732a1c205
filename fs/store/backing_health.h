// BackingHealth knows what waits for the backing: threads inside calls that block, and reads and writes of the disk.
// From that it tells whether the backing hangs, and refuses more of what would only hang as well.
//
// Four uses of a backing hang separately (a frozen file system still reads; what a kernel has cached of a dead server
// is still shown): calls that look, calls that change, reads, writes. One of them hangs when the oldest of its kind has
// waited for `io_timeout`, and none has come back for as long. Then new ones are refused at once (ETIMEDOUT), but for
// one now and then that tries. They are refused as well when kCallsMax threads wait: threads are what hits need.
//
// What does it cost? A call is three stores into a slot of its thread, 7 ns; no clock is read. Times are those of
// tick(), which looks at all slots: a call that has the same serial number as at the last tick has been there since.
// A read or a write of the disk takes a mutex. A tick that comes late (this process was stopped, not the backing)
// counts as one second.
//
// Thread-safe, but for tick(): one thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "cache/clock.h"
#include "cache/log_limit.h"
#include "cache/mutex.h"
#include "cache/result.h"

namespace sluice {

enum class BackingUse : uint8_t { look, change, read, write };
// Who calls: each front end sees to its own threads.
enum class BackingUser : uint8_t { fuse, http, nfs };

struct BackingHealthOptions {
  std::chrono::nanoseconds io_timeout = std::chrono::seconds(60);  // 0: requests wait for ever
  const Clock* clock = &system_clock();
};

struct BackingStats {
  bool hung = false;  // nothing came back for kSilence or longer, while something waits
  std::chrono::nanoseconds hung_for{};
  uint64_t calls = 0;  // that wait, for longer than a tick
  uint64_t reads = 0;
  uint64_t writes = 0;
  uint64_t refused = 0;      // at once
  uint64_t timed_out = 0;    // requests of front ends
  uint64_t interrupted = 0;  // the same
};

class BackingHealth {
 public:
  static constexpr std::chrono::milliseconds kTick{100};
  static constexpr std::chrono::seconds kSilence{5};  // then the log and the status say that the backing hangs
  static constexpr uint32_t kCallsMax = 64;           // threads that wait in calls of one use

  explicit BackingHealth(const BackingHealthOptions& options);
  ~BackingHealth();
  BackingHealth(const BackingHealth&) = delete;
  BackingHealth& operator=(const BackingHealth&) = delete;

  std::chrono::nanoseconds io_timeout() const { return options_.io_timeout; }

  // This thread begins something that may call the backing, and is through. Not nested.
  void begin_call(BackingUser user);
  static void end_call();
  // What this thread is inside consists of many calls, of which one has come back. For others it does nothing.
  static void begin_next_call();
  // While it lives, this thread is not to wait: calls are not admitted, with EWOULDBLOCK.
  class NoCalls {
   public:
    NoCalls() { no_calls = true; }
    ~NoCalls() { no_calls = false; }
    NoCalls(const NoCalls&) = delete;
    NoCalls& operator=(const NoCalls&) = delete;
  };
  static bool is_without_calls() { return no_calls; }
  // Before a call, by the thread that makes it: may it be made? Errors: ETIMEDOUT.
  Result<void> admit(BackingUse use);
  // The same for a caller that leaves the call to another thread, which says `will_use` when it begins.
  bool admits(BackingUse use) { return !refusing(use) || may_try(use); }
  static void will_use(BackingUse use);
  // Threads of this user that have been inside a call for longer than a tick.
  uint32_t stuck_calls(BackingUser user) const { return stuck_[index(user)].load(std::memory_order_relaxed); }

  // A read or a write of the disk.
  using Transfer = std::list<std::chrono::nanoseconds>::iterator;
  Result<Transfer> begin_transfer(BackingUse use);
  void end_transfer(BackingUse use, Transfer transfer);
  // The disk is so slow that nothing should be read that nobody has asked for.
  bool is_slow() const { return slow_.load(std::memory_order_relaxed); }

  // Somebody got this error; it may be that the backing has gone. Whether one did since the last time.
  void note_error(int error);
  bool take_suspicion() { return suspicion_.load(std::memory_order_relaxed) && suspicion_.exchange(false); }

  void count_timed_out() { timed_out_.fetch_add(1, std::memory_order_relaxed); }
  void count_interrupted() { interrupted_.fetch_add(1, std::memory_order_relaxed); }
  BackingStats stats() const;

  // Looks at everything, then calls the listeners, which are to answer requests that have waited for too long.
  void tick();
  // Ticks by a thread of its own.
  void start();
  void stop();
  // `listener` runs in each tick, until removed; when `remove_listener` returns it does not run any more.
  using Listener = std::function<void(std::chrono::nanoseconds now)>;
  uint64_t add_listener(Listener listener);
  void remove_listener(uint64_t id);

 private:
  static constexpr size_t kUses = 4;
  static constexpr size_t kUsers = 3;
  static size_t index(BackingUse use) { return static_cast<size_t>(use); }
  static size_t index(BackingUser user) { return static_cast<size_t>(user); }
  static bool is_call(size_t use) { return use <= static_cast<size_t>(BackingUse::change); }

  struct Slot;    // of a thread
  struct Slots;   // outlives us while threads have some of it
  struct Holder;  // what a thread has
  static thread_local Holder holder;
  static inline thread_local bool no_calls = false;

  struct Use {
    // Of the ticking thread.
    std::chrono::nanoseconds oldest{};     // since when it waits; 0: nothing does
    std::chrono::nanoseconds came_back{};  // one of them, last
    std::chrono::nanoseconds next_try{};
    uint32_t waiting = 0;  // for longer than a tick

    std::atomic<bool> refusing{false};
    std::atomic<bool> may_try{false};
  };
  struct Transfers {
    std::list<std::chrono::nanoseconds> begun;  // oldest first
    std::list<std::chrono::nanoseconds> spare;  // nodes
    std::chrono::nanoseconds came_back{};
  };

  bool refusing(BackingUse use) const { return uses_[index(use)].refusing.load(std::memory_order_relaxed); }
  bool may_try(BackingUse use);
  std::chrono::nanoseconds now() const { return std::chrono::nanoseconds(now_.load(std::memory_order_relaxed)); }
  std::chrono::nanoseconds move_time();
  void look_at_calls(std::chrono::nanoseconds now);
  void look_at_transfers(std::chrono::nanoseconds now);
  void judge(Use& use, bool is_call, std::chrono::nanoseconds now) const;
  void report(std::chrono::nanoseconds now);
  void run();

  const BackingHealthOptions options_;
  const std::shared_ptr<Slots> slots_;
  std::array<Use, kUses> uses_;
  std::array<std::atomic<uint32_t>, kUsers> stuck_{};
  std::atomic<bool> slow_{false};
  std::atomic<bool> suspicion_{false};
  std::atomic<int64_t> now_{0};               // nanoseconds, of the last tick; the time of all the rest
  std::chrono::nanoseconds clock_at_tick_{};  // of the ticking thread
  std::atomic<uint64_t> refused_{0}, timed_out_{0}, interrupted_{0};
  LogLimit log_limit_{{.lines_max = 10, .period = std::chrono::minutes(1)}};  // of the ticking thread
  bool told_ = false;                                                         // ... in the log that it hangs

  mutable Mutex mutex_{Mutex::Spins::yes};  // leaf
  std::array<Transfers, 2> transfers_ GUARDED_BY(mutex_);
  BackingStats stats_ GUARDED_BY(mutex_);                     // as of the last tick
  std::chrono::nanoseconds hung_since_ GUARDED_BY(mutex_){};  // 0: it is not

  Mutex listeners_mutex_;  // held while they run
  std::vector<std::pair<uint64_t, Listener>> listeners_ GUARDED_BY(listeners_mutex_);
  uint64_t next_listener_ GUARDED_BY(listeners_mutex_) = 1;

  Mutex stop_mutex_;
  CondVar stop_changed_;
  bool stop_ GUARDED_BY(stop_mutex_) = false;
  std::thread thread_;
};

// A call by a thread that does nothing else meanwhile.
class BackingCall {
 public:
  BackingCall(BackingHealth* health, BackingUser user, BackingUse use) : began_(health != nullptr) {
    if (!began_) return;
    health->begin_call(user);
    BackingHealth::will_use(use);
  }
  ~BackingCall() {
    if (began_) BackingHealth::end_call();
  }
  BackingCall(const BackingCall&) = delete;
  BackingCall& operator=(const BackingCall&) = delete;

 private:
  const bool began_;
};

}  // namespace sluice
