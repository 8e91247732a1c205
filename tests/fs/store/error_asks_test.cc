#include "fs/store/error_asks.h"

#include <atomic>
#include <future>
#include <thread>

#include "tests/support/catch.h"

namespace sluice {
namespace {

TEST_CASE("error asks: who hears that all is well waits for who asked at the same time", "[store][errors]") {
  ErrorAsks asks;
  std::promise<void> first_may_end;
  std::promise<void> first_began;
  std::atomic<bool> noted = false;
  std::thread first([&] {
    const ErrorAsks::Ask ask(&asks);
    first_began.set_value();
    first_may_end.get_future().wait();
    noted = true;
  });
  first_began.get_future().wait();
  std::promise<void> second_asked;
  bool second_saw = false;
  std::thread second([&] {
    {
      const ErrorAsks::Ask ask(&asks);
      second_asked.set_value();
    }
    second_saw = noted;
  });
  second_asked.get_future().wait();
  first_may_end.set_value();
  first.join();
  second.join();
  CHECK(second_saw);
}

TEST_CASE("error asks: many at once all come to their end", "[store][errors]") {
  ErrorAsks asks;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 2000; ++round) const ErrorAsks::Ask ask(&asks);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace sluice
