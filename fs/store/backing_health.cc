#include "fs/store/backing_health.h"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <deque>

#include "cache/assert.h"
#include "cache/log.h"

namespace sluice {
namespace {

using std::chrono::nanoseconds;

// Who tries waits for io_timeout. When the backing is back, so are the calls that hang, and nobody has to try: it is
// for calls that never return.
constexpr std::chrono::seconds kTryPeriodMin{1};
constexpr std::chrono::seconds kSlow{1};
constexpr std::chrono::seconds kTickMax{1};
// Not 0, which means never; and long ago, so that nothing has come back lately.
constexpr std::chrono::hours kStartOfTime{24 * 365};

// What a slot holds: serial number, user, use + 1 (0: none yet), whether the thread is inside.
constexpr uint64_t kInside = 1;
constexpr unsigned kUseShift = 1;
constexpr uint64_t kUseMask = 7;
constexpr unsigned kUserShift = 4;
constexpr unsigned kSerialShift = 8;

size_t user_of(uint64_t word) {
  return word >> kUserShift & 15;
}
uint64_t use_bits(uint64_t word) {
  return word >> kUseShift & kUseMask;
}

double seconds(nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

struct alignas(64) BackingHealth::Slot {
  std::atomic<uint64_t> word{0};  // written by its thread alone
  // Of the ticking thread.
  uint64_t seen = 0;
  nanoseconds since{};
  // Under the mutex of Slots.
  bool taken = false;
};

struct BackingHealth::Slots {
  Mutex mutex;                             // leaf
  std::deque<Slot> all GUARDED_BY(mutex);  // never moved
  std::vector<Slot*> looked_at;            // of the ticking thread

  Slot* take() {
    MutexLock lock(&mutex);
    for (Slot& slot : all) {
      if (!std::exchange(slot.taken, true)) return &slot;
    }
    all.emplace_back().taken = true;
    return &all.back();
  }
  void give_back(Slot* slot) {
    MutexLock lock(&mutex);
    slot->taken = false;
  }
  const std::vector<Slot*>& list() {
    MutexLock lock(&mutex);
    for (size_t i = looked_at.size(); i < all.size(); ++i) looked_at.push_back(&all[i]);
    return looked_at;
  }
};

struct BackingHealth::Holder {
  std::shared_ptr<Slots> slots;
  Slot* slot = nullptr;
  uint64_t word = 0;

  ~Holder() { let_go(); }
  void take(const std::shared_ptr<Slots>& from) {
    let_go();
    slots = from;
    slot = slots->take();
    word = slot->word.load(std::memory_order_relaxed);
  }
  void let_go() {
    if (slot != nullptr) slots->give_back(slot);
    slot = nullptr;
  }
  void store(uint64_t value) {
    word = value;
    slot->word.store(value, std::memory_order_relaxed);
  }
};

thread_local BackingHealth::Holder BackingHealth::holder;

BackingHealth::BackingHealth(const BackingHealthOptions& options)
    : options_(options), slots_(std::make_shared<Slots>()), clock_at_tick_(options.clock->monotonic()) {
  now_ = nanoseconds(kStartOfTime).count();
}

BackingHealth::~BackingHealth() {
  stop();
}

// ---- calls ----

void BackingHealth::begin_call(BackingUser user) {
  Holder& mine = holder;
  if (mine.slots != slots_) [[unlikely]]
    mine.take(slots_);
  const uint64_t serial = (mine.word >> kSerialShift) + 1;
  mine.store(serial << kSerialShift | index(user) << kUserShift | kInside);
}

void BackingHealth::end_call() {
  Holder& mine = holder;
  mine.store(mine.word & ~kInside);
}

void BackingHealth::begin_next_call() {
  Holder& mine = holder;
  if (mine.slot != nullptr && (mine.word & kInside) != 0) mine.store(mine.word + (uint64_t{1} << kSerialShift));
}

void BackingHealth::will_use(BackingUse use) {
  Holder& mine = holder;
  if (mine.slot == nullptr || (mine.word & kInside) == 0) return;  // a thread that answers for no call of its own
  const uint64_t bits = std::max<uint64_t>(use_bits(mine.word), index(use) + 1);  // a change looks, too
  mine.store((mine.word & ~(kUseMask << kUseShift)) | bits << kUseShift);
}

Result<void> BackingHealth::admit(BackingUse use) {
  if (no_calls) [[unlikely]]
    return fail(EWOULDBLOCK);
  if (refusing(use) && !may_try(use)) [[unlikely]] {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return fail(ETIMEDOUT);
  }
  will_use(use);
  return {};
}

bool BackingHealth::may_try(BackingUse use) {
  std::atomic<bool>& may = uses_[index(use)].may_try;
  return may.load(std::memory_order_relaxed) && may.exchange(false);
}

void BackingHealth::note_error(int error) {
  switch (error) {
    case EIO:
    case ENOTCONN:
    case ECONNABORTED:
    case ESHUTDOWN:
    case ESTALE:
    case ENODEV:
    case ENXIO: suspicion_.store(true, std::memory_order_relaxed);
  }
}

// ---- reads and writes ----

Result<BackingHealth::Transfer> BackingHealth::begin_transfer(BackingUse use) {
  ASSERT(!is_call(index(use)));
  if (refusing(use) && !may_try(use)) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return fail(ETIMEDOUT);
  }
  MutexLock lock(&mutex_);
  Transfers& transfers = transfers_[index(use) - index(BackingUse::read)];
  if (transfers.spare.empty()) transfers.spare.emplace_back();
  transfers.spare.front() = now();
  transfers.begun.splice(transfers.begun.end(), transfers.spare, transfers.spare.begin());
  return std::prev(transfers.begun.end());
}

void BackingHealth::end_transfer(BackingUse use, Transfer transfer) {
  MutexLock lock(&mutex_);
  Transfers& transfers = transfers_[index(use) - index(BackingUse::read)];
  transfers.spare.splice(transfers.spare.begin(), transfers.begun, transfer);
  transfers.came_back = now();
}

// ---- ticks ----

nanoseconds BackingHealth::move_time() {
  const nanoseconds clock = options_.clock->monotonic();
  const nanoseconds passed = std::min<nanoseconds>(clock - std::exchange(clock_at_tick_, clock), kTickMax);
  return nanoseconds(now_.fetch_add(passed.count(), std::memory_order_relaxed) + passed.count());
}

void BackingHealth::tick() {
  const nanoseconds now = move_time();
  look_at_calls(now);
  look_at_transfers(now);
  for (size_t use = 0; use < kUses; ++use) judge(uses_[use], is_call(use), now);
  report(now);
  MutexLock lock(&listeners_mutex_);
  for (const auto& [id, listener] : listeners_) listener(now);
}

void BackingHealth::look_at_calls(nanoseconds now) {
  std::array<uint32_t, kUsers> stuck{};
  for (size_t use = 0; is_call(use); ++use) {
    uses_[use].oldest = {};
    uses_[use].waiting = 0;
  }
  for (Slot* slot : slots_->list()) {
    const uint64_t word = slot->word.load(std::memory_order_relaxed);
    const uint64_t before = slot->seen;
    const bool is_same = word >> kSerialShift == before >> kSerialShift;
    const bool was_inside = (before & kInside) != 0;
    slot->seen = word;
    // A call came back since the last tick: the one seen then, or, all within the time between, the one seen now.
    if (was_inside && (!is_same || (word & kInside) == 0) && use_bits(before) != 0)
      uses_[use_bits(before) - 1].came_back = now;
    if (!is_same && (word & kInside) == 0 && use_bits(word) != 0) uses_[use_bits(word) - 1].came_back = now;
    if ((word & kInside) == 0) continue;
    if (!is_same) {
      slot->since = now;
      continue;
    }
    stuck[user_of(word)]++;
    if (use_bits(word) == 0) continue;
    Use& use = uses_[use_bits(word) - 1];
    use.waiting++;
    if (use.oldest == nanoseconds{} || slot->since < use.oldest) use.oldest = slot->since;
  }
  for (size_t user = 0; user < kUsers; ++user) stuck_[user].store(stuck[user], std::memory_order_relaxed);
}

void BackingHealth::look_at_transfers(nanoseconds now) {
  bool slow = false;
  MutexLock lock(&mutex_);
  for (size_t i = 0; i < transfers_.size(); ++i) {
    const Transfers& transfers = transfers_[i];
    Use& use = uses_[index(BackingUse::read) + i];
    use.oldest = transfers.begun.empty() ? nanoseconds{} : transfers.begun.front();
    use.came_back = std::max(use.came_back, transfers.came_back);
    use.waiting = 0;
    for (auto at = transfers.begun.begin(); at != transfers.begun.end() && now - *at >= kTick; ++at) use.waiting++;
    slow = slow || (use.waiting > 0 && now - std::max(use.oldest, use.came_back) >= kSlow);
  }
  slow_.store(slow, std::memory_order_relaxed);
}

void BackingHealth::judge(Use& use, bool is_call, nanoseconds now) const {
  const bool times_out = options_.io_timeout > nanoseconds{};
  const bool hangs = times_out && use.waiting > 0 && now - std::max(use.oldest, use.came_back) >= options_.io_timeout;
  const bool crowded = is_call && use.waiting >= kCallsMax;
  if (!hangs && !crowded) {
    use.refusing.store(false, std::memory_order_relaxed);
    use.may_try.store(false, std::memory_order_relaxed);
    use.next_try = {};
    return;
  }
  const nanoseconds period = std::max<nanoseconds>(kTryPeriodMin, options_.io_timeout);
  if (use.next_try == nanoseconds{}) use.next_try = now + period;
  if (now >= use.next_try && use.waiting < kCallsMax) {
    use.may_try.store(true, std::memory_order_relaxed);
    use.next_try = now + period;
  }
  use.refusing.store(true, std::memory_order_relaxed);
}

// What the status and the log say. Both call it hung long before anything times out.
void BackingHealth::report(nanoseconds now) {
  const nanoseconds silence = options_.io_timeout > nanoseconds{} ? std::min<nanoseconds>(kSilence, options_.io_timeout)
                                                                  : nanoseconds(kSilence);
  nanoseconds since{};
  for (const Use& use : uses_) {
    if (use.waiting == 0) continue;
    const nanoseconds silent_since = std::max(use.oldest, use.came_back);
    if (now - silent_since < silence) continue;
    if (since == nanoseconds{} || silent_since < since) since = silent_since;
  }
  const uint64_t calls = uint64_t{uses_[0].waiting} + uses_[1].waiting;
  const uint32_t reads = uses_[index(BackingUse::read)].waiting;
  const uint32_t writes = uses_[index(BackingUse::write)].waiting;
  nanoseconds was_since;
  {
    MutexLock lock(&mutex_);
    was_since = std::exchange(hung_since_, since);
    stats_.hung = since != nanoseconds{};
    stats_.hung_for = stats_.hung ? now - since : nanoseconds{};
    stats_.calls = calls;
    stats_.reads = reads;
    stats_.writes = writes;
  }
  const bool begins = since != nanoseconds{} && was_since == nanoseconds{};
  const bool ends = since == nanoseconds{} && was_since != nanoseconds{};
  if (begins && log_limit_.judge(now).passes) {
    log(LogLevel::warning, "the backing has not answered for {:.0f} s: {} calls, {} reads and {} writes wait",
        seconds(now - since), calls, reads, writes);
    told_ = true;
  } else if (ends && std::exchange(told_, false)) {
    log(LogLevel::warning, "the backing answers again, after {:.0f} s", seconds(now - was_since));
  }
}

BackingStats BackingHealth::stats() const {
  BackingStats stats;
  {
    MutexLock lock(&mutex_);
    stats = stats_;
  }
  stats.refused = refused_.load(std::memory_order_relaxed);
  stats.timed_out = timed_out_.load(std::memory_order_relaxed);
  stats.interrupted = interrupted_.load(std::memory_order_relaxed);
  return stats;
}

uint64_t BackingHealth::add_listener(Listener listener) {
  MutexLock lock(&listeners_mutex_);
  listeners_.emplace_back(next_listener_, std::move(listener));
  return next_listener_++;
}

void BackingHealth::remove_listener(uint64_t id) {
  MutexLock lock(&listeners_mutex_);
  std::erase_if(listeners_, [id](const auto& listener) { return listener.first == id; });
}

void BackingHealth::start() {
  thread_ = std::thread([this] { run(); });
}

void BackingHealth::stop() {
  {
    MutexLock lock(&stop_mutex_);
    stop_ = true;
  }
  stop_changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void BackingHealth::run() {
  ::pthread_setname_np(::pthread_self(), "sluice-health");
  for (;;) {
    {
      MutexLock lock(&stop_mutex_);
      if (!stop_) stop_changed_.wait_for(stop_mutex_, kTick);
      if (stop_) return;
    }
    tick();
  }
}

}  // namespace sluice
