// A FUSE daemon as a child process, mounted while this lives.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tools/complaint.h"

namespace sluice {

class FuseDaemon {
 public:
  // `run` is the child: returns its exit status, or does not return. The mountpoint is made.
  static Checked<FuseDaemon> start(std::string mountpoint, const std::function<int()>& run);
  FuseDaemon(FuseDaemon&& other) noexcept : mountpoint_(std::move(other.mountpoint_)), pid_(other.pid_) {
    other.pid_ = 0;
  }
  FuseDaemon& operator=(FuseDaemon&&) = delete;
  ~FuseDaemon();

  const std::string& mountpoint() const { return mountpoint_; }
  // Moves all its threads; those that it starts later as well.
  void run_on(const std::vector<int>& processors) const;
  double cpu_seconds() const;

 private:
  FuseDaemon(std::string mountpoint, pid_t pid) : mountpoint_(std::move(mountpoint)), pid_(pid) {}

  std::string mountpoint_;
  pid_t pid_;
};

// Of this thread.
void run_on(const std::vector<int>& processors);
// Those that this process may use, as it began.
const std::vector<int>& usable_processors();

}  // namespace sluice
