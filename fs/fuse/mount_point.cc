#include "fs/fuse/mount_point.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

#include "cache/log.h"
#include "cache/unique_fd.h"

extern char** environ;

namespace sluice {
namespace {

std::string_view take_word(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

// The kernel writes blanks, newlines and backslashes as three octal digits: "\040".
std::string unescape(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(&text[i + 1], &text[i + 1] + 3, code, 8).ptr == &text[i + 1] + 3) {
      result += static_cast<char>(code);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::vector<MountEntry> read_mountinfo() {
  std::ifstream file("/proc/self/mountinfo");
  return parse_mountinfo(std::string(std::istreambuf_iterator<char>(file), {}));
}

// For users: fusermount3 is setuid and unmounts what the user has mounted.
Result<void> run_fusermount(const std::string& path, bool lazily) {
  std::vector<const char*> arguments = {"fusermount3", "-u", "-q"};
  if (lazily) arguments.push_back("-z");
  arguments.insert(arguments.end(), {"--", path.c_str(), nullptr});
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, "fusermount3", nullptr, nullptr, const_cast<char**>(arguments.data()), environ);
  if (error != 0) return fail(error);

  int status = 0;
  while (::waitpid(child, &status, 0) == -1) {
    if (errno != EINTR) return fail(errno);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(lazily ? EPERM : EBUSY);  // it does not tell
}

}  // namespace

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> entries;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));

    MountEntry entry;
    const std::string_view id = take_word(line);
    if (std::from_chars(id.data(), id.data() + id.size(), entry.id).ec != std::errc{}) continue;
    take_word(line);  // parent
    entry.device = take_word(line);
    take_word(line);  // root
    entry.path = unescape(take_word(line));
    while (!line.empty() && take_word(line) != "-") {
    }
    entry.type = take_word(line);
    if (entry.type.empty()) continue;
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<MountPoint> MountPoint::find(const std::string& path) {
  const auto entries = read_mountinfo();
  const auto last =
      std::find_if(entries.rbegin(), entries.rend(), [&](const MountEntry& entry) { return entry.path == path; });
  if (last == entries.rend() || !last->type.starts_with("fuse")) return fail(ENOENT);
  return MountPoint(*last);
}

Result<void> MountPoint::unmount(Manner manner) const {
  const bool lazily = manner != Manner::if_unused;
  const auto entries = read_mountinfo();
  // By its number, because somebody may have moved it.
  const auto ours = std::find_if(entries.begin(), entries.end(), [&](const MountEntry& entry) {
    return entry.id == entry_.id && entry.device == entry_.device;
  });
  if (ours == entries.end()) return {};
  const bool is_covered =
      std::any_of(ours + 1, entries.end(), [&](const MountEntry& entry) { return entry.path == ours->path; });
  if (is_covered) {
    log(LogLevel::warning, "{}: another file system is mounted over it", ours->path);
    return fail(EBUSY);
  }
  const int flags = (lazily ? MNT_DETACH : 0) | (manner == Manner::by_force ? MNT_FORCE : 0);
  if (::umount2(ours->path.c_str(), UMOUNT_NOFOLLOW | flags) == 0) return {};
  switch (errno) {
    case EPERM: return run_fusermount(ours->path, lazily);
    case EINVAL: return {};  // gone between the look and the call
    default: return fail(errno);
  }
}

Result<void> MountPoint::abort_connection() const {
  const std::string connection = entry_.device.substr(entry_.device.find(':') + 1);
  const UniqueFd fd(::open(fmt::format("/sys/fs/fuse/connections/{}/abort", connection).c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), "1", 1) != 1) return fail(errno);
  return {};
}

}  // namespace sluice
