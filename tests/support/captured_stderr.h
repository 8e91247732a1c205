// What goes to standard error goes to a file instead, while this lives.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

#include "cache/unique_fd.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_file.h"

namespace sluice {

class CapturedStderr {
 public:
  CapturedStderr() {
    const UniqueFd file(::open(file_.path().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    REQUIRE(::dup2(file.get(), STDERR_FILENO) >= 0);
  }
  ~CapturedStderr() { ::dup2(terminal_.get(), STDERR_FILENO); }
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;

  std::string text() const {
    std::ifstream file(file_.path());
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  const TemporaryFile file_{""};
  const UniqueFd terminal_{::dup(STDERR_FILENO)};
};

}  // namespace sluice
