#include "tools/preflight.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

#include "cache/log.h"
#include "cache/unique_fd.h"
#include "tools/text_file.h"

namespace sluice {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

bool is_empty_directory(const std::string& path) {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (!directory) return true;  // may not be looked into: mounting will tell
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return false;
  }
  return true;
}

bool is_same_directory(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool has_line(std::string_view text, std::string_view wanted) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (text.substr(0, end) == wanted) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return false;
}

bool users_may_allow_other() {
  const Result<std::string> text = read_text_file("/etc/fuse.conf");
  return text && has_line(*text, "user_allow_other");
}

Checked<> check_fuse_as_root() {
  const UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (device) return {};
  switch (errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return complain(
          "/dev/fuse is missing; load it with 'modprobe fuse' (in a container: --device /dev/fuse), or export "
          "without a mount: 'sluice serve'");
    default:
      return complain(
          "/dev/fuse: {}; in a container give it --device /dev/fuse --cap-add SYS_ADMIN, or export without a "
          "mount: 'sluice serve'",
          error_text(errno));
  }
}

Checked<> check_fuse_as_user(const Options& options) {
  if (::access("/dev/fuse", F_OK) != 0) {
    return complain("/dev/fuse is missing; ask for 'modprobe fuse', or export without a mount: 'sluice serve'");
  }
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    return complain(
        "/dev/fuse: {}; ask for 'chmod 666 /dev/fuse' (its usual mode), or export without a mount: 'sluice serve'",
        error_text(errno));
  }
  if (::access("/usr/bin/fusermount3", X_OK) != 0 && ::access("/bin/fusermount3", X_OK) != 0) {
    return complain("no permission to mount without fusermount3; install the package fuse3, or run as root");
  }
  if (::access("/etc/mtab", F_OK) != 0) {
    return complain(
        "fusermount3 unmounts only what /etc/mtab shows, and it is missing; as root: "
        "ln -s /proc/self/mounts /etc/mtab");
  }
  // fusermount3 would drop them without a word.
  if (options.suid || options.dev) return complain("--{}: only root may; leave it out", options.suid ? "suid" : "dev");
  if (options.allow_other.value_or(false) && !users_may_allow_other()) {
    return complain(
        "--allow-other: only root may; add the line 'user_allow_other' to /etc/fuse.conf to permit it to all");
  }
  return {};
}

HttpUser own_user() {
  HttpUser user{::geteuid(), ::getegid(), {}};
  const int count = ::getgroups(0, nullptr);
  user.groups.resize(static_cast<size_t>(std::max(count, 0)));
  ::getgroups(static_cast<int>(user.groups.size()), user.groups.data());
  return user;
}

Checked<> check_own_file(std::string_view option, const std::string& path, const std::string& mountpoint) {
  if (path.empty()) return {};
  const std::string parent = path.substr(0, std::max<size_t>(path.rfind('/'), 1));
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(parent.c_str(), nullptr), ::free);
  if (!real) {
    return complain("{}: cannot write '{}': {}; give a file in a directory that you may write", option, path,
                    error_text(errno));
  }
  const std::string directory = std::string(real.get()) + "/";
  if (mountpoint.empty() || !directory.starts_with(mountpoint + "/")) return {};
  return complain("{}: '{}' is below MOUNTPOINT, where the mount would hide it; give a file elsewhere", option, path);
}

}  // namespace

Checked<std::string> check_source(const std::string& path) {
  struct stat attributes {};
  if (::stat(path.c_str(), &attributes) != 0) {
    if (errno == ENOENT) return complain("SOURCE '{}' does not exist; give the directory that holds the files", path);
    return complain("SOURCE '{}': {}", path, error_text(errno));
  }
  if (!S_ISDIR(attributes.st_mode)) return complain("SOURCE '{}' is not a directory", path);
  if (::access(path.c_str(), R_OK | X_OK) != 0) {
    return complain("SOURCE '{}': {}; run as a user who may read it", path, error_text(errno));
  }
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
  if (!real) return complain("SOURCE '{}': {}", path, error_text(errno));
  return std::string(real.get());
}

