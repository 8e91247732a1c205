#include "fs/fuse/mount_point.h"

#include "tests/support/catch.h"

using namespace sluice;

TEST_CASE("mount point: a line of mountinfo", "[fuse][mount]") {
  const auto entries = parse_mountinfo("42 27 0:39 / /mnt/archive rw,nosuid - fuse.sluice /srv/archive rw,user_id=0\n");
  REQUIRE(entries.size() == 1);
  CHECK(entries[0] == MountEntry{42, "0:39", "/mnt/archive", "fuse.sluice"});
}

TEST_CASE("mount point: optional fields before the dash are skipped, however many", "[fuse][mount]") {
  const auto entries = parse_mountinfo(
      "36 35 98:0 / /a rw shared:1 master:2 propagate_from:3 - ext3 /dev/root rw\n"
      "37 35 98:0 / /b rw - ext4 /dev/root rw");
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].type == "ext3");
  CHECK(entries[1] == MountEntry{37, "98:0", "/b", "ext4"});
}

TEST_CASE("mount point: blanks, tabs, newlines and backslashes are unescaped", "[fuse][mount]") {
  const auto entries = parse_mountinfo("1 2 0:3 / /m\\040n\\011t\\012x\\134y rw - fuse.sluice x rw\n");
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].path == "/m n\tt\nx\\y");
}

TEST_CASE("mount point: a backslash that starts no escape stays", "[fuse][mount]") {
  const auto entries = parse_mountinfo("1 2 0:3 / /a\\0 rw - fuse.sluice x rw\n");
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].path == "/a\\0");
}

TEST_CASE("mount point: lines it cannot read are left out", "[fuse][mount]") {
  CHECK(parse_mountinfo("").empty());
  CHECK(parse_mountinfo("\n\nnonsense\n1 2 0:3 / /a rw\n").empty());
}

TEST_CASE("mount point: a path without a FUSE mount is not found", "[fuse][mount]") {
  CHECK(MountPoint::find("/").error() == Error{ENOENT});
  CHECK(MountPoint::find("/no/such/path").error() == Error{ENOENT});
}
