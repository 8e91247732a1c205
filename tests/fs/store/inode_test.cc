// Numbers: who gets which, for how long.
#include "tests/fs/store/store_fixture.h"

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
      CHECK(must(store->getattr(first)).st_size == 1);
      store->forget(first, 1);
      store.housekeep(1);
      CHECK(outcome(store->getattr(first)) == "ESTALE");
      const InodeNumber again = store.number("a");
      CHECK(again != first);
      CHECK(must(store->getattr(again)).st_ino == stat_of(store / "a").st_ino);
    }
  }
}

TEST_CASE("store: the root is number 1 and cannot be forgotten", "[store]") {
  StoreFixture store;
  store->forget(kRootInode, 100);
  store.housekeep(2);
  CHECK(must(store->getattr(kRootInode)).st_ino == stat_of(store.directory.path()).st_ino);
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
      CHECK(must(store->getattr(number)).st_nlink == 1);
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
      CHECK(must(store->getattr(f)).st_size == 7);
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
      CHECK(must(store->getattr(a)).st_size == 1);
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
      CHECK(must(store->getattr(first)).st_nlink == 0);
      store->forget(first, 1);
      store.housekeep(1);
      CHECK(outcome(store->getattr(first)) == "ESTALE");
      CHECK(must(store->getattr(second)).st_nlink == 1);
    }
  }
}

TEST_CASE("store: a deleted file's space comes back when the front end forgets it", "[store]") {
  StoreFixture store;
  write_file(store / "a", std::string(1 << 20, 'x'));
  const Store::OpenedPath opened = must(store->open_path(kRootUser, "a"));
  must(read_all(*opened.file));
  const InodeNumber number = store.number("a");
  must(store->unlink(kRootUser, kRootInode, "a"));
  CHECK(must(read_all(*opened.file)).size() == 1 << 20);
  CHECK(store.cache->stats().blocks > 0);
  store->forget(number, 1);
  const_cast<Store::OpenedPath&>(opened).file.reset();
  store.housekeep(1);
  CHECK(store.cache->stats().blocks == 0);
  int descriptors = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    const std::string target = std::filesystem::read_symlink(entry.path(), ignored).string();
    descriptors += target.find("(deleted)") != target.npos && target.find("store_test") != target.npos ? 1 : 0;
  }
  CHECK(descriptors == 0);
}

TEST_CASE("store: a file deleted behind our back is stale once its descriptor has idled away", "[store]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      write_file(store / "a");
      const InodeNumber number = store.number("a");
      ::unlink((store / "a").c_str());
      CHECK(must(store->getattr(number)).st_nlink == 0);
      store.housekeep(7);
      CHECK(outcome(store->getattr(number)) == "ESTALE");
      CHECK(outcome(store->lookup(kRootInode, "a")) == "ENOENT");
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
  CHECK(must(store->getattr(file)).st_nlink == 1);
}

TEST_CASE("store: twenty thousand inodes are known within 256 descriptors", "[store]") {
  constexpr int kFiles = 20'000;
  TemporaryDirectory directory;
  for (int i = 0; i < kFiles; ++i) {
    if (i % 1000 == 0) ::mkdir((directory / std::to_string(i / 1000)).c_str(), 0755);
    const int fd = ::open((directory / (std::to_string(i / 1000) + "/" + std::to_string(i))).c_str(), O_CREAT | O_WRONLY, 0644);
    ::close(fd);
  }
  for (const bool handles : {true, false}) {
    INFO("handles " << handles);
    CHECK(holds_in_child([&] {
      const struct rlimit limit {256, 256};
      EXPECT_OR_RETURN(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
      const auto disk = open_disk({});
      const auto cache = BlockCache::create({.size_bytes = uint64_t{16} << 20});
      StoreOptions options;
      options.source = directory.path();
      options.file_handles = handles;
      const auto store = StoreImpl::open(options, cache->get(), disk.get(), &system_clock());
      EXPECT_OR_RETURN(store);
      std::vector<std::pair<InodeNumber, ino_t>> known;
      InodeNumber folder = 0;
      for (int i = 0; i < kFiles; ++i) {
        if (i % 1000 == 0) folder = (*store)->lookup(kRootInode, std::to_string(i / 1000))->number;
        const auto entry = (*store)->lookup(folder, std::to_string(i));
        EXPECT_OR_RETURN(entry);
        known.emplace_back(entry->number, entry->attributes.st_ino);
      }
      EXPECT_OR_RETURN((*store)->stats().inodes == kFiles + 20 + 1);
      EXPECT_OR_RETURN((*store)->stats().descriptors <= 64);
      for (const auto& [number, ino] : known) {
        const auto attributes = (*store)->getattr(number);
        EXPECT_OR_RETURN(attributes && attributes->st_ino == ino);
      }
      return true;
    }));
  }
}

}  // namespace sluice
