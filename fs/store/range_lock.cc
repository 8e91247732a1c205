#include "fs/store/range_lock.h"

#include <algorithm>
#include <future>
#include <vector>

#include "cache/assert.h"

namespace sluice {

// A claim holds its range once no earlier claim overlaps it: first come, first served, nobody starves.
bool RangeLock::is_free(std::list<Claim>::const_iterator claim) const {
  return std::none_of(claims_.begin(), claim,
                      [&](const Claim& earlier) { return earlier.range.overlaps(claim->range); });
}

void RangeLock::acquire(PageRange range, Callback<void(Ticket)> granted) {
  Ticket ticket = 0;
  {
    MutexLock lock(&mutex_);
    ticket = next_ticket_++;
    claims_.push_back({ticket, range, {}});
    const auto claim = std::prev(claims_.end());
    if (!is_free(claim)) {
      claim->granted = std::move(granted);
      return;
    }
  }
  granted(ticket);
}

void RangeLock::release(Ticket ticket) {
  std::vector<std::pair<Ticket, Callback<void(Ticket)>>> next;
  {
    MutexLock lock(&mutex_);
    const auto claim = std::find_if(claims_.begin(), claims_.end(), [&](const Claim& c) { return c.ticket == ticket; });
    ASSERT(claim != claims_.end());
    claims_.erase(claim);
    for (auto waiting = claims_.begin(); waiting != claims_.end(); ++waiting) {
      if (waiting->granted && is_free(waiting)) next.emplace_back(waiting->ticket, std::move(waiting->granted));
    }
  }
  for (auto& [granted_ticket, granted] : next) granted(granted_ticket);
}

HeldRange::HeldRange(RangeLock& lock, PageRange range) : lock_(lock) {
  std::promise<RangeLock::Ticket> granted;
  auto ticket = granted.get_future();
  lock_.acquire(range, [granted = std::move(granted)](RangeLock::Ticket given) mutable { granted.set_value(given); });
  ticket_ = ticket.get();
}

}  // namespace sluice
