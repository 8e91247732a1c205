// Numbers: who gets which, for how long.
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <random>
#include <set>
#include <thread>

#include "tests/fs/store/store_fixture.h"
#include "tests/support/seed.h"

namespace sluice {

TEST_CASE("store: a file keeps its number until it is forgotten", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      write_file(store / "a", "x");
      const InodeNumber first = store.number("a");
      CHECK(first != kRootInode);
      CHECK(store.number("a") == first);
      store->forget(first, 1);
      CHECK(must(store->getattr(first)).values.st_size == 1);
      store->forget(first, 1);
      store.housekeep(1);
      CHECK(outcome(store->getattr(first)) == "ESTALE");
      const InodeNumber again = store.number("a");
      CHECK(again != first);
      CHECK(must(store->getattr(again)).values.st_ino == stat_of(store / "a").st_ino);
    }
  }
}

TEST_CASE("store: the root is number 1 and cannot be forgotten", "[store]") {
  StoreFixture store;
  store->forget(kRootInode, 100);
  store.housekeep(2);
  CHECK(must(store->getattr(kRootInode)).values.st_ino == stat_of(store.directory.path()).st_ino);
  CHECK(must(store->lookup(kRootInode, "..")).number == kRootInode);
  CHECK(must(store->lookup(kRootInode, ".")).number == kRootInode);
}

TEST_CASE("store: two names of one file have one number", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      write_file(store / "a");
      const InodeNumber number = store.number("a");
      const Entry linked = must(store->link(kRootUser, number, kRootInode, "b"));
      CHECK(linked.number == number);
      CHECK(linked.attributes.st_nlink == 2);
      must(store->unlink(kRootUser, kRootInode, "a"));
      CHECK(store.number("b") == number);
      CHECK(must(store->getattr(number)).values.st_nlink == 1);
    }
  }
}

TEST_CASE("store: dot-dot leads to the parent's number", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      const InodeNumber a = must(store->mkdir(kRootUser, kRootInode, "a", 0755)).number;
      const InodeNumber b = must(store->mkdir(kRootUser, a, "b", 0755)).number;
      write_file(store / "a/f");
      CHECK(must(store->lookup(b, "..")).number == a);
      CHECK(must(store->lookup(b, ".")).number == b);
      CHECK(must(store->lookup(a, "..")).number == kRootInode);
      CHECK(outcome(store->lookup(store.number("f", a), "..")) == "ENOTDIR");
    }
  }
}

TEST_CASE("store: a rename keeps the number, also of what lies below", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      const InodeNumber a = must(store->mkdir(kRootUser, kRootInode, "a", 0755)).number;
      const InodeNumber b = must(store->mkdir(kRootUser, kRootInode, "b", 0755)).number;
      write_file(store / "a/f", "content");
      const InodeNumber f = store.number("f", a);
      must(store->rename(kRootUser, kRootInode, "a", b, "moved", 0));
      store.housekeep(7);  // no descriptor helps
      CHECK(must(store->getattr(f)).values.st_size == 7);
      CHECK(store.number("moved", b) == a);
      CHECK(store.number("f", a) == f);
      CHECK(outcome(store->lookup(kRootInode, "a")) == "ENOENT");
    }
  }
}

TEST_CASE("store: an exchange swaps names, not numbers", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      write_file(store / "a", "1");
      write_file(store / "b", "22");
      const InodeNumber a = store.number("a");
      const InodeNumber b = store.number("b");
      must(store->rename(kRootUser, kRootInode, "a", kRootInode, "b", RENAME_EXCHANGE));
      store.housekeep(7);
      CHECK(store.number("a") == b);
      CHECK(must(store->getattr(a)).values.st_size == 1);
      CHECK(outcome(store->rename(kRootUser, kRootInode, "a", kRootInode, "b", RENAME_NOREPLACE)) == "EEXIST");
    }
  }
}

