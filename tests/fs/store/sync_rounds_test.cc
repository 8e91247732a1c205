#include "fs/store/sync_rounds.h"

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace sluice {
namespace {

// A thread that is asking until it may end.
class Asking {
 public:
  explicit Asking(SyncRounds* rounds)
      : thread_([this, rounds] {
          rounds->alone([this] {
            began_.set_value();
            may_end_.get_future().wait();
          });
        }) {
    began_.get_future().wait();
  }
  void end() { may_end_.set_value(); }
  ~Asking() { thread_.join(); }

 private:
  std::promise<void> began_, may_end_;
  std::thread thread_;
};

TEST_CASE("sync rounds: nobody asks while another does, or has not noted what it heard", "[store][errors]") {
  SyncRounds rounds;
  std::atomic<int> inside = 0;
  std::atomic<bool> met = false;
  const auto ask = [&](bool = false) {
    if (++inside != 1) met = true;
    std::this_thread::yield();
    --inside;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 2000; ++round) {
        if (i % 2 == 0)
          rounds.alone(ask);
        else
          rounds.together(true, ask);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(met);
}

TEST_CASE("sync rounds: what was changed before a sync is changed before the call that serves it", "[store][errors]") {
  SyncRounds rounds;
  std::atomic<int> changes = 0;
  std::atomic<int> synced = 0;
  std::atomic<bool> missed = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 2000; ++round) {
        const int mine = ++changes;
        rounds.together(true, [&](bool) {
          const int seen = changes;
          std::this_thread::yield();
          synced = seen;
        });
        if (synced < mine) missed = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(missed);
}

TEST_CASE("sync rounds: who comes while one asks shares the next call, which does what any of them wants",
          "[store][errors]") {
  constexpr int kSyncs = 6;
  SyncRounds rounds;
  std::atomic<int> calls = 0;
  std::atomic<bool> all = false;
  std::vector<std::thread> threads;
  {
    Asking first(&rounds);
    for (int i = 0; i < kSyncs; ++i) {
      threads.emplace_back([&, i] {
        rounds.together(i != 3, [&](bool data_only) {
          ++calls;
          if (!data_only) all = true;
        });
      });
    }
    while (rounds.waiting() < kSyncs) std::this_thread::yield();
    first.end();
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(calls == 1);
  CHECK(all);
}

}  // namespace
}  // namespace sluice
