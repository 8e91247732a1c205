#include "tools/bench/work_folder.h"

#include <errno.h>
#include <string.h>

#include <atomic>
#include <filesystem>
#include <random>

#include "cache/log.h"

namespace sluice {
namespace {

std::atomic<bool> interrupt_seen{false};

}  // namespace

Checked<WorkFolder> WorkFolder::make() {
  const char* parent = ::getenv("TMPDIR");
  std::string path = std::string(parent != nullptr ? parent : "/var/tmp") + "/sluice-bench-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr)
    return complain("{}: {}; set TMPDIR to a directory that you may write", path, error_text(errno));
  return WorkFolder(std::filesystem::canonical(path));
}

WorkFolder::~WorkFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

InterruptGuard::InterruptGuard() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupt_seen = true; };
  ::sigaction(SIGINT, &action, &int_);
  ::sigaction(SIGTERM, &action, &term_);
}

InterruptGuard::~InterruptGuard() {
  ::sigaction(SIGINT, &int_, nullptr);
  ::sigaction(SIGTERM, &term_, nullptr);
}

bool interrupted() {
  return interrupt_seen;
}

std::string random_bytes(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(count, '\0');
  for (size_t i = 0; i < count; i += sizeof(uint64_t)) {
    const uint64_t word = random();
    ::memcpy(bytes.data() + i, &word, sizeof(word));
  }
  return bytes;
}

}  // namespace sluice
