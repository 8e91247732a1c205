// A directory that goes with the test, with all that is in it. In $TMPDIR or /var/tmp: a disk's file system, not a
// tmpfs, and on a way that everybody may go. Open to everybody.
#pragma once

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/support/catch.h"

namespace sluice {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* parent = std::getenv("TMPDIR");
    std::string path = std::string(parent != nullptr ? parent : "/var/tmp") + "/sluice-test-XXXXXX";
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    ::chmod(path.c_str(), 0777);
    path_ = std::filesystem::canonical(path);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace sluice
