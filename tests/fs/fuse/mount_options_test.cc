#include "fs/fuse/mount_options.h"

#include "fs/fuse/libfuse.h"
#include "tests/support/catch.h"

using namespace sluice;

namespace {

// What libfuse reads out of the string.
std::vector<std::string> parse(const std::string& options) {
  std::vector<std::string> parsed;
  char* arguments[] = {const_cast<char*>("test"), const_cast<char*>("-o"), const_cast<char*>(options.c_str()), nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, arguments);
  const auto collect = [](void* data, const char* option, int, fuse_args*) {
    static_cast<std::vector<std::string>*>(data)->push_back(option);
    return 0;
  };
  REQUIRE(fuse_opt_parse(&args, &parsed, nullptr, collect) == 0);
  fuse_opt_free_args(&args);
  return parsed;
}

}  // namespace

TEST_CASE("mount options: the kernel always checks permissions", "[fuse][options]") {
  CHECK(mount_option_string({}) == "default_permissions,subtype=sluice");
}

TEST_CASE("mount options: commas and backslashes of the source survive libfuse's parser", "[fuse][options]") {
  FuseOptions options;
  options.fsname = "/srv/a,b\\c,\\054 d";
  CHECK(parse(mount_option_string(options)) ==
        std::vector<std::string>{"default_permissions", "subtype=sluice", "fsname=/srv/a,b\\c,\\054 d"});
}

TEST_CASE("mount options: a comma cannot smuggle in another option", "[fuse][options]") {
  FuseOptions options;
  options.fsname = "x,allow_other";
  options.extra = {"context=\"a,suid\""};
  CHECK(parse(mount_option_string(options)) == std::vector<std::string>{"default_permissions", "subtype=sluice",
                                                                        "fsname=x,allow_other", "context=\"a,suid\""});
}

TEST_CASE("mount options: extra options come last, so that they override", "[fuse][options]") {
  FuseOptions options;
  options.allow_other = true;
  options.read_only = true;
  options.auto_unmount = true;
  options.debug = true;
  options.extra = {"suid", "rw"};
  CHECK(mount_option_string(options) == "default_permissions,subtype=sluice,allow_other,ro,auto_unmount,debug,suid,rw");
}
