// What the store does for front ends whose clients name files by handles, and keep caches of their own.
#include "tests/fs/store/store_fixture.h"

namespace sluice {
namespace {

constexpr Mode kByHandle{"by handle", true, true};

Observed observe_one(Store& store, InodeNumber number, const std::function<void()>& change) {
  Observed observed;
  store.observe(std::span(&number, 1), change, std::span(&observed, 1));
  return observed;
}

TEST_CASE("store: a handle finds its file after renames and in another store, and nothing when it is gone",
          "[store][handles]") {
  StoreFixture fixture(kByHandle);
  write_file(fixture / "file", "content");
  const Entry entry = must(fixture.store->lookup(kRootInode, "file"));
  const std::string handle = must(fixture.store->persistent_handle(entry.number));
  REQUIRE_FALSE(handle.empty());
  must(fixture.store->rename(kRootUser, kRootInode, "file", kRootInode, "moved", 0));
  CHECK(must(fixture.store->find_persistent(handle)).number == entry.number);
  fixture.store->forget(entry.number, 2);
  CHECK(must(fixture.store->find_persistent(handle)).attributes.st_ino == stat_of(fixture / "moved").st_ino);
  ::unlink((fixture / "moved").c_str());
  CHECK(outcome(fixture.store->find_persistent("\1no handle")) == "ESTALE");
  CHECK(outcome(fixture.store->find_persistent("")) == "ESTALE");
}

TEST_CASE("store: a change is seen from before and after when nobody else made one", "[store][observe]") {
  StoreFixture fixture(kByHandle);
  write_file(fixture / "file", "12345");
  const InodeNumber number = must(fixture.store->lookup(kRootInode, "file")).number;
  SetAttributes size;
  size.size = 2;
  const Observed alone =
      observe_one(*fixture.store, number, [&] { must(fixture.store->setattr(kRootUser, number, size)); });
  REQUIRE(alone.before);
  REQUIRE(alone.after);
  CHECK(alone.before->st_size == 5);
  CHECK(alone.after->st_size == 2);

  SetAttributes mode;
  mode.mode = 0600;
  const Observed together = observe_one(*fixture.store, number, [&] {
    must(fixture.store->setattr(kRootUser, number, size));
    std::thread([&] { must(fixture.store->setattr(kRootUser, number, mode)); }).join();
  });
  CHECK_FALSE(together.before);
  CHECK(together.after);
}

TEST_CASE("store: the backing's file system is synced however files are found", "[store]") {
  for (const Mode& mode : kModes) {
    CAPTURE(mode.name);
    StoreFixture fixture(mode);
    CHECK(outcome(fixture.store->sync_file_system()) == "OK");
  }
}

TEST_CASE("store: a name that another front end makes at the same time hides what was before", "[store][observe]") {
  StoreFixture fixture(kByHandle);
  const auto make = [&](const char* name) { must(fixture.store->mkdir(kRootUser, kRootInode, name, 0755)); };
  CHECK(observe_one(*fixture.store, kRootInode, [&] { make("a"); }).before);
  CHECK_FALSE(observe_one(*fixture.store, kRootInode, [&] {
                make("b");
                std::thread([&] { make("c"); }).join();
              }).before);
  // What concerns another directory does not count.
  const InodeNumber a = must(fixture.store->lookup(kRootInode, "a")).number;
  CHECK(observe_one(*fixture.store, a, [&] { std::thread([&] { make("d"); }).join(); }).before);
}

TEST_CASE("store: what a front end announces reaches the listener before it goes on", "[store][announce]") {
  StoreFixture fixture(kByHandle);
  int done = 0;
  fixture.store->announce({{5, "name"}}, [&] { ++done; });
  CHECK(done == 1);  // nobody listens
  std::vector<Announcement> heard;
  Callback<void()> go_on;
  fixture.store->on_announcement([&](std::vector<Announcement> changes, Callback<void()> then) {
    heard = std::move(changes);
    go_on = std::move(then);
  });
  fixture.store->announce({{5, "name"}, {6, ""}}, [&] { ++done; });
  REQUIRE(heard.size() == 2);
  CHECK(heard[0].name == "name");
  CHECK(heard[1].number == 6);
  CHECK(done == 1);
  go_on();
  CHECK(done == 2);
  fixture.store->on_announcement(nullptr);
  fixture.store->announce({{5, ""}}, [&] { ++done; });
  CHECK(done == 3);
}

}  // namespace
}  // namespace sluice
