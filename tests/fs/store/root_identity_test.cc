#include "fs/store/root_identity.h"

#include "tests/fs/store/store_fixture.h"

using namespace sluice;

TEST_CASE("root identity: a directory is itself, another one is not", "[store][root]") {
  const TemporaryDirectory one, other;
  // A process whose root is no mount (chroot) is not told of the mount that it is in.
  if (RootIdentity::at(one.path()) == Result<RootIdentity>(fail(ENOENT))) return;
  const RootIdentity identity = must(RootIdentity::at(one.path()));
  CHECK(identity == must(RootIdentity::at(one.path())));
  CHECK(identity != must(RootIdentity::at(other.path())));
  CHECK_FALSE(identity.type.empty());
  CHECK(must(RootIdentity::at("/proc")).type == "proc");
}

TEST_CASE("root identity: what cannot be looked at has none", "[store][root]") {
  const TemporaryDirectory directory;
  CHECK(outcome(RootIdentity::at(directory.path() + "/nothing")) == "ENOENT");
  write_file(directory.path() + "/file");
  CHECK(outcome(RootIdentity::at(directory.path() + "/file")) == "ENOTDIR");
}

TEST_CASE("descriptor cache: what is outdated is not given any more, and is replaced under its pins", "[store][root]") {
  const auto fd = [] { return std::make_shared<const UniqueFd>(::open("/", O_PATH | O_CLOEXEC)); };
  DescriptorCache cache(10);
  const PathFd pinned = fd();
  const PathFd idle = fd();
  cache.pin(1, pinned);
  cache.put(2, idle);
  cache.outdate();
  CHECK(cache.get(1) == nullptr);
  CHECK(cache.get(2) == nullptr);
  CHECK(pinned.use_count() == 1);
  CHECK(idle.use_count() == 1);
  const PathFd fresh = fd();
  cache.put(1, fresh);
  CHECK(cache.get(1) == fresh);
  CHECK(cache.pinned() == 1);
  cache.unpin(1);
  CHECK(cache.get(1) == fresh);
}
