#include "fs/fuse/caller.h"

#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

using namespace sluice;

namespace {

struct Fixture {
  std::vector<gid_t> get(pid_t pid, uid_t uid, gid_t gid) {
    return groups.get(pid, uid, gid, [this] {
      ++loads;
      return current;
    });
  }
  ManualClock clock;
  CallerGroups groups{&clock};
  std::vector<gid_t> current = {4, 24};
  int loads = 0;
};

}  // namespace

TEST_CASE("caller groups: a second request of a process does not read /proc again", "[fuse][caller]") {
  Fixture fixture;
  CHECK(fixture.get(100, 1000, 1000) == std::vector<gid_t>{4, 24});
  CHECK(fixture.get(100, 1000, 1000) == std::vector<gid_t>{4, 24});
  CHECK(fixture.loads == 1);
}

TEST_CASE("caller groups: changed groups are seen after the lifetime", "[fuse][caller]") {
  Fixture fixture;
  fixture.get(100, 1000, 1000);
  fixture.current = {7};
  fixture.clock.advance(CallerGroups::kLifetime - std::chrono::nanoseconds(1));
  CHECK(fixture.get(100, 1000, 1000) == std::vector<gid_t>{4, 24});
  fixture.clock.advance(std::chrono::nanoseconds(1));
  CHECK(fixture.get(100, 1000, 1000) == std::vector<gid_t>{7});
}

TEST_CASE("caller groups: a process that changed its identity does not keep its groups", "[fuse][caller]") {
  Fixture fixture;
  fixture.get(100, 1000, 1000);
  fixture.current = {};
  CHECK(fixture.get(100, 1001, 1000).empty());
  CHECK(fixture.get(100, 1001, 50).empty());
  CHECK(fixture.loads == 3);
}

TEST_CASE("caller groups: processes that share a slot are told apart", "[fuse][caller]") {
  Fixture fixture;
  fixture.get(1, 1000, 1000);
  fixture.current = {9};
  CHECK(fixture.get(1 + CallerGroups::kSlots, 1000, 1000) == std::vector<gid_t>{9});
  fixture.current = {8};
  CHECK(fixture.get(1, 1000, 1000) == std::vector<gid_t>{8});
}

TEST_CASE("caller groups: a process without groups is remembered as well", "[fuse][caller]") {
  Fixture fixture;
  fixture.current = {};
  fixture.get(100, 1000, 1000);
  CHECK(fixture.get(100, 1000, 1000).empty());
  CHECK(fixture.loads == 1);
}
