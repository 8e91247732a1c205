#include "tools/mountinfo.h"

#include <filesystem>

#include "tests/support/catch.h"
#include "tests/support/temporary_directory.h"

namespace sluice {
namespace {

constexpr std::string_view kMountinfo =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "30 22 0:40 / /mnt/a\\040b rw,nosuid,nodev - fuse.sluice /srv/a\\040b rw,user_id=1000,group_id=1000,allow_other\n"
    "31 22 0:41 / /mnt/c rw - ext4 /dev/sdb1 rw\n"
    "32 31 0:42 / /mnt/c rw - fuse.sluice /srv/c rw,user_id=0,group_id=0\n";

TEST_CASE("mountinfo: the topmost mount at a path, names unescaped", "[tools][mountinfo]") {
  const std::vector<MountEntry> mounts = parse_mountinfo(kMountinfo);
  REQUIRE(find_mount(mounts, "/mnt/a b") != nullptr);
  CHECK(is_sluice(*find_mount(mounts, "/mnt/a b")));
  REQUIRE(find_mount(mounts, "/mnt/c") != nullptr);
  CHECK(find_mount(mounts, "/mnt/c")->id == 32);
  CHECK(find_mount(mounts, "/mnt") == nullptr);
  CHECK_FALSE(is_sluice(*find_mount(mounts, "/")));
}

TEST_CASE("mountinfo: a FUSE mount has an owner", "[tools][mountinfo]") {
  const std::vector<MountEntry> mounts = parse_mountinfo(kMountinfo);
  CHECK(mount_owner(kMountinfo, *find_mount(mounts, "/mnt/a b")) == 1000);
  CHECK(mount_owner(kMountinfo, *find_mount(mounts, "/mnt/c")) == 0);
  CHECK(mount_owner(kMountinfo, *find_mount(mounts, "/")) == 0);
}

TEST_CASE("mountinfo: a mountpoint is found however it is written", "[tools][mountinfo]") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "m");
  std::filesystem::create_symlink(directory / "m", directory / "link");
  std::filesystem::create_symlink("link", directory / "relative link");
  std::filesystem::create_symlink(directory / "", directory / "up");
  for (const char* written : {"m", "m/", "m//", "./m", "x/../m", "up/m", "link", "relative link", "up/up/link/"}) {
    INFO(written);
    CHECK(mountpoint_path(directory / written, {}) == directory / "m");
  }
  CHECK(mountpoint_path("/", {}) == "/");
  CHECK(mountpoint_path(directory / "absent", {}) == directory / "absent");
  CHECK_FALSE(mountpoint_path(directory / "absent/m", {}));
  CHECK_FALSE(mountpoint_path("", {}));
}

TEST_CASE("mountinfo: a mountpoint's own name is not followed when something is mounted there", "[tools][mountinfo]") {
  const TemporaryDirectory directory;
  std::filesystem::create_symlink("/elsewhere", directory / "m");
  const std::vector<MountEntry> mounts = {{1, "0:40", directory / "m", "fuse.sluice"}};
  CHECK(mountpoint_path(directory / "m", mounts) == directory / "m");
  CHECK(mountpoint_path(directory / "m", {}) == "/elsewhere");
}

TEST_CASE("mountinfo: links in a circle lead nowhere", "[tools][mountinfo]") {
  const TemporaryDirectory directory;
  std::filesystem::create_symlink("b", directory / "a");
  std::filesystem::create_symlink("a", directory / "b");
  CHECK_FALSE(mountpoint_path(directory / "a", {}));
}

}  // namespace
}  // namespace sluice
