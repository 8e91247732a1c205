// Unmounting is asking the gateway: it unmounts, drains, flushes and ends, and we wait for its process and its mount to
// be gone. A mount in use stays, as with umount(8), unless asked lazily. Only when nobody is left to ask is the dead
// mount detached from here. The mount itself is never touched: its gateway may hang.
#include "tools/command_umount.h"

#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>

#include "cache/clock.h"
#include "cache/log.h"
#include "cache/result.h"
#include "cache/unique_fd.h"
#include "tools/mountinfo.h"
#include "tools/running.h"
#include "tools/status.h"

extern char** environ;

namespace sluice {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPause{20};
constexpr std::chrono::milliseconds kLook{500};

bool is_mounted(const std::string& path, uint64_t id) {
  const std::vector<MountEntry> mounts = read_mounts();
  return std::any_of(mounts.begin(), mounts.end(),
                     [&](const MountEntry& mount) { return mount.path == path && mount.id == id; });
}

// Holds the process by a descriptor, so that a new process with its number is not taken for it.
class ProcessWatch {
 public:
  explicit ProcessWatch(pid_t pid) : fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  bool ended_within(std::chrono::milliseconds time) const {
    if (!fd_) return true;  // gone before we looked
    pollfd waited{fd_.get(), POLLIN, 0};
    return ::poll(&waited, 1, static_cast<int>(time.count())) == 1;
  }

 private:
  const UniqueFd fd_;
};

// What the gateway says of itself while it ends.
class Ending {
 public:
  explicit Ending(const std::string& status) { hear(status); }
  void hear(const std::string& status) {
    const std::optional<GatewayIdentity> now = parse_identity(status);
    if (!now) return;
    hangs_ = now->backing_hangs;
    if (std::exchange(written_, now->delayed_bytes_written) != written_) begin_ = system_clock().monotonic();
  }
  bool hangs() const { return hangs_; }
  // It has had its time since it last wrote something that was delayed: a slow disk may take minutes for all of that.
  bool is_overdue() const { return system_clock().monotonic() > begin_ + kPatience; }

 private:
  bool hangs_ = false;
  uint64_t written_ = 0;
  std::chrono::nanoseconds begin_ = system_clock().monotonic();
};

// How a gateway that has ended says that it went.
Checked<> hear_out(EndRequest& request, const MountEntry& mount) {
  const auto complaints = request.last_words();
  if (!complaints) {
    return complain("'{}' is unmounted, but its gateway ended before all was written: see its log", mount.path);
  }
  if (complaints->empty()) return {};
  for (const std::string& line : *complaints) tell({line});
  return complain("'{}' is unmounted, but not everything that was written could be kept", mount.path);
}

Checked<> stop_gateway(const RunningGateway& gateway, const MountEntry& mount, bool lazily) {
  const ProcessWatch process(gateway.pid);
  EndRequest request(gateway.socket_path, lazily ? "stop" : "unmount");
  if (request.is_busy()) {
    return complain("'{}' is in use: 'fuser -vm {}' shows by whom; 'sluice umount --lazy {}' detaches it even so",
                    mount.path, mount.path, mount.path);
  }
  Ending ending(gateway.status);
  bool ended = process.ended_within(kLook);
  while (!ended && !ending.is_overdue()) {
    const ControlAnswer now = ask_gateway(gateway.socket_path, "status");
    if (now.outcome == ControlAnswer::Outcome::answered) ending.hear(now.text);
    ended = process.ended_within(kLook);
    if (ending.hangs() && !is_mounted(mount.path, mount.id) && now.outcome != ControlAnswer::Outcome::answered) break;
  }
  if (ending.hangs() && !is_mounted(mount.path, mount.id)) {
    return complain(
        "'{}' is unmounted, but its backing does not answer: what was being changed there may be changed or not{}",
        mount.path, ended ? "" : fmt::format("; the gateway (pid {}) ends when it answers", gateway.pid));
  }
  while (ended && is_mounted(mount.path, mount.id)) {
    if (ending.is_overdue()) return complain("'{}' is still mounted though its gateway ended", mount.path);
    std::this_thread::sleep_for(kPause);
  }
  if (ended) return hear_out(request, mount);
  return complain(
      "the gateway of '{}' (pid {}) did not end within {} s; it may wait for its disk: see 'sluice status {}', or "
      "'kill -9 {}' and try again",
      mount.path, gateway.pid, kPatience.count(), mount.path, gateway.pid);
}

Checked<> detach_as_user(const std::string& path) {
  const std::array<const char*, 6> arguments = {"fusermount3", "-u", "-z", "--", path.c_str(), nullptr};
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, arguments[0], nullptr, nullptr, const_cast<char**>(arguments.data()), environ);
  if (error != 0) return complain("cannot run fusermount3: {}; install the package fuse3", error_text(error));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return complain("'{}': fusermount3 could not unmount it; try again as root", path);
}

// The gateway was killed. Files that are still open keep their errors (ENOTCONN), new opens see the directory below.
Checked<> detach(const MountEntry& mount) {
  if (::umount2(mount.path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
  if (errno == EPERM) return detach_as_user(mount.path);
  return complain("'{}': {}", mount.path, error_text(errno));
}

Checked<MountEntry> find_fuse_mount(const std::string& mountpoint) {
  const std::vector<MountEntry> mounts = read_mounts();
  const std::optional<std::string> path = mountpoint_path(mountpoint, mounts);
  const MountEntry* mount = path ? find_mount(mounts, *path) : nullptr;
  if (mount == nullptr) return complain("'{}' is not mounted; 'sluice status' shows what is", mountpoint);
  if (mount->type.starts_with("fuse.")) return *mount;
  return complain("'{}' is not a mount of sluice but of type {}; use umount(8)", mountpoint, mount->type);
}

Checked<> unmount(const std::string& mountpoint, bool lazily) {
  const MountEntry mount = TRY(find_fuse_mount(mountpoint));
  const std::vector<FoundGateway> found = find_gateways(control_user(mount_owner(mount)));
  for (const RunningGateway& gateway : running_gateways(found)) {
    if (gateway.mountpoint == mount.path) return stop_gateway(gateway, mount, lazily);
  }
  if (!is_sluice(mount)) {
    return complain("'{}' is not a mount of sluice but of type {}; use fusermount3 -u", mountpoint, mount.type);
  }
  for (const FoundGateway& gateway : found) {  // it may be the one
    if (gateway.answer.outcome == ControlAnswer::Outcome::forbidden) {
      return complain("'{}' was mounted by root; try again with sudo", mount.path);
    }
    if (gateway.answer.outcome == ControlAnswer::Outcome::silent) {
      return complain("a gateway (pid {}) does not answer, and '{}' may be its mount; 'kill -9 {}' and try again",
                      gateway.answer.pid, mount.path, gateway.answer.pid);
    }
  }
  return detach(mount);
}

}  // namespace

int run_umount(const CommandLine& line) {
  const Checked<> done = unmount(line.mountpoint, line.options.lazy);
  if (done) return EXIT_SUCCESS;
  tell(done.error());
  return EXIT_FAILURE;
}

}  // namespace sluice
