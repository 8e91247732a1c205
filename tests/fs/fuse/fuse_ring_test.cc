#include "fs/fuse/fuse_ring.h"

#include <future>
#include <set>

#include "tests/support/catch.h"

using namespace sluice;

TEST_CASE("fuse ring: as many queues as there may ever be processors", "[fuse][ring]") {
  CHECK(processors_of("0-1\n") == 2);
  CHECK(processors_of("0\n") == 1);
  CHECK(processors_of("0-3,8-11\n") == 12);
  CHECK(processors_of("0-3,8\n") == 9);
  CHECK(processors_of("") == 0);
  CHECK(processors_of("none") == 0);
}

TEST_CASE("fuse ring: every queue has a thread, and its own processor's first", "[fuse][ring]") {
  const auto dealt = deal_queues(7, {1, 3});
  REQUIRE(dealt.size() == 2);
  CHECK(dealt[0] == std::vector<uint16_t>{1, 0, 4, 6});
  CHECK(dealt[1] == std::vector<uint16_t>{3, 2, 5});
  CHECK(deal_queues(2, {0, 1}) == std::vector<std::vector<uint16_t>>{{0}, {1}});
}

TEST_CASE("ring workers: more than threads_max wait, and come when the workers that hang are told", "[fuse][ring]") {
  std::promise<void> answer;
  auto answered = answer.get_future().share();
  std::atomic<int> begun{0};
  RingWorkers workers({.threads_max = 2, .threads_idle_max = 1}, [&](RingEntry*) {
    begun++;
    begun.notify_all();
    answered.wait();
  });
  RingEntry entries[3];
  for (RingEntry& entry : entries) workers.post(&entry);
  for (int seen = begun; seen < 2; seen = begun) begun.wait(seen);
  CHECK(begun == 2);
  workers.tick(2);  // both hang: the third gets a thread
  for (int seen = begun; seen < 3; seen = begun) begun.wait(seen);
  answer.set_value();
  workers.stop();
  CHECK(begun == 3);
}

TEST_CASE("ring companion: takes one request at a time", "[fuse][ring]") {
  std::promise<void> answer;
  auto answered = answer.get_future().share();
  std::atomic<int> begun{0};
  RingCompanion companion(-1, [&](RingEntry*) {
    begun++;
    begun.notify_all();
    answered.wait();
  });
  RingEntry first, second;
  REQUIRE(companion.give(&first));
  begun.wait(0);
  CHECK_FALSE(companion.give(&second));
  answer.set_value();
  companion.stop();
  CHECK(begun == 1);
}
