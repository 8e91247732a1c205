// Changes of a file's content by other calls than write.
#include <linux/falloc.h>

#include "fs/store/identity.h"
#include "tests/fs/store/store_fixture.h"

namespace sluice {
namespace {

std::string letters(size_t size, char first) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(first + i % 20);
  return bytes;
}

// An open file that the cache knows as a whole.
struct CachedFileFixture {
  explicit CachedFileFixture(size_t size) : content(letters(size, 'a')) {
    write_file(store / "f", content);
    file = must(store->open_file(kRootUser, store.number("f"), O_RDWR));
    must(read_all(*file));
  }
  // What readers see is what the backing has, and both are what they should be.
  bool holds() { return must(read_all(*file)) == content && read_file(store / "f") == content; }
  uint64_t misses() { return store.cache->stats().misses; }
  void zero(size_t offset, size_t length) { content.replace(offset, length, length, '\0'); }

  std::string content;
  StoreFixture store;
  std::unique_ptr<OpenFile> file;
};

}  // namespace

TEST_CASE("change: punching and zeroing are seen by the next read, partial pages included", "[store][change]") {
  for (const int mode : {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE}) {
    CachedFileFixture f(100'000);
    must(f.file->data().allocate({mode, 5'000, 20'001, SetIdBits::clear}));
    f.zero(5'000, 20'001);
    CHECK(f.holds());
    must(f.file->data().allocate({mode, 50'000, 7, SetIdBits::clear}));
    f.zero(50'000, 7);
    CHECK(f.holds());
  }
}

TEST_CASE("change: pages outside of a punched range stay cached", "[store][change]") {
  CachedFileFixture f(100'000);
  const uint64_t before = f.misses();
  must(f.file->data().allocate({FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8'192, 4'096, SetIdBits::clear}));
  f.zero(8'192, 4'096);
  CHECK(f.holds());
  CHECK(f.misses() - before == 1);
}

TEST_CASE("change: allocating keeps what is cached and may grow the file", "[store][change]") {
  CachedFileFixture f(10'000);
  const uint64_t before = f.misses();
  must(f.file->data().allocate({FALLOC_FL_KEEP_SIZE, 0, 50'000, SetIdBits::clear}));
  CHECK(f.holds());
  CHECK(f.misses() == before);
  must(f.file->data().allocate({0, 0, 20'000, SetIdBits::clear}));
  f.content.resize(20'000);
  CHECK(f.holds());
  must(f.file->data().allocate({FALLOC_FL_ZERO_RANGE, 15'000, 15'000, SetIdBits::clear}));
  f.content.resize(30'000);
  CHECK(f.holds());
}

TEST_CASE("change: what would move bytes is refused, and nothing is changed", "[store][change]") {
  CachedFileFixture f(100'000);
  for (const int mode : {FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE}) {
    CHECK(outcome(f.file->data().allocate({mode, 4'096, 4'096, SetIdBits::clear})) == "EOPNOTSUPP");
  }
  CHECK(outcome(f.file->data().allocate({0, 0, 0, SetIdBits::clear})) == "EINVAL");
  CHECK(outcome(f.file->data().allocate({0, UINT64_MAX, 1, SetIdBits::clear})) == "EINVAL");
  CHECK(f.holds());
  const auto reader = must(f.store->open_file(kRootUser, f.store.number("f"), O_RDONLY));
  f.file.reset();
  CHECK(outcome(reader->data().allocate({0, 0, 1, SetIdBits::clear})) == "EBADF");
  CHECK(outcome(reader->data().truncate(0, SetIdBits::clear)) == "EBADF");
}

TEST_CASE("change: a copy between files is seen by the next read", "[store][change]") {
  CachedFileFixture f(100'000);
  const std::string other = letters(50'000, 'A');
  write_file(f.store / "source", other);
  const auto source = must(f.store->open_file(kRootUser, f.store.number("source"), O_RDONLY));
  CHECK(must(f.file->data().copy_from(source->data(), {1'001, 30'003, 20'000})) == 20'000);
  f.content.replace(30'003, 20'000, other, 1'001, 20'000);
  CHECK(f.holds());
  SECTION("past the end of the file") {
    CHECK(must(f.file->data().copy_from(source->data(), {0, 150'000, 1'000})) == 1'000);
    f.content.resize(150'000);
    f.content += other.substr(0, 1'000);
    CHECK(f.holds());
  }
  SECTION("past the end of the source") {
    CHECK(must(f.file->data().copy_from(source->data(), {49'999, 0, 1'000})) == 1);
    f.content[0] = other.back();
    CHECK(must(f.file->data().copy_from(source->data(), {50'000, 0, 1'000})) == 0);
    CHECK(f.holds());
  }
}

TEST_CASE("change: a copy within one file", "[store][change]") {
  CachedFileFixture f(100'000);
  CHECK(must(f.file->data().copy_from(f.file->data(), {10, 60'000, 30'000})) == 30'000);
  f.content.replace(60'000, 30'000, f.content, 10, 30'000);
  CHECK(f.holds());
  CHECK(outcome(f.file->data().copy_from(f.file->data(), {0, 10, 30'000})) == "EINVAL");  // overlapping
  CHECK(f.holds());
}

TEST_CASE("change: two files copied crosswise at once do not wait for each other for ever", "[store][change]") {
  StoreFixture store;
  write_file(store / "a", letters(200'000, 'a'));
  write_file(store / "b", letters(200'000, 'A'));
  const auto a = must(store->open_file(kRootUser, store.number("a"), O_RDWR));
  const auto b = must(store->open_file(kRootUser, store.number("b"), O_RDWR));
  auto copy = [](OpenFile& to, OpenFile& from) {
    for (int i = 0; i < 200; ++i) must(to.data().copy_from(from.data(), {0, 100'000, 100'000}));
  };
  std::thread other([&] { copy(*a, *b); });
  copy(*b, *a);
  other.join();
  CHECK(read_file(store / "a") == letters(100'000, 'a') + letters(100'000, 'A'));
  CHECK(read_file(store / "b") == letters(100'000, 'A') + letters(100'000, 'a'));
}

TEST_CASE("change: holes are found in sparse files of terabytes", "[store][change]") {
  StoreFixture store;
  constexpr uint64_t kSize = uint64_t{8} << 40;
  const auto created = must(store->create(kRootUser, kRootInode, "sparse", 0644, O_RDWR));
  FileData& data = created.file->data();
  must(data.truncate(kSize, SetIdBits::clear));
  CHECK(outcome(data.seek(0, SEEK_DATA)) == "ENXIO");
  CHECK(must(data.seek(0, SEEK_HOLE)) == 0);
  CHECK(must(write_all(*created.file, kSize - 5, "end")) == 3);
  CHECK(must(data.seek(0, SEEK_DATA)) == kSize - 4096);
  CHECK(must(data.seek(kSize - 4096, SEEK_HOLE)) == kSize);
  CHECK(outcome(data.seek(kSize, SEEK_DATA)) == "ENXIO");
  CHECK(outcome(data.seek(0, SEEK_END)) == "EINVAL");
  CHECK(must(read_all(*created.file, kSize / 2, 10)) == std::string(10, '\0'));
  CHECK(must(read_all(*created.file, kSize - 7, 100)) == std::string("\0\0end\0\0", 7));
}

namespace {

bool set_id_bits_go_and_stay() {
  StoreFixture store;
  write_file(store / "f", letters(50'000, 'a'));
  const auto file = must(store->open_file(kRootUser, store.number("f"), O_RDWR));
  FileData& data = file->data();
  auto write = [&](uint64_t offset, size_t size, SetIdBits set_id) {
    std::promise<Result<size_t>> promise;
    data.write(offset, letters(size, 'A'), {.set_id = set_id}, [&](Result<size_t> n) { promise.set_value(n); });
    must(promise.get_future().get());
  };
  const std::function<void(SetIdBits)> changes[] = {[&](SetIdBits bits) { write(17, 3, bits); },
                                                    [&](SetIdBits bits) { write(8'192, 8'192, bits); },
                                                    [&](SetIdBits bits) { must(data.truncate(40'000, bits)); },
                                                    [&](SetIdBits bits) {
                                                      must(data.allocate({FALLOC_FL_KEEP_SIZE, 0, 90'000, bits}));
                                                    },
                                                    [&](SetIdBits bits) {
                                                      must(data.copy_from(data, {0, 20'000, 5'000, bits}));
                                                    }};
  for (const auto& change : changes) {
    for (const SetIdBits bits : {SetIdBits::keep, SetIdBits::clear}) {
      ::chmod((store / "f").c_str(), 06755);
      change(bits);
      EXPECT_OR_RETURN((stat_of(store / "f").st_mode & 07777) == (bits == SetIdBits::keep ? 06755u : 0755u));
    }
  }
  // Putting the bits back was a change of our own.
  ::chmod((store / "f").c_str(), 06755);
  must(data.revalidate());
  write(0, 100, SetIdBits::keep);
  EXPECT_OR_RETURN(!must(data.revalidate()));
  return true;
}

}  // namespace

TEST_CASE("change: set-id bits go with a change by users and stay with root's", "[store][change][identity]") {
  if (::geteuid() != 0) return;
  SECTION("on a thread that has no CAP_FSETID, as all of the gateway's") {
    CHECK(holds_in_child([] {
      drop_capabilities();
      bool well = false;
      std::thread([&well] { well = set_id_bits_go_and_stay(); }).join();
      return well;
    }));
  }
  SECTION("where the kernel leaves them to us, as a server does to which we are root") {
    CHECK(set_id_bits_go_and_stay());
  }
}

}  // namespace sluice
