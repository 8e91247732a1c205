// Opens, and what happens to files that are open.
#include <sys/xattr.h>

#include "tests/fs/store/store_fixture.h"

namespace sluice {

TEST_CASE("open file: an unlinked file works until it is closed", "[store][open_file]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      auto created = must(store->create(kRootUser, kRootInode, "f", 0644, O_RDWR));
      CHECK(must(write_all(*created.file, 0, "content")) == 7);
      must(store->unlink(kRootUser, kRootInode, "f"));
      store.housekeep(7);
      CHECK(must(read_all(*created.file)) == "content");
      CHECK(must(store->getattr(created.entry.number)).values.st_nlink == 0);
      const auto second = must(store->open_file(kRootUser, created.entry.number, O_RDONLY));
      CHECK(must(read_all(*second)) == "content");
      SetAttributes cut;
      cut.size = 3;
      CHECK(must(store->setattr(kRootUser, created.entry.number, cut)).values.st_size == 3);
      CHECK(must(read_all(*second)) == "con");
    }
  }
}

TEST_CASE("open file: one made without a name works, and keeps its number when it gets names", "[store][open_file]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      auto created = must(store->create_nameless(user(1234), kRootInode, 0640, O_RDWR));
      const InodeNumber number = created.entry.number;
      CHECK(created.entry.attributes.st_nlink == 0);
      CHECK(created.entry.attributes.st_uid == 1234);
      CHECK(must(write_all(*created.file, 0, "content")) == 7);
      store.housekeep(7);
      CHECK(must(read_all(*created.file)) == "content");
      CHECK(must(store->link(kRootUser, number, kRootInode, "f")).number == number);
      CHECK(must(store->link(kRootUser, number, kRootInode, "second")).number == number);
      CHECK(read_file(store / "f") == "content");
      created.file.reset();
      store.housekeep(7);
      CHECK(store.number("f") == number);
      CHECK(must(read_all(*must(store->open_file(kRootUser, number, O_RDONLY)))) == "content");
    }
  }
}

