// What the store knows without asking the backing: never what is no longer so, and without asking.
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "tests/fs/store/store_fixture.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

const Mode& kWatched = kModes[3];

std::string content_of(StoreFixture& store, std::string_view path) {
  auto opened = store->open_path(kRootUser, path);
  if (!opened) return strerrorname_np(opened.error().number);
  return opened->file == nullptr ? "no file" : must(read_all(*opened->file));
}

std::string content_by_number(StoreFixture& store, InodeNumber number) {
  auto file = store->open_file(kRootUser, number, O_RDONLY);
  return file ? must(read_all(**file)) : strerrorname_np(file.error().number);
}

std::vector<std::string> names_in(StoreFixture& store, InodeNumber number) {
  const auto directory = must(store->open_directory(kRootUser, number));
  std::vector<std::string> names;
  must(directory->read(0, [&](const DirectoryEntry& entry) {
    if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
    return true;
  }));
  std::sort(names.begin(), names.end());
  return names;
}

uint64_t misses(StoreFixture& store) {
  return store->stats().metadata.misses;
}

}  // namespace

TEST_CASE("known: what is asked for again is answered without the backing", "[store][known]") {
  StoreFixture store(kWatched);
  ::mkdir((store / "d").c_str(), 0755);
  write_file(store / "d/f", "content");
  REQUIRE(::symlink("f", (store / "d/l").c_str()) == 0);
  // Whoever else moves or removes directories of this file system makes the store look again, so a quiet round counts.
  bool asked_nothing = false;
  for (int round = 0; round < 100 && !asked_nothing; ++round) {
    const uint64_t missed = misses(store);
    const InodeNumber d = store.number("d");
    const InodeNumber f = store.number("f", d);
    CHECK(must(store->getattr(f)).values.st_size == 7);
    must(store->confirm_name(f));
    CHECK(content_by_number(store, f) == "content");
    CHECK(content_of(store, "d/f") == "content");
    CHECK(content_of(store, "d/l") == "content");
    CHECK(content_of(store, "d/none") == "ENOENT");
    CHECK(names_in(store, d) == std::vector<std::string>{"f", "l"});
    CHECK(must(store->readlink(store.number("l", d))) == "f");
    CHECK(outcome(store->getxattr(f, "user.none")) == "ENODATA");
    asked_nothing = misses(store) == missed;
  }
  CHECK(asked_nothing);
}

TEST_CASE("known: opens ask, unless the options let them rely on what is known", "[store][known]") {
  StoreOptions options = with_long_memory({});
  SECTION("they ask") {
    StoreFixture store(kModes[0], options);
    write_file(store / "f", "old");
    const InodeNumber number = store.number("f");
    CHECK(content_by_number(store, number) == "old");
    CHECK(content_of(store, "f") == "old");
    write_file(store / "f", "changed");
    CHECK(content_by_number(store, number) == "changed");
    write_file(store / "f", "again");
    CHECK(content_of(store, "f") == "again");
  }
  SECTION("and what they notice is known at once") {
    StoreFixture store(kModes[0], options);
    write_file(store / "f", "old");
    const InodeNumber number = store.number("f");
    CHECK(content_of(store, "f") == "old");
    write_file(store / "f", "changed");
    CHECK(must(store->getattr(number)).values.st_size == 3);
    CHECK(content_of(store, "f") == "changed");
    CHECK(must(store->getattr(number)).values.st_size == 7);
  }
  SECTION("for as long as it says") {
    options.open_cache = 5s;
    options.negative_timeout = 2s;
    StoreFixture store(kModes[0], options);
    write_file(store / "f", "old");
    CHECK(content_of(store, "f") == "old");
    CHECK(content_of(store, "new") == "ENOENT");
    write_file(store / "f", "changed");
    write_file(store / "new", "new");
    store.clock.advance(1s);
    CHECK(content_of(store, "f") == "old");
    CHECK(content_of(store, "new") == "ENOENT");
    store.clock.advance(1s);
    CHECK(content_of(store, "new") == "new");
    store.clock.advance(3s);
    CHECK(content_of(store, "f") == "changed");
  }
  SECTION("or until everything is forgotten") {
    options.open_cache = 1h;
    StoreFixture store(kModes[0], options);
    write_file(store / "f", "old");
    CHECK(content_of(store, "f") == "old");
    write_file(store / "f", "changed");
    CHECK(content_of(store, "f") == "old");
    store->drop_metadata();
    CHECK(content_of(store, "f") == "changed");
    CHECK(content_of(store, "f") == "changed");
    CHECK(store->stats().metadata.items > 0);
  }
  SECTION("what is handed on says how old it is") {
    StoreFixture store(kModes[0], options);
    write_file(store / "f");
    const InodeNumber number = store.number("f");
    store.clock.advance(7s);
    CHECK(must(store->getattr(number)).age >= 7s);
    CHECK(must(store->lookup(kRootInode, "f")).age >= 7s);
    CHECK(must(store->lookup(kRootInode, "f")).age < 8s);
  }
}

