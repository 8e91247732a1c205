#include "fs/store/backing_health.h"

#include <cerrno>
#include <future>
#include <thread>
#include <vector>

#include "fs/store/watched_disk.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

using namespace sluice;
using namespace std::chrono_literals;

namespace {

struct Fixture {
  void pass(std::chrono::nanoseconds time) {
    for (; time >= 1s; time -= 1s) tick(1s);
    if (time > 0s) tick(time);
  }
  void tick(std::chrono::nanoseconds time = BackingHealth::kTick) {
    clock.advance(time);
    health.tick();
  }
  ManualClock clock;
  BackingHealth health{{.io_timeout = 20s, .clock = &clock}};
};

// A thread that is inside a call until let go.
class Caller {
 public:
  Caller(BackingHealth& health, BackingUse use) {
    std::promise<bool> admitted;
    auto answer = admitted.get_future();
    thread_ = std::thread([this, &health, use, admitted = std::move(admitted)]() mutable {
      health.begin_call(BackingUser::fuse);
      admitted.set_value(health.admit(use).has_value());
      go_.get_future().wait();
      BackingHealth::end_call();
    });
    was_admitted = answer.get();
  }
  ~Caller() {
    go_.set_value();
    thread_.join();
  }
  bool was_admitted = false;

 private:
  std::promise<void> go_;
  std::thread thread_;
};

bool is_admitted(BackingHealth& health, BackingUse use) {
  return Caller(health, use).was_admitted;
}

}  // namespace

TEST_CASE("backing health: calls that return leave it well", "[store][health]") {
  Fixture fixture;
  for (int i = 0; i < 100; ++i) {
    CHECK(is_admitted(fixture.health, BackingUse::look));
    fixture.tick(1s);
  }
  const BackingStats stats = fixture.health.stats();
  CHECK_FALSE(stats.hung);
  CHECK(stats.calls == 0);
  CHECK(stats.refused == 0);
}

TEST_CASE("backing health: hung after a silence, refusing after the timeout, well when the call returns",
          "[store][health]") {
  Fixture fixture;
  {
    Caller caller(fixture.health, BackingUse::look);
    fixture.tick();
    fixture.tick();
    CHECK(fixture.health.stats().calls == 1);
    CHECK(fixture.health.stuck_calls(BackingUser::fuse) == 1);
    CHECK(fixture.health.stuck_calls(BackingUser::http) == 0);
    fixture.pass(BackingHealth::kSilence - 1s);
    CHECK_FALSE(fixture.health.stats().hung);
    fixture.pass(1s);
    CHECK(fixture.health.stats().hung);
    fixture.pass(13s);
    CHECK(fixture.health.admits(BackingUse::look));
    fixture.pass(2s);
    CHECK(fixture.health.stats().hung_for >= 20s);
    CHECK_FALSE(is_admitted(fixture.health, BackingUse::look));
    CHECK(fixture.health.stats().refused == 1);
    // What hangs separately goes on.
    CHECK(is_admitted(fixture.health, BackingUse::change));
    CHECK(fixture.health.begin_transfer(BackingUse::read));
  }
  fixture.tick();
  CHECK(is_admitted(fixture.health, BackingUse::look));
}

TEST_CASE("backing health: a thread that is not to wait makes no calls, for as long as that is so", "[store][health]") {
  Fixture fixture;
  {
    const BackingHealth::NoCalls here;
    const auto admitted = fixture.health.admit(BackingUse::look);
    REQUIRE_FALSE(admitted);
    CHECK(admitted.error().number == EWOULDBLOCK);
    CHECK(is_admitted(fixture.health, BackingUse::look));  // another thread
  }
  CHECK(fixture.health.admit(BackingUse::look));
  CHECK(fixture.health.stats().refused == 0);
}

TEST_CASE("backing health: one call that hangs beside others that return refuses nobody", "[store][health]") {
  Fixture fixture;
  Caller caller(fixture.health, BackingUse::change);
  for (int i = 0; i < 60; ++i) {
    CHECK(is_admitted(fixture.health, BackingUse::change));
    fixture.tick(1s);
  }
  CHECK_FALSE(fixture.health.stats().hung);
}

TEST_CASE("backing health: a long work of calls that come back does not hang", "[store][health]") {
  Fixture fixture;
  const BackingCall work(&fixture.health, BackingUser::fuse, BackingUse::change);
  for (int i = 0; i < 60; ++i) {
    BackingHealth::begin_next_call();
    fixture.tick(1s);
    CHECK_FALSE(fixture.health.stats().hung);
  }
  fixture.pass(BackingHealth::kSilence + 1s);
  CHECK(fixture.health.stats().hung);
}