TEST_CASE("open file: one that gets no name leaves nothing behind", "[store][open_file]") {
  StoreFixture store;
  const uint64_t before = store->stats().inodes;
  auto created = must(store->create_nameless(kRootUser, kRootInode, 0640, O_RDWR | O_EXCL));
  must(write_all(*created.file, 0, std::string(10'000, 'x')));
  must(read_all(*created.file));
  CHECK(outcome(store->link(kRootUser, created.entry.number, kRootInode, "f")) == "ENOENT");
  created.file.reset();
  store->forget(created.entry.number, 1);
  CHECK(store->stats().inodes == before);
  CHECK(store->stats().descriptors == 0);
}

TEST_CASE("open file: so does one that a rename replaced, or that was deleted behind our back", "[store][open_file]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreFixture store(mode);
      write_file(store / "new", "new");
      write_file(store / "old", "old");
      write_file(store / "gone", "gone");
      const auto old = must(store->open_file(kRootUser, store.number("old"), O_RDONLY));
      const auto gone = must(store->open_file(kRootUser, store.number("gone"), O_RDONLY));
      must(store->rename(kRootUser, kRootInode, "new", kRootInode, "old", 0));
      ::unlink((store / "gone").c_str());
      store.housekeep(7);
      CHECK(must(read_all(*old)) == "old");
      CHECK(must(read_all(*gone)) == "gone");
      CHECK(must(store->getattr(old->inode())).values.st_nlink == 0);
      CHECK(must(store->getattr(gone->inode())).values.st_nlink == 0);
      CHECK(must(store->getattr(store.number("old"))).values.st_size == 3);
      CHECK(store.number("old") != old->inode());
    }
  }
}

TEST_CASE("open file: create opens what exists, unless O_EXCL", "[store][open_file]") {
  StoreFixture store;
  write_file(store / "f", "content");
  const InodeNumber number = store.number("f");
  CHECK(outcome(store->create(kRootUser, kRootInode, "f", 0644, O_RDWR | O_EXCL)) == "EEXIST");
  const auto opened = must(store->create(kRootUser, kRootInode, "f", 0644, O_RDWR));
  CHECK(opened.entry.number == number);
  CHECK(must(read_all(*opened.file)) == "content");
  const auto cut = must(store->create(kRootUser, kRootInode, "f", 0644, O_RDWR | O_TRUNC));
  CHECK(cut.entry.attributes.st_size == 0);
  CHECK(must(read_all(*opened.file)) == "");
  REQUIRE(::symlink("nowhere", (store / "link").c_str()) == 0);
  CHECK(outcome(store->create(kRootUser, kRootInode, "link", 0644, O_RDWR)) == "EINVAL");
  CHECK(outcome(store->create(kRootUser, kRootInode, "..", 0644, O_RDWR)) != "OK");
}

TEST_CASE("open file: O_TRUNC cuts, O_APPEND appends", "[store][open_file]") {
  StoreFixture store;
  write_file(store / "f", "content");
  const InodeNumber number = store.number("f");
  const auto reader = must(store->open_file(kRootUser, number, O_RDONLY));
  CHECK(must(read_all(*reader)) == "content");
  const auto appender = must(store->open_file(kRootUser, number, O_WRONLY | O_APPEND));
  CHECK(must(write_all(*appender, 0, "+")) == 1);
  CHECK(must(read_all(*reader)) == "content+");
  must(store->open_file(kRootUser, number, O_WRONLY | O_TRUNC));
  CHECK(must(read_all(*reader)) == "");
  CHECK(stat_of(store / "f").st_size == 0);
}

TEST_CASE("open file: own changes of attributes and names are not taken for somebody else's", "[store][open_file]") {
  StoreFixture store;
  write_file(store / "f", "content");
  write_file(store / "g", "content");
  const InodeNumber number = store.number("f");
  const auto file = must(store->open_file(kRootUser, number, O_RDWR));
  const auto other = must(store->open_file(kRootUser, store.number("g"), O_RDWR));
  CHECK(must(read_all(*file)) == "content");
  int told = 0;
  store->on_outside_change([&](InodeNumber) { ++told; });
  SetAttributes mode;
  mode.mode = 0600;
  mode.mtime = timespec{1, 0};
  must(store->setattr(kRootUser, number, mode));
  must(store->setxattr(kRootUser, number, "user.a", "b", 0));
  must(store->link(kRootUser, number, kRootInode, "second"));
  must(store->rename(kRootUser, kRootInode, "f", kRootInode, "renamed", 0));
  must(store->rename(kRootUser, kRootInode, "renamed", kRootInode, "g", RENAME_EXCHANGE));
  must(store->unlink(kRootUser, kRootInode, "second"));
  must(store->rename(kRootUser, kRootInode, "g", kRootInode, "renamed", 0));
  must(store->getattr(number));
  must(store->open_file(kRootUser, number, O_RDONLY));
  CHECK(told == 0);
  CHECK(store->stats().outside_changes == 0);
}

TEST_CASE("open file: of a file that the kernel only knows nothing is kept but its stamp", "[store][open_file]") {
  StoreFixture store;
  for (const char* name : {"f", "same"}) write_file(store / name, "before");
  const InodeNumber number = store.number("f"), same = store.number("same");
  std::vector<InodeNumber> told;
  store->on_outside_change([&](InodeNumber changed) { told.push_back(changed); });
  for (const InodeNumber file : {number, same}) {
    CHECK(must(read_all(*must(store->open_file(kRootUser, file, O_RDONLY)))) == "before");
  }
  store.housekeep(100);
  CHECK(store->stats().files == 2);  // cached
  store.cache->clear();
  REQUIRE(store.housekeep_until([&] { return store->stats().files == 0; }));
  CHECK(store->stats().inodes == 3);
  write_file(store / "f", "after!");
  CHECK(must(read_all(*must(store->open_file(kRootUser, same, O_RDONLY)))) == "before");
  CHECK(told.empty());
  CHECK(must(read_all(*must(store->open_file(kRootUser, number, O_RDONLY)))) == "after!");
  CHECK(told == std::vector{number});
  {
    const auto open = must(store->open_file(kRootUser, number, O_RDONLY));
    store.cache->clear();
    store.housekeep(100);
    CHECK(store->stats().files == 1);
  }
}

TEST_CASE("open file: a change behind our back is told at open and when attributes are read", "[store][open_file]") {
  StoreFixture store;
  write_file(store / "f", "before");
  const InodeNumber number = store.number("f");
  std::vector<InodeNumber> told;
  store->on_outside_change([&](InodeNumber changed) { told.push_back(changed); });
  auto file = must(store->open_file(kRootUser, number, O_RDONLY));
  CHECK(must(read_all(*file)) == "before");
  CHECK(told.empty());
  write_file(store / "f", "after!");
  must(store->open_file(kRootUser, number, O_RDONLY));
  CHECK(told == std::vector<InodeNumber>{number});
  CHECK(must(read_all(*file)) == "after!");
  write_file(store / "f", "later!");
  CHECK(must(store->getattr(number)).values.st_size == 6);
  CHECK(told.size() == 2);
  CHECK(must(read_all(*file)) == "later!");
  CHECK(store->stats().outside_changes == 2);
}

TEST_CASE("open file: a read-only store changes nothing", "[store][open_file]") {
  for (const Mode& mode : kModes) {
    DYNAMIC_SECTION(mode.name) {
      StoreOptions options;
      options.read_only = true;
      StoreFixture store(mode, options);
      write_file(store / "f", "content");
      ::mkdir((store / "d").c_str(), 0755);
      const InodeNumber f = store.number("f");
      CHECK(must(read_all(*must(store->open_file(kRootUser, f, O_RDONLY)))) == "content");
      CHECK(outcome(store->open_file(kRootUser, f, O_RDWR)) == "EROFS");
      CHECK(outcome(store->open_file(kRootUser, f, O_RDONLY | O_TRUNC)) == "EROFS");
      CHECK(outcome(store->create(kRootUser, kRootInode, "x", 0644, O_RDWR)) == "EROFS");
      CHECK(outcome(store->mkdir(kRootUser, kRootInode, "x", 0755)) == "EROFS");
      CHECK(outcome(store->mknod(kRootUser, kRootInode, "x", S_IFREG, 0)) == "EROFS");
      CHECK(outcome(store->symlink(kRootUser, kRootInode, "x", "y")) == "EROFS");
      CHECK(outcome(store->link(kRootUser, f, kRootInode, "x")) == "EROFS");
      CHECK(outcome(store->unlink(kRootUser, kRootInode, "f")) == "EROFS");
      CHECK(outcome(store->rmdir(kRootUser, kRootInode, "d")) == "EROFS");
      CHECK(outcome(store->rename(kRootUser, kRootInode, "f", kRootInode, "g", 0)) == "EROFS");
      SetAttributes cut;
      cut.size = 0;
      CHECK(outcome(store->setattr(kRootUser, f, cut)) == "EROFS");
      CHECK(outcome(store->setxattr(kRootUser, f, "user.a", "b", 0)) == "EROFS");
      CHECK(outcome(store->removexattr(kRootUser, f, "user.a")) == "EROFS");
      CHECK(outcome(store->access(kRootUser, f, W_OK)) == "EROFS");
      CHECK(outcome(store->access(kRootUser, f, R_OK)) == "OK");
      CHECK((must(store->statfs(kRootInode)).f_flag & ST_RDONLY) != 0);
    }
  }
}

TEST_CASE("open file: opens are counted and leave no descriptors behind", "[store][open_file]") {
  StoreFixture store;
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  write_file(store / "f", "x");
  const auto before = descriptors();
  const InodeNumber number = store.number("f");
  {
    const auto first = must(store->open_file(kRootUser, number, O_RDWR));
    const auto second = must(store->open_path(kRootUser, "f"));
    CHECK(store->stats().open_files == 2);
  }
  CHECK(store->stats().open_files == 0);
  must(store->unlink(kRootUser, kRootInode, "f"));
  store->forget(number, 1);
  CHECK(store.housekeep_until([&] { return descriptors() == before; }));
}

TEST_CASE("open file: what closed files left in the page cache does not take all descriptors", "[store][open_file]") {
  StoreOptions options;
  options.descriptors_max = 3;
  const bool by_truncation = GENERATE(false, true);
  StoreFixture store(kModes[0], options);
  int held = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string name = "small file " + std::to_string(i);
    auto created = must(store->create(kRootUser, kRootInode, name, 0644, O_WRONLY));
    if (by_truncation) {
      must(created.file->data().truncate(5000, SetIdBits::clear));
    } else {
      must(write_all(*created.file, 0, "a few bytes"));
    }
  }
  for (int i = 0; i < 10; ++i) held += is_held("small file " + std::to_string(i));
  CHECK(held <= 3 + 3);  // idle ones by number, and such files
}