// As a kernel does: on ESTALE it looks the path up again and opens what it finds.
TEST_CASE("known: after ESTALE a name leads to what is there now", "[store][known]") {
  for (const Mode& mode : {kModes[0], kModes[1], kModes[2]}) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode, with_long_memory({}));
      ::mkdir((store / "d").c_str(), 0755);
      write_file(store / "d/f", "old");
      const auto number_of_f = [&] { return store.number("f", store.number("d")); };
      const InodeNumber old = number_of_f();
      SECTION("another file") {
        write_file(store / "g", "new");
        ::rename((store / "g").c_str(), (store / "d/f").c_str());
      }
      SECTION("another directory on the way") {
        ::rename((store / "d").c_str(), (store / "e").c_str());
        ::mkdir((store / "d").c_str(), 0755);
        write_file(store / "d/f", "new");
      }
      CHECK(number_of_f() == old);
      CHECK(outcome(store->confirm_name(old)) == "ESTALE");
      const InodeNumber now = number_of_f();
      must(store->confirm_name(now));
      CHECK(content_by_number(store, now) == "new");
    }
  }
}

TEST_CASE("known: what one may is not what another may", "[store][known]") {
  if (::geteuid() != 0) return;
  StoreFixture store(kWatched);
  write_file(store / "f", "secret");
  ::chmod((store / "f").c_str(), 0600);
  ::chmod(store.directory.path().c_str(), 0755);
  const InodeNumber number = store.number("f");
  CHECK(content_by_number(store, number) == "secret");
  CHECK(outcome(store->open_file(user(1000), number, O_RDONLY)) == "EACCES");
  CHECK(outcome(store->open_path(user(1000), "f")) == "EACCES");
  SetAttributes open_to_all;
  open_to_all.mode = 0644;
  must(store->setattr(kRootUser, number, open_to_all));
  CHECK(outcome(store->open_file(user(1000), number, O_RDONLY)) == "OK");
  CHECK(outcome(store->open_path(user(1000), "f")) == "OK");
  CHECK(outcome(store->open_file(user(1000), number, O_RDWR)) == "EACCES");
  SECTION("taken back by us") {
    SetAttributes closed;
    closed.mode = 0600;
    must(store->setattr(kRootUser, number, closed));
  }
  SECTION("taken back by somebody else") {
    ::chmod((store / "f").c_str(), 0600);
  }
  SECTION("taken back on the way to it") {
    ::chmod(store.directory.path().c_str(), 0700);
  }
  CHECK(outcome(store->open_path(user(1000), "f")) == "EACCES");
}

TEST_CASE("known: a front end hears of what others do", "[store][known]") {
  StoreFixture store(kWatched);
  ::mkdir((store / "d").c_str(), 0755);
  write_file(store / "d/f", "old");
  const InodeNumber d = store.number("d");
  const InodeNumber f = store.number("f", d);
  const auto file = must(store->open_file(kRootUser, f, O_RDONLY));
  CHECK(must(read_all(*file)) == "old");
  Mutex mutex;
  CondVar changed;
  std::set<InodeNumber> numbers;
  std::set<std::string> names;
  store->on_outside_change([&](InodeNumber number) {
    MutexLock lock(&mutex);
    numbers.insert(number);
    changed.notify_all();
  });
  store->on_outside_name([&](InodeNumber directory, const std::string& name) {
    MutexLock lock(&mutex);
    names.insert(std::to_string(directory) + "/" + name);
    changed.notify_all();
  });
  store->start_housekeeping();
  write_file(store / "d/f", "new");
  write_file(store / "d/other");
  {
    MutexLock lock(&mutex);
    while (numbers.count(f) == 0 || numbers.count(d) == 0 || names.count(std::to_string(d) + "/other") == 0)
      changed.wait(mutex);
  }
  // The file that is open has no other version any more.
  CHECK(must(read_all(*file)) == "new");
  store->on_outside_change(nullptr);
  store->on_outside_name(nullptr);
}

