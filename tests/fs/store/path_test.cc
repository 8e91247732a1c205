// Exports by name: nothing outside of the source is ever reached.
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <iterator>
#include <thread>
#include <vector>

#include "fs/store/identity.h"
#include "tests/fs/store/store_fixture.h"

namespace sluice {
namespace {

bool is_root() {
  return ::geteuid() == 0;
}

double thread_cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

TEST_CASE("path: links inside the source are followed, ways out are refused", "[store][path]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      ::mkdir((store / "a").c_str(), 0755);
      ::mkdir((store / "a/b").c_str(), 0755);
      write_file(store / "a/f", "inside");
      const auto link = [&](const char* target, const char* name) {
        REQUIRE(::symlink(target, (store / name).c_str()) == 0);
      };
      link("a/f", "good");
      link("../f", "a/b/good");
      link("/etc/passwd", "absolute");
      link("../../../../../../etc/passwd", "up");
      link("up", "indirect");
      link("/proc/self/root", "magic");
      link("loop", "loop");
      const auto content = [&](const char* path) -> std::string {
        auto opened = store->open_path(kRootUser, path);
        if (!opened) return strerrorname_np(opened.error().number);
        return opened->file == nullptr ? "no file" : must(read_all(*opened->file));
      };
      CHECK(content("a/f") == "inside");
      CHECK(content("good") == "inside");
      CHECK(content("a/b/good") == "inside");
      CHECK(content("a/../a/./f") == "inside");
      CHECK(content("") == "no file");
      CHECK(content("a") == "no file");
      CHECK(content("absolute") == "EXDEV");
      CHECK(content("up") == "EXDEV");
      CHECK(content("indirect") == "EXDEV");
      CHECK(content("magic/etc/passwd") == "EXDEV");
      CHECK(content("..") == "EXDEV");
      CHECK(content("a/../../x") == "EXDEV");
      CHECK(content("/etc/passwd") == "EXDEV");
      CHECK(content("loop") == "ELOOP");
      CHECK(content("a/f/") == "ENOTDIR");
      CHECK(content("nothing") == "ENOENT");
      CHECK(outcome(store->open_path(kRootUser, std::string_view("a\0b", 3))) == "EINVAL");
      CHECK(outcome(store->open_path(kRootUser, std::string(5000, 'x'))) == "ENAMETOOLONG");
    }
  }
}

TEST_CASE("path: only regular files are opened", "[store][path]") {
  StoreFixture store;
  REQUIRE(::mkfifo((store / "fifo").c_str(), 0666) == 0);
  const auto opened = must(store->open_path(kRootUser, "fifo"));  // must not wait for a writer
  CHECK(opened.file == nullptr);
  CHECK(S_ISFIFO(opened.attributes.st_mode));
  CHECK(outcome(store->open_file(kRootUser, store.number("fifo"), O_RDONLY)) == "EINVAL");
}

TEST_CASE("path: by name and by number it is the same file", "[store][path]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      write_file(store / "f", "x");
      const auto by_path = must(store->open_path(kRootUser, "f"));
      CHECK(store.number("f") == by_path.file->inode());
      CHECK(must(store->getattr(by_path.file->inode())).values.st_size == 1);
      const auto by_number = must(store->open_file(kRootUser, by_path.file->inode(), O_RDWR));
      CHECK(&by_number->data() == &by_path.file->data());
      CHECK(must(write_all(*by_number, 0, "y")) == 1);
      CHECK(must(read_all(*by_path.file)) == "y");
    }
  }
}

TEST_CASE("path: what the kernel has not cached is left to a thread that may block", "[store][path]") {
  StoreFixture store;
  if (!store->root().is_local()) return;
  write_file(store / "warm", "warm");
  must(store->open_path(kRootUser, "warm"));
  const auto opened = must(store->try_open_path(kRootUser, "warm"));
  CHECK(must(read_all(*opened.file)) == "warm");
  CHECK(outcome(store->try_open_path(kRootUser, "never looked up")) == "EAGAIN");
  act_as_gateway();
}

