#include "fs/fuse/directory_reply.h"

#include <dirent.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#include <cstring>

#include "tests/support/catch.h"

using namespace sluice;

namespace {

using Format = DirectoryReply::Format;

struct Unpacked {
  std::string name;
  uint64_t ino;
  uint64_t next_offset;
  uint32_t type;
  uint64_t number;  // 0 for plain
  uint64_t size;
};

// Reads the reply as the kernel does (fs/fuse/readdir.c).
std::vector<Unpacked> unpack(std::string_view bytes, Format format) {
  std::vector<Unpacked> entries;
  size_t place = 0;
  while (place < bytes.size()) {
    fuse_entry_out found{};
    if (format == Format::plus) {
      std::memcpy(&found, &bytes[place], sizeof(found));
      place += sizeof(found);
    }
    fuse_dirent entry;
    std::memcpy(&entry, &bytes[place], FUSE_NAME_OFFSET);
    const std::string name(bytes.substr(place + FUSE_NAME_OFFSET, entry.namelen));
    entries.push_back({name, entry.ino, entry.off, entry.type, found.nodeid, found.attr.size});
    place += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
  }
  REQUIRE(place == bytes.size());
  return entries;
}

DirectoryEntry entry_of(std::string_view name, uint64_t next_offset, uint8_t type = DT_REG) {
  return {.name = name, .ino = 500 + next_offset, .type = type, .next_offset = next_offset};
}

}  // namespace

TEST_CASE("directory reply: names of every length come back as the kernel reads them", "[fuse][directory]") {
  const auto format = GENERATE(Format::plain, Format::plus);
  DirectoryReply reply(format, 1 << 20);
  for (uint64_t length = 1; length <= 255; ++length) {
    const std::string name(length, 'a');
    REQUIRE(reply.add(entry_of(name, length, length % 2 ? DT_REG : DT_DIR)));
  }
  const auto entries = unpack(reply.bytes(), format);
  REQUIRE(entries.size() == 255);
  for (uint64_t length = 1; length <= 255; ++length) {
    const Unpacked& entry = entries[length - 1];
    CHECK(entry.name == std::string(length, 'a'));
    CHECK(entry.ino == 500 + length);
    CHECK(entry.next_offset == length);
    CHECK(entry.type == (length % 2 ? DT_REG : DT_DIR));
    CHECK(entry.number == 0);
  }
}

TEST_CASE("directory reply: the size known before the lookup is the size it takes", "[fuse][directory]") {
  const std::string first = "a name", second = "another, longer name";
  const size_t needed = DirectoryReply::plus_size(first) + DirectoryReply::plus_size(second);
  DirectoryReply reply(Format::plus, needed);
  reply.add(NamedEntry(entry_of(first, 1)), {});
  reply.add(NamedEntry(entry_of(second, 2)), {});
  CHECK(reply.bytes().size() == needed);
}

TEST_CASE("directory reply: what does not fit changes nothing", "[fuse][directory]") {
  const auto format = GENERATE(Format::plain, Format::plus);
  DirectoryReply large(format, 4096);
  REQUIRE(large.add(entry_of("first", 1)));
  const size_t one = large.bytes().size();
  REQUIRE(large.add(entry_of("second name", 2)));
  const size_t both = large.bytes().size();
  for (size_t size = 0; size <= both; ++size) {
    INFO(size);
    DirectoryReply reply(format, size);
    CHECK(reply.add(entry_of("first", 1)) == (size >= one));
    CHECK(reply.add(entry_of("second name", 2)) == (size >= both || (size < one && size >= both - one)));
    static_cast<void>(unpack(reply.bytes(), format));
  }
}

TEST_CASE("directory reply: a looked-up entry carries its number and all attributes", "[fuse][directory]") {
  fuse_entry_param found{};
  found.ino = 42;
  found.attr.st_ino = 7;
  found.attr.st_mode = S_IFREG | 0644;
  found.attr.st_size = 12345;
  DirectoryReply reply(Format::plus, 4096);
  reply.add(NamedEntry(entry_of("file", 9)), found);
  REQUIRE(reply.add(entry_of(".", 10, DT_DIR)));
  const auto entries = unpack(reply.bytes(), Format::plus);
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].number == 42);
  CHECK(entries[0].ino == 7);
  CHECK(entries[0].size == 12345);
  CHECK(entries[0].type == DT_REG);
  CHECK(entries[1].number == 0);
}

TEST_CASE("directory reply: nothing added is the end of the directory", "[fuse][directory]") {
  CHECK(DirectoryReply(Format::plus, 4096).bytes().empty());
}