TEST_CASE("open file: extended attributes of files and links", "[store][open_file]") {
  StoreFixture store;
  write_file(store / "f");
  REQUIRE(::symlink("f", (store / "l").c_str()) == 0);
  const InodeNumber f = store.number("f");
  const std::string large(3000, 'v');
  CHECK(outcome(store->getxattr(f, "user.a")) == "ENODATA");
  must(store->setxattr(kRootUser, f, "user.a", large, XATTR_CREATE));
  CHECK(outcome(store->setxattr(kRootUser, f, "user.a", "x", XATTR_CREATE)) == "EEXIST");
  must(store->setxattr(kRootUser, f, "user.empty", "", 0));
  CHECK(must(store->getxattr(f, "user.a")) == large);
  CHECK(must(store->getxattr(f, "user.empty")).empty());
  const std::string names = must(store->listxattr(f));  // in any order
  CHECK(names.size() == 18);
  CHECK(names.find(std::string("user.a\0", 7)) != names.npos);
  CHECK(names.find(std::string("user.empty\0", 11)) != names.npos);
  must(store->removexattr(kRootUser, f, "user.a"));
  CHECK(outcome(store->removexattr(kRootUser, f, "user.a")) == "ENODATA");
  if (::geteuid() != 0) return;
  const InodeNumber l = store.number("l");
  must(store->setxattr(kRootUser, l, "trusted.link", "own", 0));
  CHECK(must(store->getxattr(l, "trusted.link")) == "own");
  CHECK(outcome(store->getxattr(f, "trusted.link")) == "ENODATA");
}

