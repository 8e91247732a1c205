#include "fs/fuse/reply.h"

#include "tests/support/catch.h"

using namespace sluice;

namespace {

Entry entry_of(mode_t mode) {
  Entry entry{.number = 42, .attributes = {}};
  entry.attributes.st_ino = 7;
  entry.attributes.st_mode = mode;
  return entry;
}

}  // namespace

TEST_CASE("reply: an entry carries the store's number, the backing's inode and the timeouts", "[fuse][reply]") {
  FuseOptions options;
  options.attr_timeout = 3;
  options.entry_timeout = 4;
  const auto param = entry_param(options, entry_of(S_IFREG | 0644));
  CHECK(param.ino == 42);
  CHECK(param.generation == 0);
  CHECK(param.attr.st_ino == 7);
  CHECK(param.attr_timeout == 3);
  CHECK(param.entry_timeout == 4);
}

TEST_CASE("reply: attributes of set-id files are not cached, those of set-gid directories are", "[fuse][reply]") {
  const FuseOptions options;
  CHECK(entry_param(options, entry_of(S_IFREG | 04755)).attr_timeout == 0);
  CHECK(entry_param(options, entry_of(S_IFREG | 02755)).attr_timeout == 0);
  CHECK(entry_param(options, entry_of(S_IFDIR | 02755)).attr_timeout == options.attr_timeout);
}
