#include "fs/fuse/notify.h"

#include <future>
#include <string>
#include <vector>

#include "fs/fuse/operations.h"
#include "tests/support/catch.h"

using namespace sluice;

namespace {

// Sends into a list. The first one waits inside the kernel, so to say, until `go` is set.
struct Fixture {
  explicit Fixture(uint32_t queue_max = 100)
      : notifier(queue_max, [this](InodeNumber number, const std::string& name) {
          if (sent.empty()) {
            entered.set_value();
            go.get_future().wait();
          }
          sent.push_back(std::to_string(number) + name);
        }) {}
  // Occupies the notifier's thread with the invalidation of file 1.
  void block() {
    notifier.start();
    notifier.invalidate(1);
    entered.get_future().wait();
  }
  void finish() {
    go.set_value();
    notifier.stop();
  }
  std::promise<void> entered, go;
  std::vector<std::string> sent;  // of the notifier's thread until it has stopped
  Notifier notifier;
};

}  // namespace

TEST_CASE("notifier: invalidations of one file that wait are one", "[fuse][notify]") {
  Fixture fixture;
  fixture.block();
  for (int i = 0; i < 5; ++i) {
    fixture.notifier.invalidate(2);
    fixture.notifier.invalidate(3);
  }
  fixture.finish();
  CHECK(fixture.sent == std::vector<std::string>{"1", "2", "3"});
  CHECK(fixture.notifier.sent() == 3);
}

TEST_CASE("notifier: names are told one by one", "[fuse][notify]") {
  Fixture fixture;
  fixture.block();
  fixture.notifier.invalidate_name(2, "a");
  fixture.notifier.invalidate(2);
  fixture.notifier.invalidate_name(2, "b");
  fixture.finish();
  CHECK(fixture.sent == std::vector<std::string>{"1", "2a", "2", "2b"});
}

TEST_CASE("notifier: a change during its own invalidation is told again", "[fuse][notify]") {
  Fixture fixture;
  fixture.block();
  fixture.notifier.invalidate(1);
  fixture.finish();
  CHECK(fixture.sent == std::vector<std::string>{"1", "1"});
}

TEST_CASE("notifier: a full queue drops and counts, and never waits", "[fuse][notify]") {
  Fixture fixture(2);
  fixture.block();
  for (InodeNumber number = 2; number <= 6; ++number) fixture.notifier.invalidate(number);
  CHECK(fixture.notifier.dropped() == 3);
  fixture.finish();
  CHECK(fixture.sent == std::vector<std::string>{"1", "2", "3"});
}

TEST_CASE("notifier: what follows an invalidation comes after it, even when the queue is full", "[fuse][notify]") {
  Fixture fixture(1);
  fixture.block();
  fixture.notifier.invalidate(2);
  fixture.notifier.invalidate_then(3, [&] { fixture.sent.push_back("then 3"); });
  fixture.finish();
  CHECK(fixture.sent == std::vector<std::string>{"1", "2", "3", "then 3"});
  CHECK(fixture.notifier.dropped() == 0);
}

TEST_CASE("notifier: after the stop nothing is sent, but what should follow is done", "[fuse][notify]") {
  Fixture fixture;
  fixture.notifier.start();
  fixture.notifier.stop();
  bool done = false;
  fixture.notifier.invalidate(1);
  fixture.notifier.invalidate_then(2, [&] { done = true; });
  fixture.notifier.stop();
  CHECK(done);
  CHECK(fixture.sent.empty());
}

TEST_CASE("outside change watch: the opener takes care of its own file only, while it watches", "[fuse][notify]") {
  CHECK_FALSE(OutsideChangeWatch::notice(5));
  {
    OutsideChangeWatch watch(5);
    CHECK_FALSE(OutsideChangeWatch::notice(6));
    CHECK_FALSE(watch.has_noticed());
    CHECK(OutsideChangeWatch::notice(5));
    CHECK(watch.has_noticed());
    std::async(std::launch::async, [] { CHECK_FALSE(OutsideChangeWatch::notice(5)); }).get();
  }
  CHECK_FALSE(OutsideChangeWatch::notice(5));
}