TEST_CASE("backing health: while it hangs one call in a while may try", "[store][health]") {
  Fixture fixture;
  Caller caller(fixture.health, BackingUse::look);
  fixture.tick();
  fixture.pass(21s);
  CHECK_FALSE(is_admitted(fixture.health, BackingUse::look));
  fixture.pass(20s);
  Caller tries(fixture.health, BackingUse::look);
  CHECK(tries.was_admitted);
  CHECK_FALSE(is_admitted(fixture.health, BackingUse::look));
}

TEST_CASE("backing health: as many calls as may hang refuse others before any timeout", "[store][health]") {
  Fixture fixture;
  {
    std::vector<std::unique_ptr<Caller>> callers;
    for (uint32_t i = 0; i < BackingHealth::kCallsMax; ++i) {
      callers.push_back(std::make_unique<Caller>(fixture.health, BackingUse::change));
      REQUIRE(callers.back()->was_admitted);
    }
    fixture.tick();
    fixture.tick();
    CHECK_FALSE(is_admitted(fixture.health, BackingUse::change));
    CHECK(is_admitted(fixture.health, BackingUse::look));
  }
  fixture.tick();
  CHECK(is_admitted(fixture.health, BackingUse::change));
}

TEST_CASE("backing health: what this process slept through does not count", "[store][health]") {
  Fixture fixture;
  Caller caller(fixture.health, BackingUse::look);
  fixture.tick();
  fixture.tick(std::chrono::hours(1));
  CHECK_FALSE(fixture.health.stats().hung);
  CHECK(fixture.health.admits(BackingUse::look));
}

TEST_CASE("backing health: a transfer that hangs refuses its kind, and one that ends heals it", "[store][health]") {
  Fixture fixture;
  auto hangs = fixture.health.begin_transfer(BackingUse::write);
  REQUIRE(hangs);
  fixture.pass(1s);
  CHECK(fixture.health.stats().writes == 1);
  CHECK(fixture.health.is_slow());
  fixture.pass(20s);
  const auto refused = fixture.health.begin_transfer(BackingUse::write);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().number == ETIMEDOUT);
  fixture.health.end_transfer(BackingUse::write, *hangs);
  fixture.tick();
  CHECK_FALSE(fixture.health.is_slow());
  CHECK(fixture.health.begin_transfer(BackingUse::write));
}

TEST_CASE("backing health: without a timeout nothing is refused, but the silence is told", "[store][health]") {
  ManualClock clock;
  BackingHealth health({.io_timeout = 0s, .clock = &clock});
  Caller caller(health, BackingUse::look);
  for (int i = 0; i < 1000; ++i) {
    clock.advance(1s);
    health.tick();
  }
  CHECK(health.stats().hung);
  CHECK(health.admits(BackingUse::look));
}

TEST_CASE("backing health: a listener that was removed is not called any more", "[store][health]") {
  Fixture fixture;
  int called = 0;
  const uint64_t id = fixture.health.add_listener([&](std::chrono::nanoseconds) { ++called; });
  fixture.tick();
  CHECK(called == 1);
  fixture.health.remove_listener(id);
  fixture.tick();
  CHECK(called == 1);
}

namespace {

// Keeps what it is asked.
class ParkingDisk final : public Disk {
 public:
  explicit ParkingDisk(std::vector<DiskRequest>* parked) : parked_(parked) {}
  void read(DiskRequest request) override { parked_->push_back(std::move(request)); }
  void write(DiskRequest request) override { parked_->push_back(std::move(request)); }
  Result<size_t> write_now(DiskRequest) override { return 0; }
  DiskStats stats() const override { return {}; }
  std::string_view name() const override { return "parking"; }

 private:
  std::vector<DiskRequest>* const parked_;
};

}  // namespace

TEST_CASE("watched disk: refuses while the disk hangs, and passes each outcome on once", "[store][health]") {
  Fixture fixture;
  std::vector<DiskRequest> parked;
  const auto disk = watch_disk(std::make_unique<ParkingDisk>(&parked), &fixture.health);
  std::vector<int> outcomes;
  const auto read = [&] {
    disk->read({.done = [&](Result<size_t> outcome) {
      outcomes.push_back(outcome ? static_cast<int>(*outcome) : -outcome.error().number);
    }});
  };
  read();
  REQUIRE(parked.size() == 1);
  fixture.pass(21s);
  read();
  CHECK(parked.size() == 1);
  CHECK(outcomes == std::vector<int>{-ETIMEDOUT});
  parked[0].done(7);
  CHECK(outcomes == std::vector<int>{-ETIMEDOUT, 7});
  fixture.tick();
  read();
  CHECK(parked.size() == 2);
  parked[1].done(fail(EIO));
  CHECK(outcomes == std::vector<int>{-ETIMEDOUT, 7, -EIO});
}
