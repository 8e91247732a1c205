#include "tools/stop_guard.h"

#include <atomic>
#include <future>

#include "tests/support/catch.h"

using namespace sluice;

TEST_CASE("stop guard: gives up once, when the backing hangs", "[tools][stop_guard]") {
  std::promise<void> gave_up;
  std::atomic<int> times{0};
  {
    const StopGuard guard({.patience = std::chrono::seconds(0),
                           .is_hung = [] { return true; },
                           .give_up =
                               [&] {
                                 ++times;
                                 gave_up.set_value();
                               }});
    gave_up.get_future().wait();
  }
  CHECK(times == 1);
}

TEST_CASE("stop guard: waits for a backing that is only slow", "[tools][stop_guard]") {
  std::atomic<int> asked{0};
  std::atomic<bool> gave_up{false};
  {
    const StopGuard guard({.patience = std::chrono::seconds(0),
                           .is_hung =
                               [&] {
                                 ++asked;
                                 return false;
                               },
                           .give_up = [&] { gave_up = true; }});
    while (asked < 3) std::this_thread::yield();
  }
  CHECK_FALSE(gave_up);
}

TEST_CASE("stop guard: has patience", "[tools][stop_guard]") {
  std::atomic<bool> gave_up{false};
  {
    const StopGuard guard(
        {.patience = std::chrono::hours(1), .is_hung = [] { return true; }, .give_up = [&] { gave_up = true; }});
  }
  CHECK_FALSE(gave_up);
}
