// RangeLock orders changes of one file: overlapping ranges one after the other in the order of their requests, others
// side by side. Asynchronous: who must wait is parked as a callback, no thread blocks and no mutex is held meanwhile.
// Readers do not take it. Thread-safe.
#pragma once

#include <cstdint>
#include <list>

#include "cache/block.h"
#include "cache/callback.h"
#include "cache/mutex.h"

namespace sluice {

class RangeLock {
 public:
  using Ticket = uint64_t;

  // `granted` runs with a ticket once the range is free: inside the call, or on the thread that releases. Give the
  // ticket back by `release`.
  void acquire(PageRange range, Callback<void(Ticket)> granted);
  void release(Ticket ticket);

 private:
  struct Claim {
    Ticket ticket;
    PageRange range;
    Callback<void(Ticket)> granted;  // empty once it holds the range
  };

  bool is_free(std::list<Claim>::const_iterator claim) const REQUIRES(mutex_);

  Mutex mutex_;                                 // leaf
  std::list<Claim> claims_ GUARDED_BY(mutex_);  // in the order of their requests
  Ticket next_ticket_ GUARDED_BY(mutex_) = 1;
};

// A range that a thread waited for, given back at the end of the scope.
class HeldRange {
 public:
  HeldRange(RangeLock& lock, PageRange range);
  ~HeldRange() { lock_.release(ticket_); }
  HeldRange(const HeldRange&) = delete;
  HeldRange& operator=(const HeldRange&) = delete;

 private:
  RangeLock& lock_;
  RangeLock::Ticket ticket_;
};

}  // namespace sluice