Checked<std::string> check_mountpoint(const std::string& path, const std::string& source,
                                      const std::vector<MountEntry>& mounts) {
  const std::optional<std::string> real = mountpoint_path(path, mounts);
  const auto missing = [&] {
    return complain("MOUNTPOINT '{}' does not exist; make it with 'mkdir -p {}'", path, path);
  };
  if (!real) return missing();
  const MountEntry* mount = find_mount(mounts, *real);
  if (mount != nullptr && is_sluice(*mount)) {
    return complain("MOUNTPOINT '{}' is already mounted; 'sluice umount {}' ends that", path, *real);
  }
  if (mount != nullptr && *real != source) {
    return complain("MOUNTPOINT '{}' is already a mount ({}); unmount it or choose another directory", path,
                    mount->type);
  }

  struct stat attributes {};
  struct stat source_attributes {};
  if (::stat(real->c_str(), &attributes) != 0) {
    if (errno == ENOENT) return missing();
    return complain("MOUNTPOINT '{}': {}", path, error_text(errno));
  }
  if (!S_ISDIR(attributes.st_mode)) return complain("MOUNTPOINT '{}' is not a directory", path);
  const bool is_source =
      ::stat(source.c_str(), &source_attributes) == 0 && is_same_directory(attributes, source_attributes);
  if (!is_source && !is_empty_directory(*real)) {
    return complain("MOUNTPOINT '{}' is not empty; the mount would hide its files, choose an empty directory", path);
  }
  if (::access(real->c_str(), W_OK) != 0 && ::geteuid() != 0) {
    return complain("MOUNTPOINT '{}': {}; choose a directory of your own", path, error_text(errno));
  }
  return *real;
}

Checked<> check_fuse(const Options& options) {
  return ::geteuid() == 0 ? check_fuse_as_root() : check_fuse_as_user(options);
}

Checked<> check_own_files(const Options& options, const std::string& mountpoint) {
  TRY(check_own_file("--trace-out", options.trace_out, mountpoint));
  if (options.access_log != "-") TRY(check_own_file("--access-log", options.access_log, mountpoint));
  return check_own_file("--warm-restart", options.warm_restart, mountpoint);
}

namespace {

uint64_t machine_memory_bytes() {
  struct sysinfo info {};
  return ::sysinfo(&info) == 0 ? uint64_t{info.totalram} * info.mem_unit : 0;
}

bool address_space_is_free() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY) return false;
  const Result<std::string> overcommit = read_text_file("/proc/sys/vm/overcommit_memory");
  return overcommit && !overcommit->starts_with('2');
}

}  // namespace

uint64_t cache_size_max() {
  return address_space_is_free() ? machine_memory_bytes() : 0;
}

Checked<> check_dirty_max(const Options& options) {
  const uint64_t half = options.cache_size_bytes / 2;
  if (options.dirty_max_bytes.value_or(0) <= half) return {};
  return complain("--dirty-max: {} is more than half of --cache-size, {}; choose less",
                  format_size(*options.dirty_max_bytes), format_size(half));
}

Checked<> check_memory(uint64_t cache_size_bytes) {
  const uint64_t memory_bytes = machine_memory_bytes();
  if (memory_bytes == 0 || cache_size_bytes <= memory_bytes) return {};
  return complain("--cache-size: {} is more than this machine's memory of {}; choose less",
                  format_size(cache_size_bytes), format_size_rounded(memory_bytes));
}

Checked<HttpUser> check_http_user(const std::optional<std::string>& name) {
  const bool is_root = ::geteuid() == 0;
  if (!name && !is_root) return own_user();
  const std::string wanted = name.value_or("nobody");
  const passwd* entry = ::getpwnam(wanted.c_str());
  if (entry == nullptr) return complain("--http-user: there is no user '{}'; name one of 'getent passwd'", wanted);
  if (entry->pw_uid == 0) {
    return complain("--http-user: '{}' is root, and HTTP must not read as root; name another user", wanted);
  }
  if (!is_root && entry->pw_uid != ::geteuid()) {
    return complain("--http-user: only root may read files as '{}'; leave it out to read them as yourself", wanted);
  }
  HttpUser user{entry->pw_uid, entry->pw_gid, {}};
  int count = NGROUPS_MAX;
  user.groups.resize(NGROUPS_MAX);
  ::getgrouplist(wanted.c_str(), user.gid, user.groups.data(), &count);
  user.groups.resize(static_cast<size_t>(std::max(count, 0)));
  return user;
}

}  // namespace sluice
