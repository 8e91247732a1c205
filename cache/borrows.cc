#include "cache/borrows.h"

#include <algorithm>

namespace sluice {
namespace {

std::atomic<uint32_t> threads_seen{0};

}  // namespace

constinit thread_local uint32_t Borrows::own_stripe = Borrows::kNoStripe;

uint32_t Borrows::next_stripe() {
  return threads_seen.fetch_add(1) % kStripes;
}

// A thread that this does not see yet has not borrowed before step (c) either.
uint32_t Borrows::stripes_used() {
  return std::min(threads_seen.load(), kStripes);
}

uint64_t Borrows::noted_pages() const {
  uint64_t pages = 0;
  for (const Stripe& stripe : stripes_) {
    for (const Slot& slot : stripe.slots) pages += slot.pages.load(std::memory_order_relaxed);
  }
  return pages;
}

}  // namespace sluice
