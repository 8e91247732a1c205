#include "fs/store/place_table.h"

#include <filesystem>
#include <fstream>

#include "tests/fs/store/store_fixture.h"

namespace sluice {
namespace {

using Place = PlaceTable::Place;

struct Table {
  TemporaryDirectory directory;
  std::string path = directory.path() + "/table";
  std::unique_ptr<PlaceTable> table = must(PlaceTable::open(path));

  void reopen() {
    table.reset();
    table = must(PlaceTable::open(path));
  }
};

TEST_CASE("place table: a number outlives the process, and another table gives others", "[store][places]") {
  Table one;
  const Place place{
      .parent = PlaceTable::kRoot, .name = std::string("a\0\xff", 3), .ino = UINT64_MAX, .incarnation = 5};
  const auto id = must(one.table->id_of(place));
  CHECK(id != PlaceTable::kRoot);
  one.reopen();
  CHECK(must(one.table->find(id)) == place);
  CHECK(must(one.table->id_of(place)) == id);
  Table other;
  CHECK(must(other.table->id_of(place)) != id);
  CHECK(outcome(other.table->find(id)) == "ESTALE");
}

TEST_CASE("place table: nobody else reads the names, also of what is not in the table yet", "[store][places]") {
  Table one;
  must(one.table->id_of({.parent = PlaceTable::kRoot, .name = "a", .ino = 7, .incarnation = 5}));
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(one.directory.path())) {
    CHECK((entry.status().permissions() & std::filesystem::perms(0077)) == std::filesystem::perms::none);
    ++files;
  }
  CHECK(files > 0);
}

TEST_CASE("place table: a file that has an incarnation is known wherever it goes", "[store][places]") {
  Table one;
  Place place{.parent = PlaceTable::kRoot, .name = "a", .ino = 7, .incarnation = 5};
  const auto id = must(one.table->id_of(place));
  place.name = "b";
  CHECK(must(one.table->id_of(place)) == id);
  CHECK(must(one.table->find(id)).name == "b");
  place.incarnation = 6;  // the inode number was used again
  CHECK(must(one.table->id_of(place)) != id);
}

TEST_CASE("place table: without an incarnation a file is told by its place, and keeps its number when it is moved",
          "[store][places]") {
  Table one;
  Place place{.parent = PlaceTable::kRoot, .name = "a", .ino = 7};
  const auto id = must(one.table->id_of(place));
  Place elsewhere = place;
  elsewhere.name = "b";
  must(one.table->move(id, elsewhere));
  CHECK(must(one.table->id_of(elsewhere)) == id);
  CHECK(must(one.table->id_of(place)) != id);
  one.table->erase(7, 0);
  CHECK(outcome(one.table->find(id)) == "ESTALE");
  CHECK(must(one.table->id_of(elsewhere)) != id);
}

TEST_CASE("place table: what is no table is an error, and is left alone", "[store][places]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/table";
  std::ofstream(path) << std::string(5000, 'x');
  CHECK(outcome(PlaceTable::open(path)) == "EIO");
  CHECK(std::filesystem::file_size(path) == 5000);
  CHECK(outcome(PlaceTable::open(directory.path() + "/missing/table")) == "EIO");
}

TEST_CASE("store: without file handles a file is found again by its place, in another store too", "[store][places]") {
  const TemporaryDirectory state;
  StoreOptions options;
  options.place_table = state.path() + "/table";
  options.file_handles = false;
  StoreFixture fixture({"by place", true, false}, options);
  ::mkdir((fixture / "d").c_str(), 0755);
  write_file(fixture / "d/f", "content");
  const InodeNumber directory = must(fixture.store->lookup(kRootInode, "d")).number;
  const InodeNumber file = must(fixture.store->lookup(directory, "f")).number;
  const std::string handle = must(fixture.store->persistent_handle(file));
  CHECK(handle.size() <= Store::kPersistentHandleMax);
  CHECK(must(fixture.store->find_persistent(handle)).number == file);
  must(fixture.store->rename(kRootUser, kRootInode, "d", kRootInode, "e", 0));
  fixture.start(options);
  const Entry found = must(fixture.store->find_persistent(handle));
  CHECK(found.attributes.st_ino == stat_of(fixture / "e/f").st_ino);
  must(fixture.store->unlink(kRootUser, must(fixture.store->lookup(kRootInode, "e")).number, "f"));
  CHECK(outcome(fixture.store->find_persistent(handle)) == "ESTALE");
  options.place_table.clear();
  fixture.start(options);
  CHECK(outcome(fixture.store->persistent_handle(must(fixture.store->lookup(kRootInode, "e")).number)) == "EOPNOTSUPP");
}

}  // namespace
}  // namespace sluice
