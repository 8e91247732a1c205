// Admission lets a server have so many connections at once, whichever of its loops have them.
//
// When all places are taken the connection of the loop that is idle longest gives way to the new one, else that of
// another loop. While none is idle the new one waits: one for each loop, which accepts no more until then, so that
// others wait in the backlog.
//
//   ConnectionLimit limit(1000);                          // of the server
//   Admission admission(&limit, &loop, &listener, this);  // of each loop
//   admission.admit([...] { ... });                       // now, or when there is a place
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "cache/callback.h"
#include "cache/mutex.h"
#include "net/connection.h"
#include "net/event_loop.h"
#include "net/listener.h"

namespace sluice {

class Admission;

// The places, and who waits for one. The loops' threads meet here when a connection comes and when it goes.
class ConnectionLimit {
 public:
  explicit ConnectionLimit(uint32_t places) : places_(places) {}

 private:
  friend class Admission;

  bool take(Admission* asking);  // false: it waits in line
  void give_back();              // to who is first in line
  Admission* next_in_line();     // null: nobody waits. Has a place from now on, for one that is about to be given back
  void forget(Admission* waiting);
  Admission* leave_line() REQUIRES(mutex_);  // the first one; null: there is none
  bool is_wanted() const { return waiting_.load(std::memory_order_relaxed) > 0; }

  const size_t places_;
  std::vector<Admission*> loops_;  // complete before any of them runs
  std::atomic<size_t> waiting_{0};
  Mutex mutex_;  // Leaf lock.
  size_t taken_ GUARDED_BY(mutex_) = 0;
  std::deque<Admission*> line_ GUARDED_BY(mutex_);
};

class AdmissionOwner {
 public:
  virtual std::shared_ptr<Connection> longest_idle() = 0;  // null: none is idle

 protected:
  ~AdmissionOwner() = default;
};

// Belongs to the loop's thread.
class Admission {
 public:
  // Before any loop of the server runs.
  Admission(ConnectionLimit* limit, EventLoop* loop, Listener* listener, AdmissionOwner* owner);

  void admit(Callback<void()> serve);  // of one that was accepted
  void went_idle();
  void went_away();  // one that was served
  void close();      // who waits is not served any more

  uint64_t displaced() const { return displaced_.load(std::memory_order_relaxed); }  // any thread

 private:
  friend class ConnectionLimit;

  void tell_place();  // any thread
  void on_place();
  void serve();
  void give_way();

  ConnectionLimit* const limit_;
  EventLoop* const loop_;
  Listener* const listener_;
  AdmissionOwner* const owner_;
  Callback<void()> waiting_;
  bool paused_ = false;
  std::atomic<uint64_t> displaced_{0};
};

}  // namespace sluice