TEST_CASE("known: a source that cannot be watched is refused", "[store][known]") {
  const TemporaryDirectory directory;
  auto cache = must(BlockCache::create({.size_bytes = uint64_t{16} << 20}));
  const auto disk = open_disk({});
  StoreOptions options;
  options.source = directory.path();
  options.watch = true;
  options.file_handles = false;
  CHECK(outcome(Store::open(options, cache.get(), disk.get(), &system_clock())) == "EOPNOTSUPP");
}

namespace {

// A small tree that the store and somebody else change in turns. What the store says is compared with the backing.
class Tree {
 public:
  explicit Tree(uint64_t seed) : store(kWatched), random(seed) {
    for (const char* directory : kDirectories) ::mkdir((store / directory).c_str(), 0755);
  }

  void change_outside() {
    const std::string path = store / any_path(), other = store / any_path();
    switch (random() % 11) {
      case 0: write_file(path, text()); break;
      case 1: ::rename(path.c_str(), other.c_str()); break;
      case 2: ::unlink(path.c_str()); break;
      case 3: ::mkdir(path.c_str(), 0755); break;
      case 4: ::rmdir(path.c_str()); break;
      case 5: (void)!::symlink(any_name().c_str(), path.c_str()); break;
      case 6: (void)!::link(path.c_str(), other.c_str()); break;
      case 7: ::chmod(path.c_str(), random() % 2 == 0 ? 0755 : 0700); break;
      case 8: (void)!::truncate(path.c_str(), static_cast<off_t>(random() % 10)); break;
      case 9: ::syscall(SYS_renameat2, AT_FDCWD, path.c_str(), AT_FDCWD, other.c_str(), 2 /* EXCHANGE */); break;
      default: ::setxattr(path.c_str(), "user.x", text().data(), 3, 0); break;
    }
  }

  void change_inside() {
    const auto directory = number_of(any_directory()), other = number_of(any_directory());
    if (!directory || !other) return;
    const std::string name = any_name(), new_name = any_name();
    const auto entry = store->lookup(*directory, name);
    SetAttributes changes;
    switch (random() % 9) {
      case 0: (void)store->create(kRootUser, *directory, name, 0644, O_RDWR); break;
      case 1: (void)store->rename(kRootUser, *directory, name, *other, new_name, 0); break;
      case 2: (void)store->unlink(kRootUser, *directory, name); break;
      case 3: (void)store->mkdir(kRootUser, *directory, name, 0755); break;
      case 4: (void)store->rmdir(kRootUser, *directory, name); break;
      case 5: (void)store->symlink(kRootUser, *directory, name, any_name()); break;
      case 6:
        if (entry) (void)store->link(kRootUser, entry->number, *other, new_name);
        break;
      case 7:
        changes.mode = random() % 2 == 0 ? 0755 : 0700;
        if (entry) (void)store->setattr(kRootUser, entry->number, changes);
        break;
      default: write_inside(entry); break;
    }
  }