TEST_CASE("path: more small files can be hot than descriptors may be kept", "[store][path]") {
  for (const Mode& mode : {kModes[0], kModes[3]}) {
    if (mode.watch && !is_root()) continue;
    INFO(mode.name);
    StoreOptions options;
    options.descriptors_max = 2;  // one for the data of closed files
    StoreFixture store(mode, options);
    write_file(store / "keeps it", "one");
    write_file(store / "hot", "old bytes");
    write_file(store / "large", std::string(2 << 20, 'l'));
    store.clock.advance(std::chrono::minutes(1));  // now the stamps can be trusted
    for (const char* name : {"keeps it", "hot", "large"}) {
      REQUIRE(outcome(read_all(*must(store->open_path(kRootUser, name)).file)) == "OK");
    }
    // A thread of the disk may still hold what it just read.
    REQUIRE(store.housekeep_until([&] { return !is_held("hot") && !is_held("large"); }));
    {
      const auto opened = must(store->try_open_path(kRootUser, "hot"));
      CHECK_FALSE(is_held("hot"));
      CHECK(opened.attributes.st_size == 9);
      CHECK(must(read_all(*opened.file)) == "old bytes");
      CHECK(must(read_all(*opened.file, 4, 2)) == "by");
      opened.file->data().evict();
      CHECK(outcome(read_all(*opened.file)) == "ESTALE");
      CHECK(must(read_all(*must(store->open_path(kRootUser, "hot")).file)) == "old bytes");
      CHECK(must(read_all(*opened.file)) == "old bytes");
    }
    CHECK(store->stats().open_files == 0);
    {
      const auto large = must(store->try_open_path(kRootUser, "large"));
      CHECK(is_held("large"));
    }
    write_file(store / "hot", "new bytes");
    CHECK(must(read_all(*must(store->try_open_path(kRootUser, "hot")).file)) == "new bytes");
  }
}

TEST_CASE("path: the exported user's permissions hold on the way and at its end", "[store][path]") {
  if (!is_root()) return;
  StoreFixture store;
  const Caller nobody = user(65534);
  ::mkdir((store / "closed").c_str(), 0700);
  write_file(store / "closed/f");
  write_file(store / "secret");
  ::chmod((store / "secret").c_str(), 0600);
  write_file(store / "public", "hello");
  for (int round = 0; round < 2; ++round) {  // the second with everything cached and open
    CHECK(outcome(store->open_path(nobody, "closed/f")) == "EACCES");
    CHECK(outcome(store->open_path(nobody, "secret")) == "EACCES");
    CHECK(outcome(store->try_open_path(nobody, "secret")) == "EACCES");
    CHECK(outcome(store->try_open_path(nobody, "closed/f")) == "EAGAIN");  // a refusal on the way needs the slow walk
    CHECK(must(read_all(*must(store->open_path(nobody, "public")).file)) == "hello");
    must(store->open_path(kRootUser, "closed/f"));
    must(store->open_path(kRootUser, "secret"));
  }
  // After try_open_path the thread is nobody, until the next call.
  must(store->try_open_path(nobody, "public"));
  CHECK(::syscall(SYS_setfsuid, -1) == 65534);
  CHECK(store.number("secret") != 0);
  CHECK(::syscall(SYS_setfsuid, -1) == 0);
}

// "name", "name/" or "name=SIZE", sorted, read so many at a time.
std::string listed(StoreFixture& store, const Caller& caller, std::string_view path, size_t at_a_time) {
  auto listing = store->list_path(caller, path);
  if (!listing) return strerrorname_np(listing.error().number);
  std::vector<ListedEntry> entries;
  while (must((*listing)->read(at_a_time, entries))) {
  }
  std::vector<std::string> names;
  for (const ListedEntry& entry : entries)
    names.push_back(entry.name + (entry.is_directory ? "/" : "=" + std::to_string(entry.size)));
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names) text += name + " ";
  return text;
}

TEST_CASE("path: a listing shows what can be reached, and where links lead", "[store][path]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      ::mkdir((store / "d").c_str(), 0755);
      ::mkdir((store / "d/sub").c_str(), 0755);
      write_file(store / "d/f", "four");
      write_file(store / "top", "x");
      for (const auto& [target, name] : {std::pair("../top", "d/up"),
                                         {"sub", "d/dir"},
                                         {"nothing", "d/dangling"},
                                         {"../../..", "d/out"},
                                         {"/etc", "d/absolute"},
                                         {"self", "d/self"}}) {
        REQUIRE(::symlink(target, (store / name).c_str()) == 0);
      }
      REQUIRE(::mkfifo((store / "d/fifo").c_str(), 0666) == 0);
      const std::string expected = "dir/ f=4 sub/ up=1 ";
      for (const size_t at_a_time : {1U, 3U, 1000U}) {
        CHECK(listed(store, kRootUser, "d", at_a_time) == expected);
        CHECK(listed(store, kRootUser, "d/", at_a_time) == expected);
      }
      CHECK(listed(store, kRootUser, "", 10) == "d/ top=1 ");
      CHECK(listed(store, kRootUser, "d/sub", 10).empty());
      CHECK(listed(store, kRootUser, "d/dir/..", 10) == expected);
      CHECK(listed(store, kRootUser, "top", 10) == "ENOTDIR");
      CHECK(listed(store, kRootUser, "none", 10) == "ENOENT");
      CHECK(listed(store, kRootUser, "d/out", 10) == "EXDEV");
      CHECK(listed(store, kRootUser, "..", 10) == "EXDEV");
      CHECK(listed(store, kRootUser, "/etc", 10) == "EXDEV");
    }
  }
}