TEST_CASE("store: a reused inode number is a new file, the old number is stale", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      int reused = 0;
      for (int i = 0; i < 20; ++i) {
        write_file(store / "a");
        const struct stat before = stat_of(store / "a");
        const InodeNumber old_number = store.number("a");
        store.housekeep(7);  // an open descriptor would keep the inode from being reused
        ::unlink((store / "a").c_str());
        write_file(store / "a");
        reused += stat_of(store / "a").st_ino == before.st_ino ? 1 : 0;
        CHECK(store.number("a") != old_number);
        CHECK(outcome(store->getattr(old_number)) == "ESTALE");
        ::unlink((store / "a").c_str());
      }
      CHECK(reused > 0);  // else this file system is no test
    }
  }
}

TEST_CASE("store: a number reused after an own unlink is a new file", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      const InodeNumber first = must(store->mknod(kRootUser, kRootInode, "a", S_IFREG | 0644, 0)).number;
      must(store->unlink(kRootUser, kRootInode, "a"));
      const InodeNumber second = must(store->mknod(kRootUser, kRootInode, "a", S_IFREG | 0644, 0)).number;
      CHECK(first != second);
      // As long as the front end refers to it, the old one answers as a file without names.
      CHECK(must(store->getattr(first)).values.st_nlink == 0);
      store->forget(first, 1);
      store.housekeep(1);
      CHECK(outcome(store->getattr(first)) == "ESTALE");
      CHECK(must(store->getattr(second)).values.st_nlink == 1);
    }
  }
}

TEST_CASE("store: a deleted file's space comes back when the front end forgets it", "[store]") {
  StoreFixture store;
  write_file(store / "a", std::string(1 << 20, 'x'));
  Store::OpenedPath opened = must(store->open_path(kRootUser, "a"));
  must(read_all(*opened.file));
  const InodeNumber number = store.number("a");
  must(store->unlink(kRootUser, kRootInode, "a"));
  CHECK(must(read_all(*opened.file)).size() == 1 << 20);
  CHECK(store.cache->stats().blocks > 0);
  store->forget(number, 1);
  opened.file.reset();
  CHECK(store.housekeep_until([&] { return store.cache->stats().blocks == 0; }));
  CHECK_FALSE(is_held("a (deleted)"));
}

TEST_CASE("store: a file deleted behind our back is stale once its descriptor has idled away", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      write_file(store / "a");
      const InodeNumber number = store.number("a");
      ::unlink((store / "a").c_str());
      CHECK(must(store->getattr(number)).values.st_nlink == 0);
      store.housekeep(7);
      CHECK(outcome(store->getattr(number)) == "ESTALE");
      CHECK(outcome(store->lookup(kRootInode, "a")) == "ENOENT");
    }
  }
}

TEST_CASE("store: a pinned file deleted behind our back gives its part of the cache back", "[store]") {
  for (const Mode& mode : kModes) {
    if (!mode.file_handles) continue;  // there it may be anywhere
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      const uint64_t size = store.cache->stats().pinned_max_bytes * 2 / 3;
      for (const char* name : {"a", "b"}) write_file(store / name, std::string(size, 'x'));
      for (const char* name : {"stays", "moves"}) write_file(store / name, "x");
      const auto pin = [&](const char* name) {
        const Store::OpenedPath opened = must(store->open_path(kRootUser, name));
        const std::string pinned = outcome(opened.file->data().pin());
        must(read_all(*opened.file));
        return pinned;
      };
      for (const char* name : {"stays", "moves", "a"}) CHECK(pin(name) == "OK");
      CHECK(pin("b") == "ENOSPC");
      ::unlink((store / "a").c_str());
      REQUIRE(::rename((store / "moves").c_str(), (store / "moved").c_str()) == 0);
      CHECK(store.housekeep_until([&] { return store.cache->stats().pinned_bytes == 2 * kPageSize; }));
      CHECK(pin("b") == "OK");
      store.housekeep(100);
      CHECK(store.cache->stats().pinned_bytes > 2 * kPageSize);
      CHECK(pin("b") == "OK");
    }
  }
}