TEST_CASE("open file: links of any length and special files", "[store][open_file]") {
  StoreFixture store;
  const std::string target(4095, 't');
  const Entry link = must(store->symlink(kRootUser, kRootInode, "l", target));
  CHECK(must(store->readlink(link.number)) == target);
  CHECK(outcome(store->symlink(kRootUser, kRootInode, "m", target + "t")) == "ENAMETOOLONG");
  write_file(store / "f");
  CHECK(outcome(store->readlink(store.number("f"))) == "EINVAL");
  SetAttributes mode;
  mode.mode = 0600;
  CHECK(outcome(store->setattr(kRootUser, link.number, mode)) == "EOPNOTSUPP");
  SetAttributes owner;
  owner.uid = ::geteuid();
  owner.mtime = timespec{5, 0};
  CHECK(must(store->setattr(kRootUser, link.number, owner)).values.st_mtim.tv_sec == 5);
  CHECK(S_ISLNK(stat_of(store / "l").st_mode));
  CHECK(S_ISFIFO(must(store->mknod(kRootUser, kRootInode, "p", S_IFIFO | 0644, 0)).attributes.st_mode));
  CHECK(S_ISSOCK(must(store->mknod(kRootUser, kRootInode, "s", S_IFSOCK | 0644, 0)).attributes.st_mode));
  SetAttributes cut;
  cut.size = 0;
  CHECK(outcome(store->setattr(kRootUser, kRootInode, cut)) == "EISDIR");
  CHECK(outcome(store->setattr(kRootUser, store.number("p"), cut)) == "EINVAL");
  cut.size = UINT64_MAX;
  CHECK(outcome(store->setattr(kRootUser, store.number("f"), cut)) == "EFBIG");
}

TEST_CASE("open file: who opens the file for each of its parts is read ahead for", "[store][open_file]") {
  StoreFixture store;
  const std::string part(64 << 10, 'p');
  std::string content;
  for (int i = 0; i < 64; i++) content += part;
  write_file(store / "f", content);
  const InodeNumber number = store.number("f");
  for (uint64_t read = 16; read < 48; read++) {
    const auto file = must(store->open_file(kRootUser, number, O_RDONLY));
    CHECK(must(read_all(*file, read * part.size(), part.size())) == part);
  }
  CHECK(store.cache->stats().misses == 2 * part.size() / kPageSize);
}

TEST_CASE("open file: a source that is none is refused in the words of open", "[store][open_file]") {
  TemporaryDirectory directory;
  write_file(directory / "file");
  StoreFixture fixture;
  const auto open_store = [&](const std::string& source) {
    StoreOptions options;
    options.source = source;
    return outcome(Store::open(options, fixture.cache.get(), fixture.disk.get(), &system_clock()));
  };
  CHECK(open_store(directory / "none") == "ENOENT");
  CHECK(open_store(directory / "file") == "ENOTDIR");
  CHECK(open_store(directory.path()) == "OK");
}

}  // namespace sluice
