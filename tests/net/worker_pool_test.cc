#include "net/worker_pool.h"

#include <atomic>
#include <future>

#include "tests/support/catch.h"

namespace sluice {
namespace {

TEST_CASE("worker pool: refuses what its queue cannot hold, and runs everything it took", "[net][worker_pool]") {
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  std::promise<void> started;
  std::atomic<int> ran{0};
  {
    WorkerPool pool({.threads = 1, .queue_max = 2});
    REQUIRE(pool.submit([&] {
      started.set_value();
      opened.wait();
      ++ran;
    }));
    started.get_future().wait();  // the only thread is busy, the queue empty
    CHECK(pool.submit([&] { ++ran; }));
    CHECK(pool.submit([&] { ++ran; }));
    CHECK_FALSE(pool.submit([&] { ++ran; }));
    gate.set_value();
  }
  CHECK(ran == 3);
}

}  // namespace
}  // namespace sluice