TEST_CASE("path: a listing is of the user who asks, and there are not too many at once", "[store][path]") {
  if (!is_root()) return;
  StoreOptions few;
  few.path_files_max = 8;
  StoreFixture store(kModes[0], few);
  ::mkdir((store / "closed").c_str(), 0700);
  ::mkdir((store / "names only").c_str(), 0744);
  write_file(store / "names only/f");
  const Caller nobody = user(65534);
  CHECK(listed(store, nobody, "closed", 10) == "EACCES");
  CHECK(listed(store, nobody, "names only", 10).empty());
  CHECK(listed(store, kRootUser, "names only", 10) == "f=0 ");
  {
    const auto first = must(store->list_path(nobody, ""));
    const auto second = must(store->list_path(nobody, ""));
    CHECK(outcome(store->list_path(nobody, "")) == "EMFILE");
  }
  CHECK(outcome(store->list_path(nobody, "")) == "OK");
}

// "way" is by turns a directory inside and a link that leads out, exchanged at once so that it is always there; so is
// "end", a file. Whoever checks first and opens then is caught within some thousand opens.
TEST_CASE("path: links that are swapped while paths are opened lead nobody out", "[store][path]") {
  constexpr int kOpens = 20'000;
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      TemporaryDirectory outside;
      write_file(outside / "f", "outside");
      write_file(outside / "leak", "outside");
      ::mkdir((store / "way").c_str(), 0755);
      write_file(store / "way/f", "inside");
      write_file(store / "end", "inside");
      REQUIRE(::symlink(outside.path().c_str(), (store / "other way").c_str()) == 0);
      REQUIRE(::symlink((outside / "f").c_str(), (store / "other end").c_str()) == 0);
      std::atomic<bool> ending{false};
      std::atomic<int> failed_swaps{0};
      std::thread swapper([&] {
        const auto swap = [&](const std::string& one, const std::string& other) {
          const std::string a = store / one;
          const std::string b = store / other;
          if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) != 0) ++failed_swaps;
        };
        while (!ending) {
          swap("way", "other way");
          swap("end", "other end");
        }
      });
      int inside = 0;
      int refused = 0;
      bool escaped = false;
      for (int i = 0; i < kOpens && !escaped; ++i) {
        const char* const paths[] = {"way/f", "end", "way/../end", "other way/f", "way/leak"};
        auto opened = i % 2 == 0 ? store->open_path(kRootUser, paths[i % std::size(paths)])
                                 : store->try_open_path(kRootUser, paths[i % std::size(paths)]);
        if (!opened || opened->file == nullptr) {
          ++refused;
        } else if (const auto bytes = read_all(*opened->file)) {  // else it changed under the read
          escaped = *bytes != "inside";
          ++inside;
        }
        if (i % 10 == 0) escaped |= listed(store, kRootUser, "way", 10).find("leak") != std::string::npos;
      }
      ending = true;
      swapper.join();
      CHECK_FALSE(escaped);
      CHECK(failed_swaps == 0);
      CHECK(inside > 0);
      CHECK(refused > 0);
    }
  }
}

