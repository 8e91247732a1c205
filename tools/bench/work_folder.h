// What benchmarks that work on files need: a folder that goes again, an end when somebody interrupts, aligned memory.
#pragma once

#include <signal.h>
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "tools/complaint.h"

namespace sluice {

// A folder of its own in $TMPDIR (default /var/tmp), removed with all that is in it.
class WorkFolder {
 public:
  static Checked<WorkFolder> make();
  WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder();

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit WorkFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// While it lives SIGINT and SIGTERM only set `interrupted()`, so that everything is cleaned up. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction int_ {
  }, term_{};
};

bool interrupted();

// Of whole pages, as direct I/O needs them.
struct AlignedBuffer {
  explicit AlignedBuffer(size_t size) : bytes(static_cast<char*>(::aligned_alloc(4096, size)), ::free) {}
  char* get() const { return bytes.get(); }
  std::unique_ptr<char, decltype(&::free)> bytes;
};

// The same for the same seed. `count` is a multiple of 8.
std::string random_bytes(size_t count, uint64_t seed);

}  // namespace sluice