TEST_CASE("store: a file moved behind our back keeps its number when it is found again", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      ::mkdir((store / "a").c_str(), 0755);
      write_file(store / "a/f", "content");
      const InodeNumber a = store.number("a");
      const InodeNumber f = store.number("f", a);
      REQUIRE(::rename((store / "a").c_str(), (store / "b").c_str()) == 0);
      store.housekeep(7);
      CHECK(outcome(store->getattr(f)) == (mode.file_handles ? "OK" : "ESTALE"));
      CHECK(store.number("b") == a);
      CHECK(store.number("f", a) == f);
      CHECK(must(store->getattr(f)).values.st_size == 7);
    }
  }
}

TEST_CASE("store: an inode stays while blocks are cached, and leaves with them", "[store]") {
  StoreFixture store;
  write_file(store / "a", "cached");
  const InodeNumber number = store.number("a");
  {
    const auto file = must(store->open_file(kRootUser, number, O_RDONLY));
    CHECK(must(read_all(*file)) == "cached");
  }
  store->forget(number, 1);
  store.housekeep(3);
  CHECK(store.number("a") == number);
  store->forget(number, 1);
  ::unlink((store / "a").c_str());
  CHECK(store->stats().inodes == 2);
}

TEST_CASE("store: names that are no names are refused", "[store]") {
  StoreFixture store;
  CHECK(outcome(store->lookup(kRootInode, "")) == "ENOENT");
  CHECK(outcome(store->lookup(kRootInode, "a/b")) == "EINVAL");
  CHECK(outcome(store->lookup(kRootInode, std::string_view("a\0b", 3))) == "EINVAL");
  CHECK(outcome(store->lookup(kRootInode, std::string(256, 'x'))) == "ENAMETOOLONG");
  CHECK(outcome(store->mkdir(kRootUser, kRootInode, "../x", 0755)) == "EINVAL");
  CHECK(outcome(store->mkdir(kRootUser, kRootInode, "..", 0755)) == "EEXIST");
  CHECK(outcome(store->lookup(12345, "a")) == "ESTALE");
  const std::string longest(255, '\xff');
  write_file(store / longest);
  CHECK(must(store->lookup(kRootInode, longest)).attributes.st_ino == stat_of(store / longest).st_ino);
}

TEST_CASE("store: by place, paths longer than PATH_MAX still lead to the file", "[store]") {
  StoreFixture store(kModes[1]);
  InodeNumber at = kRootInode;
  const std::string name(250, 'd');
  for (int depth = 0; depth < 40; ++depth) at = must(store->mkdir(kRootUser, at, name, 0755)).number;
  const InodeNumber file = must(store->mknod(kRootUser, at, "f", S_IFREG | 0644, 0)).number;
  store.housekeep(7);
  CHECK(must(store->getattr(file)).values.st_nlink == 1);
}

