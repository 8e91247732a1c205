#include "tools/state_dir.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "fs/store/dirty_record.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_directory.h"

namespace sluice {
namespace {

std::string only_file(const std::string& directory) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) found.push_back(entry.path());
  REQUIRE(found.size() == 1);
  return found.front();
}

TEST_CASE("state: a key is made once for each source, for nobody else to read, and stays", "[tools][state]") {
  const TemporaryDirectory directory;
  const std::string state = directory.path() + "/a/b";
  const auto first = load_nfs_key(state, "/srv/archive");
  REQUIRE(first);
  struct stat attributes {};
  REQUIRE(::stat(only_file(state).c_str(), &attributes) == 0);
  CHECK((attributes.st_mode & 0777) == 0600);
  const auto again = load_nfs_key(state, "/srv/archive");
  REQUIRE(again);
  CHECK(again->secret == first->secret);
  CHECK(again->export_id == first->export_id);
  const auto other = load_nfs_key(state, "/srv/films\nsecret = 00");
  REQUIRE(other);
  CHECK(other->secret != first->secret);
  CHECK(load_nfs_key(state, "/srv/films\nsecret = 00")->secret == other->secret);
}

TEST_CASE("state: nobody else may change what is in a directory that was made for it", "[tools][state]") {
  const TemporaryDirectory directory;
  const auto mode_of = [&](const std::string& name) {
    struct stat attributes {};
    REQUIRE(::stat((directory.path() + name).c_str(), &attributes) == 0);
    return attributes.st_mode & 0777;
  };
  const mode_t mask = ::umask(0);  // as in a gateway
  for (const std::string name : {"/a/b", "/c/d/"}) REQUIRE(load_nfs_key(directory.path() + name, "/srv/archive"));
  REQUIRE(DirtyRecord::open(directory.path() + "/e/f/dirty"));
  ::umask(mask);
  for (const std::string name : {"/a", "/c", "/e"}) CHECK(mode_of(name) == 0755);
  for (const std::string name : {"/a/b", "/c/d", "/e/f"}) CHECK(mode_of(name) == 0700);
  REQUIRE(::mkdir((directory.path() + "/given").c_str(), 0750) == 0);
  REQUIRE(load_nfs_key(directory.path() + "/given", "/srv/archive"));
  CHECK(mode_of("/given") == 0750);
}

TEST_CASE("state: a key that cannot be read is a complaint, and is left alone", "[tools][state]") {
  const TemporaryDirectory directory;
  REQUIRE(load_nfs_key(directory.path(), "/srv"));
  const std::string path = only_file(directory.path());
  std::ofstream(path) << "something else\n";
  const auto key = load_nfs_key(directory.path(), "/srv");
  REQUIRE_FALSE(key);
  CHECK(key.error().line.find(path) != std::string::npos);
  CHECK(std::filesystem::file_size(path) == 15);
  const auto nowhere = load_nfs_key(path + "/below", "/srv");
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().line.starts_with("--state-dir: cannot make"));
}

}  // namespace
}  // namespace sluice
