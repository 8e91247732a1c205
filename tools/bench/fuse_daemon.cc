#include "tools/bench/fuse_daemon.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cache/log.h"
#include "tools/mountinfo.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr auto kStartPatience = 20s;
constexpr auto kEndPatience = 5s;
constexpr auto kLookPeriod = 5ms;

bool has_ended(pid_t pid) {
  return ::waitpid(pid, nullptr, WNOHANG) == pid;
}

void place(pid_t thread, const std::vector<int>& processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int processor : processors) CPU_SET(processor, &set);
  ::sched_setaffinity(thread, sizeof(set), &set);
}

}  // namespace

Checked<FuseDaemon> FuseDaemon::start(std::string mountpoint, const std::function<int()>& run) {
  if (::mkdir(mountpoint.c_str(), 0700) != 0) return complain("{}: {}", mountpoint, error_text(errno));
  const pid_t pid = ::fork();
  if (pid == -1) return complain("fork: {}", error_text(errno));
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::_exit(run());
  }
  FuseDaemon daemon(std::move(mountpoint), pid);
  const auto deadline = std::chrono::steady_clock::now() + kStartPatience;
  while (find_mount(read_mounts(), daemon.mountpoint_) == nullptr) {
    const bool ended = has_ended(pid);
    if (ended) daemon.pid_ = 0;
    if (ended || std::chrono::steady_clock::now() > deadline)
      return complain("{}: is not mounted; can this user mount FUSE file systems here?", daemon.mountpoint_);
    std::this_thread::sleep_for(kLookPeriod);
  }
  return daemon;
}

FuseDaemon::~FuseDaemon() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + kEndPatience;
  while (!has_ended(pid_)) {
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      break;
    }
    std::this_thread::sleep_for(kLookPeriod);
  }
  if (find_mount(read_mounts(), mountpoint_) != nullptr) ::umount2(mountpoint_.c_str(), MNT_DETACH);
}

void FuseDaemon::run_on(const std::vector<int>& processors) const {
  const std::string threads = "/proc/" + std::to_string(pid_) + "/task";
  for (const auto& thread : std::filesystem::directory_iterator(threads))
    place(std::stoi(thread.path().filename()), processors);
}

double FuseDaemon::cpu_seconds() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  // Fields are counted from behind the name, which may hold anything; the 12th and 13th are user and system ticks.
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; i++) fields >> skipped;
  uint64_t user = 0, system = 0;
  fields >> user >> system;
  return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

void run_on(const std::vector<int>& processors) {
  place(0, processors);
}

const std::vector<int>& usable_processors() {
  static const std::vector<int> all = [] {
    std::vector<int> found;
    cpu_set_t set;
    CPU_ZERO(&set);
    ::sched_getaffinity(0, sizeof(set), &set);
    for (int processor = 0; processor < CPU_SETSIZE; processor++) {
      if (CPU_ISSET(processor, &set)) found.push_back(processor);
    }
    return found;
  }();
  return all;
}

}  // namespace sluice
