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

TEST_CASE("worker pool: more threads come when all hang, and go when nothing waits", "[net][worker_pool]") {
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  WorkerPool pool({.threads = 1, .threads_max = 3, .queue_max = 10});
  std::promise<void> first, second, third;
  const auto hang = [&opened](std::promise<void>* begun) {
    return [begun, opened] {
      begun->set_value();
      opened.wait();
    };
  };
  REQUIRE(pool.submit(hang(&first)));
  first.get_future().wait();
  REQUIRE(pool.submit(hang(&second)));
  pool.relieve();  // looks for the first time: something was begun since
  pool.relieve();
  second.get_future().wait();
  REQUIRE(pool.submit(hang(&third)));
  pool.relieve();
  pool.relieve();
  third.get_future().wait();
  std::promise<void> last;
  REQUIRE(pool.submit([&last] { last.set_value(); }));
  pool.relieve();
  pool.relieve();  // no more than threads_max
  auto done = last.get_future();
  CHECK(done.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);
  gate.set_value();
  done.wait();
}

}  // namespace
}  // namespace sluice