TEST_CASE("store: twenty thousand inodes are known within 256 descriptors", "[store]") {
  CHECK(holds_in_child([] {
    constexpr int kFiles = 20'000;
    const struct rlimit limit { 256, 256 };
    EXPECT_OR_RETURN(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
    StoreFixture store;
    for (int i = 0; i < kFiles; ++i) {
      const std::string folder = store / std::to_string(i / 1000);
      if (i % 1000 == 0) ::mkdir(folder.c_str(), 0755);
      ::close(::open((folder + "/" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    }
    for (const Mode& mode : kModes) {
      StoreOptions options;
      options.clone_mount = mode.clone_mount;
      options.file_handles = mode.file_handles;
      store.start(options);
      std::vector<std::pair<InodeNumber, ino_t>> known;
      InodeNumber folder = 0;
      for (int i = 0; i < kFiles; ++i) {
        if (i % 1000 == 0) folder = store.number(std::to_string(i / 1000));
        const Entry entry = must(store->lookup(folder, std::to_string(i)));
        known.emplace_back(entry.number, entry.attributes.st_ino);
      }
      EXPECT_OR_RETURN(store->stats().inodes == kFiles + 20 + 1);
      EXPECT_OR_RETURN(store->stats().descriptors <= 64);
      for (const auto& [number, ino] : known) {
        const auto attributes = store->getattr(number);
        EXPECT_OR_RETURN(attributes && attributes->values.st_ino == ino);
      }
    }
    return true;
  }));
}

TEST_CASE("store: threads that make, move, open and remove the same few files disturb nobody", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      std::atomic<int> surprises{0};
      const auto work = [&](uint64_t seed) {
        std::mt19937_64 random(seed);
        const auto name = [&] { return "f" + std::to_string(random() % 4); };
        const auto allow = [&](const std::string& result) {
          static const std::set<std::string> allowed{"OK", "ENOENT", "EEXIST", "ESTALE"};
          if (allowed.count(result) == 0 && ++surprises == 1) std::fprintf(stderr, "surprise: %s\n", result.c_str());
        };
        for (int i = 0; i < 1500; ++i) {
          switch (random() % 7) {
            case 0: {
              auto created = store->create(kRootUser, kRootInode, name(), 0644, O_RDWR);
              allow(outcome(created));
              if (created) {
                allow(outcome(write_all(*created->file, 0, "content")));
                store->forget(created->entry.number, 1);
              }
              break;
            }
            case 1: allow(outcome(store->unlink(kRootUser, kRootInode, name()))); break;
            case 2: allow(outcome(store->rename(kRootUser, kRootInode, name(), kRootInode, name(), 0))); break;
            case 3: {
              const auto opened = store->open_path(kRootUser, name());
              allow(outcome(opened));
              if (opened) allow(outcome(read_all(*opened->file)));
              break;
            }
            case 4:
              if (seed == test_seed()) store->housekeep();  // by one of them, as it is for
              break;
            default: {
              const auto entry = store->lookup(kRootInode, name());
              allow(outcome(entry));
              if (!entry) break;
              allow(outcome(store->getattr(entry->number)));
              allow(outcome(store->open_file(kRootUser, entry->number, O_RDWR)));
              store->forget(entry->number, 1);
            }
          }
        }
      };
      std::vector<std::thread> threads;
      for (uint64_t thread = 0; thread < 4; ++thread) threads.emplace_back(work, test_seed() + thread);
      for (std::thread& thread : threads) thread.join();
      CHECK(surprises == 0);
      for (const char* name : {"f0", "f1", "f2", "f3"}) ::unlink((store / name).c_str());
      // Nobody holds a reference and nothing is open: only cached blocks of deleted files could keep an inode, for as
      // long as nobody found out.
      CHECK(store->stats().open_files == 0);
      CHECK(store->stats().inodes <= 1 + 4 + store.cache->stats().blocks);
    }
  }
}

TEST_CASE("store: what an inode costs", "[.][measure]") {
  for (const Mode& mode : {kModes[0], kModes[1]}) {
    StoreOptions options;
    options.source = "/usr";
    options.clone_mount = mode.clone_mount;
    options.file_handles = mode.file_handles;
    const auto disk = open_disk({});
    const auto cache = must(BlockCache::create({.size_bytes = uint64_t{16} << 20}));
    const auto store = must(StoreImpl::open(options, cache.get(), disk.get(), &system_clock()));
    uint64_t files = 0;
    std::function<void(InodeNumber)> walk = [&](InodeNumber folder) {
      std::vector<InodeNumber> folders;
      must(must(store->open_directory(kRootUser, folder))->read(0, [&](const DirectoryEntry& entry) {
        if (entry.name == "." || entry.name == "..") return true;
        const Entry found = must(store->lookup(folder, entry.name));
        ++files;
        if (S_ISDIR(found.attributes.st_mode)) folders.push_back(found.number);
        return true;
      }));
      for (const InodeNumber below : folders) walk(below);
    };
    for (const char* round : {"first", "second"}) {
      const size_t before = ::mallinfo2().uordblks;
      const auto start = std::chrono::steady_clock::now();
      files = 0;
      walk(kRootInode);
      const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
      for (int i = 0; i < 7; ++i) store->housekeep();
      std::printf("%s, %s walk of /usr: %lu files, %.2f us each, %lu inodes, %.0f bytes each\n", mode.name, round,
                  files, time.count() / static_cast<double>(files), store->stats().inodes,
                  static_cast<double>(::mallinfo2().uordblks - before) / static_cast<double>(store->stats().inodes));
    }
  }
}

}  // namespace sluice
