#include <dirent.h>

#include <map>
#include <set>
#include <vector>

#include "tests/fs/store/store_fixture.h"

namespace sluice {
namespace {

struct Listed {
  std::string name;
  uint64_t ino;
  uint8_t type;
  uint64_t next_offset;
};

// At most `entries_max` entries from `offset`, as a front end with a small reply buffer asks for them.
std::vector<Listed> list(OpenDirectory& directory, uint64_t offset, size_t entries_max) {
  std::vector<Listed> listed;
  must(directory.read(offset, [&](const DirectoryEntry& entry) {
    if (listed.size() == entries_max) return false;
    listed.push_back({std::string(entry.name), entry.ino, entry.type, entry.next_offset});
    return true;
  }));
  return listed;
}

std::map<std::string, int> list_all(OpenDirectory& directory, size_t entries_max) {
  std::map<std::string, int> seen;
  for (uint64_t offset = 0;;) {
    const auto part = list(directory, offset, entries_max);
    if (part.empty()) return seen;
    for (const Listed& entry : part) ++seen[entry.name];
    offset = part.back().next_offset;
  }
}

// And nothing else.
StoreOptions remembers_listings() {
  StoreOptions options;
  options.metadata_cache_bytes = uint64_t{16} << 20;
  return options;
}

}  // namespace

TEST_CASE("directory: every entry is seen once, whatever the size of the pieces", "[store][directory]") {
  StoreFixture store;
  std::set<std::string> expected{".", ".."};
  for (int i = 0; i < 3000; ++i) {
    expected.insert("entry" + std::to_string(i));
    write_file(store / ("entry" + std::to_string(i)));
  }
  const auto directory = must(store->open_directory(kRootUser, kRootInode));
  for (const size_t entries_max : {1u, 2u, 7u, 100u, 100'000u}) {
    INFO(entries_max);
    const auto seen = list_all(*directory, entries_max);
    CHECK(seen.size() == expected.size());
    for (const auto& [name, times] : seen) {
      CHECK(times == 1);
      CHECK(expected.count(name) == 1);
    }
  }
}

TEST_CASE("directory: reading goes on at any offset seen before", "[store][directory]") {
  StoreFixture store;
  for (int i = 0; i < 2000; ++i) write_file(store / std::to_string(i));
  const auto directory = must(store->open_directory(kRootUser, kRootInode));
  const auto whole = list(*directory, 0, 100'000);
  for (const size_t at : {1999u, 3u, 1000u, 4u, 1001u, 0u}) {
    INFO(at);
    const auto rest = list(*directory, whole[at].next_offset, 2);
    REQUIRE(!rest.empty());
    CHECK(rest[0].name == whole[at + 1].name);
  }
}

TEST_CASE("directory: entries that stay are seen once while others come and go", "[store][directory]") {
  StoreFixture store;
  for (int i = 0; i < 2000; ++i) write_file(store / ((i % 2 == 0 ? "stay" : "go") + std::to_string(i)));
  const auto directory = must(store->open_directory(kRootUser, kRootInode));
  std::map<std::string, int> seen;
  uint64_t offset = 0;
  for (int round = 0;; ++round) {
    const auto part = list(*directory, offset, 13);
    if (part.empty()) break;
    for (const Listed& entry : part) ++seen[entry.name];
    offset = part.back().next_offset;
    ::unlink((store / ("go" + std::to_string(2 * round + 1))).c_str());
    write_file(store / ("come" + std::to_string(round)));
  }
  for (int i = 0; i < 2000; i += 2) CHECK(seen["stay" + std::to_string(i)] == 1);
  CHECK(list_all(*directory, 1000).count("come0") == 1);  // rewinding reads anew
}

TEST_CASE("directory: names of any bytes, and types", "[store][directory]") {
  StoreFixture store;
  const std::string odd = "\xff\x01\n \xc3(\\\"";
  write_file(store / odd);
  ::mkdir((store / "d").c_str(), 0755);
  REQUIRE(::symlink("d", (store / "l").c_str()) == 0);
  const auto directory = must(store->open_directory(kRootUser, kRootInode));
  std::map<std::string, Listed> entries;
  for (const Listed& entry : list(*directory, 0, 100)) entries.insert({entry.name, entry});
  REQUIRE(entries.count(odd) == 1);
  CHECK(entries.at(odd).type == DT_REG);
  CHECK(entries.at(odd).ino == stat_of(store / odd).st_ino);
  CHECK(entries.at("d").type == DT_DIR);
  CHECK(entries.at("l").type == DT_LNK);
  CHECK(must(store->lookup(kRootInode, odd)).attributes.st_ino == entries.at(odd).ino);
}

TEST_CASE("directory: a removed directory is empty and still has attributes", "[store][directory]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      const InodeNumber number = must(store->mkdir(kRootUser, kRootInode, "d", 0755)).number;
      const auto directory = must(store->open_directory(kRootUser, number));
      must(store->rmdir(kRootUser, kRootInode, "d"));
      store.housekeep(7);
      CHECK(list(*directory, 0, 10).empty());
      CHECK(must(store->getattr(number)).values.st_nlink == 0);
      CHECK(outcome(directory->fsync(false)) == "OK");
    }
  }
}

TEST_CASE("directory: only those who may read it open it", "[store][directory]") {
  if (::geteuid() != 0) return;
  StoreFixture store;
  const InodeNumber hidden = must(store->mkdir(kRootUser, kRootInode, "hidden", 0711)).number;
  CHECK(outcome(store->open_directory(user(1000), hidden)) == "EACCES");
  CHECK(outcome(store->open_directory(kRootUser, hidden)) == "OK");
  write_file(store / "f");
  CHECK(outcome(store->open_directory(kRootUser, store.number("f"))) == "ENOTDIR");
}

TEST_CASE("directory: the listing of a directory that bears the same stamp is not read again", "[store][directory]") {
  StoreFixture store(kModes[0], remembers_listings());
  for (int i = 0; i < 3000; ++i) write_file(store / ("entry" + std::to_string(i)));
  const auto look = [&] { return list_all(*must(store->open_directory(kRootUser, kRootInode)), 100); };
  const auto from_memory = [&] {
    const auto before = store->stats().metadata.hits;
    CHECK(look().size() == 3002);
    return store->stats().metadata.hits > before;
  };
  // A stamp that is too recent for the clock's grain is not trusted yet.
  const auto start = std::chrono::steady_clock::now();
  while (!from_memory()) REQUIRE(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  CHECK(from_memory());
  write_file(store / "entry0", "a change in a file is none of its directory's");
  CHECK(from_memory());
}

// In each round a reader may still have what it learnt in the one before.
TEST_CASE("directory: names that others make, move and remove are in the next listing", "[store][directory]") {
  StoreFixture store(kModes[0], remembers_listings());
  for (int i = 0; i < 40; ++i) write_file(store / ("old" + std::to_string(i)));
  const auto look = [&] { return list_all(*must(store->open_directory(kRootUser, kRootInode)), 100); };
  for (int round = 0; round < 300; ++round) {
    INFO(round);
    const std::string name = "new" + std::to_string(round), moved = "moved" + std::to_string(round);
    CHECK(look().count(name) == 0);
    write_file(store / name);
    CHECK(look().count(name) == 1);
    REQUIRE(::rename((store / name).c_str(), (store / moved).c_str()) == 0);
    const auto after = look();
    CHECK(after.count(name) == 0);
    CHECK(after.count(moved) == 1);
    REQUIRE(::unlink((store / moved).c_str()) == 0);
    CHECK(look().size() == 42);
  }
}

}  // namespace sluice