TEST_CASE("path: mounts below and over the source are not seen", "[store][path]") {
  if (!is_root()) return;
  for (const Mode& mode : kModes) {
    INFO(mode.name);
    CHECK(holds_in_child([&] {
      EXPECT_OR_RETURN(::unshare(CLONE_NEWNS) == 0);
      // In a chroot "/" is no mount that could be made private, and what we mount would spread.
      if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno == EINVAL;
      StoreFixture store(mode);
      ::mkdir((store / "before").c_str(), 0755);
      ::mkdir((store / "later").c_str(), 0755);
      // What happens to be shared (the default of systemd) would propagate into a clone that is not private.
      EXPECT_OR_RETURN(
          ::mount(store.directory.path().c_str(), store.directory.path().c_str(), nullptr, MS_BIND, nullptr) == 0);
      EXPECT_OR_RETURN(::mount(nullptr, store.directory.path().c_str(), nullptr, MS_SHARED, nullptr) == 0);
      EXPECT_OR_RETURN(::mount("tmpfs", (store / "before").c_str(), "tmpfs", 0, nullptr) == 0);
      write_file(store / "before/f", "other file system");
      StoreOptions options;
      options.clone_mount = mode.clone_mount;
      options.file_handles = mode.file_handles;
      store.start(options);
      EXPECT_OR_RETURN(::mount("tmpfs", (store / "later").c_str(), "tmpfs", 0, nullptr) == 0);
      write_file(store / "later/f", "other file system");
      for (const std::string name : {"before", "later"}) {
        const auto folder = store->lookup(kRootInode, name);
        if (mode.clone_mount) {
          EXPECT_OR_RETURN(folder);
          EXPECT_OR_RETURN(outcome(store->lookup(folder->number, "f")) == "ENOENT");
          EXPECT_OR_RETURN(outcome(store->open_path(kRootUser, name + "/f")) == "ENOENT");
        } else {
          EXPECT_OR_RETURN(outcome(folder) == "EXDEV");
          EXPECT_OR_RETURN(outcome(store->open_path(kRootUser, name + "/f")) == "EXDEV");
        }
      }
      if (mode.clone_mount) {  // MOUNTPOINT over SOURCE
        const std::string path = store.directory.path();
        EXPECT_OR_RETURN(::mount("tmpfs", path.c_str(), "tmpfs", 0, nullptr) == 0);
        write_file(path + "/g", "other file system");
        EXPECT_OR_RETURN(outcome(store->lookup(kRootInode, "g")) == "ENOENT");
        EXPECT_OR_RETURN(outcome(store->mkdir(kRootUser, kRootInode, "made", 0755)) == "OK");
        EXPECT_OR_RETURN(::umount2(path.c_str(), MNT_DETACH) == 0);
        EXPECT_OR_RETURN(S_ISDIR(stat_of(path + "/made").st_mode));
      }
      store.store.reset();
      ::umount2((store / "before").c_str(), MNT_DETACH);
      ::umount2((store / "later").c_str(), MNT_DETACH);
      ::umount2(store.directory.path().c_str(), MNT_DETACH);
      return true;
    }));
  }
}

TEST_CASE("path: a directory moved out of the source has no parent here", "[store][path]") {
  TemporaryDirectory elsewhere;
  StoreFixture store;
  if (!store->root().has_handles()) return;
  const InodeNumber folder = must(store->mkdir(kRootUser, kRootInode, "folder", 0755)).number;
  REQUIRE(::rename((store / "folder").c_str(), (elsewhere / "folder").c_str()) == 0);
  CHECK(outcome(store->lookup(folder, "..")) == "ENOENT");
}

TEST_CASE("path: by place, a directory that became a link leads nowhere", "[store][path]") {
  TemporaryDirectory elsewhere;
  write_file(elsewhere / "f", "outside");
  StoreFixture store(kModes[1]);
  ::mkdir((store / "folder").c_str(), 0755);
  write_file(store / "folder/f", "inside");
  const InodeNumber f = store.number("f", store.number("folder"));
  store.housekeep(7);
  REQUIRE(::rename((store / "folder").c_str(), (store / "away").c_str()) == 0);
  REQUIRE(::symlink(elsewhere.path().c_str(), (store / "folder").c_str()) == 0);
  CHECK(outcome(store->getattr(f)) == "ESTALE");
  CHECK(outcome(store->open_file(kRootUser, f, O_RDONLY)) == "ESTALE");
}

TEST_CASE("path: opening a warm file is cheap", "[.][measure]") {
  StoreFixture store;
  write_file(store / "warm", "warm");
  const Caller caller = is_root() ? user(65534) : kRootUser;
  const auto measure = [&](const char* name, auto operation) {
    constexpr int kRounds = 100'000;
    for (int i = 0; i < 1000; ++i) operation();
    const double start = thread_cpu_seconds();
    for (int i = 0; i < kRounds; ++i) operation();
    std::printf("%-40s %.2f us of CPU\n", name, (thread_cpu_seconds() - start) * 1e6 / kRounds);
  };
  measure("try_open_path, open and close", [&] { must(store->try_open_path(caller, "warm")); });
  measure("open_path", [&] { must(store->open_path(caller, "warm")); });
  const InodeNumber number = store.number("warm");
  measure("lookup of a known file", [&] { store.number("warm"); });
  measure("getattr", [&] { must(store->getattr(number)); });
  measure("open_file as root, open and close", [&] { must(store->open_file(kRootUser, number, O_RDONLY)); });
  measure("open_file as a user, open and close", [&] { must(store->open_file(caller, number, O_RDONLY)); });
}

}  // namespace sluice