  // True: the store says what the backing says.
  bool look() {
    const std::string path = any_path();
    struct stat truth {};
    // Numbers do not follow links, not even on the way.
    const bool exists = !std::filesystem::is_symlink(std::filesystem::path(store / path).parent_path()) &&
                        ::lstat((store / path).c_str(), &truth) == 0;
    const auto number = number_of(path);
    EXPECT_OR_RETURN(exists == number.has_value());
    if (!same_content(path)) return false;
    if (!number) return true;
    const struct stat told = must(store->getattr(*number)).values;
    EXPECT_OR_RETURN(told.st_ino == truth.st_ino);
    EXPECT_OR_RETURN(told.st_mode == truth.st_mode);
    EXPECT_OR_RETURN(told.st_size == truth.st_size);
    EXPECT_OR_RETURN(told.st_nlink == truth.st_nlink);
    EXPECT_OR_RETURN(told.st_ctim.tv_sec == truth.st_ctim.tv_sec && told.st_ctim.tv_nsec == truth.st_ctim.tv_nsec);
    char value[16];
    const ssize_t length = ::lgetxattr((store / path).c_str(), "user.x", value, sizeof(value));
    const auto known = store->getxattr(*number, "user.x");
    EXPECT_OR_RETURN(length >= 0 ? known == std::string(value, static_cast<size_t>(length)) : !known.has_value());
    if (S_ISREG(truth.st_mode)) {
      EXPECT_OR_RETURN(outcome(store->confirm_name(*number)) == "OK");
      EXPECT_OR_RETURN(content_by_number(store, *number) == read_file(store / path));
    }
    if (S_ISLNK(truth.st_mode))
      EXPECT_OR_RETURN(must(store->readlink(*number)) == std::filesystem::read_symlink(store / path));
    if (S_ISDIR(truth.st_mode)) {
      std::vector<std::string> names;
      for (const auto& entry : std::filesystem::directory_iterator(store / path))
        names.push_back(entry.path().filename());
      std::sort(names.begin(), names.end());
      EXPECT_OR_RETURN(names_in(store, *number) == names);
    }
    return true;
  }

  StoreFixture store;
  std::mt19937_64 random;

 private:
  static constexpr const char* kDirectories[] = {"a", "b", "a/c"};

  // By the way that HTTP takes, links followed.
  bool same_content(const std::string& path) {
    const std::string told = content_of(store, path);
    struct stat truth {};
    if (::stat((store / path).c_str(), &truth) != 0) {
      EXPECT_OR_RETURN(told == strerrorname_np(errno) || told == "EXDEV");
    } else if (S_ISREG(truth.st_mode)) {
      EXPECT_OR_RETURN(told == read_file(store / path));
    } else {
      EXPECT_OR_RETURN(told == "no file");
    }
    return true;
  }

  void write_inside(const Result<Entry>& entry) {
    if (!entry || !S_ISREG(entry->attributes.st_mode)) return;
    const auto file = must(store->open_file(kRootUser, entry->number, O_RDWR));
    must(write_all(*file, random() % 5, text()));
  }

  std::optional<InodeNumber> number_of(const std::string& path) {
    InodeNumber number = kRootInode;
    for (const auto& name : std::filesystem::path(path)) {
      const auto entry = store->lookup(number, name.string());
      if (!entry) return std::nullopt;
      number = entry->number;
    }
    return number;
  }

  std::string any_directory() { return kDirectories[random() % 3]; }
  std::string any_name() { return std::string(1, static_cast<char>('a' + random() % 5)); }
  std::string any_path() { return any_directory() + "/" + any_name(); }
  std::string text() { return std::to_string(100 + random() % 900); }
};

}  // namespace

TEST_CASE("known: the store never says what is no longer so", "[store][known]") {
  Tree tree(test_seed());
  const char* given = std::getenv("SLUICE_TEST_STEPS");
  const int steps = given != nullptr ? std::atoi(given) : 10'000;
  for (int step = 0; step < steps; ++step) {
    const auto dice = tree.random() % 8;
    if (dice == 0) tree.change_outside();
    if (dice == 1) tree.change_inside();
    if (dice == 2 && tree.random() % 16 == 0) tree.store.housekeep(1);
    if (!tree.look()) FAIL("at step " << step);
  }
  const MetadataCacheStats stats = tree.store->stats().metadata;
  CHECK(stats.hits > stats.misses / 10);
}

TEST_CASE("known: files stay open in the backing as long as opens rely on what is known", "[store][known]") {
  const auto open_cache = GENERATE(0s, 60s);
  StoreOptions options;
  options.open_cache = open_cache;
  StoreFixture store(kModes[0], options);
  write_file(store / "kept open", "content");
  const InodeNumber number = store.number("kept open");
  const auto pass = [&](int seconds) {
    for (; seconds > 0; --seconds) {
      store.clock.advance(1s);
      store.housekeep(1);
    }
  };
  CHECK(content_by_number(store, number) == "content");
  CHECK(is_held("kept open"));
  pass(10);
  CHECK(is_held("kept open") == (open_cache > 0s));
  CHECK(content_by_number(store, number) == "content");
  pass(70);
  CHECK_FALSE(is_held("kept open"));
}

}  // namespace sluice
