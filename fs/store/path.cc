#include "fs/store/path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace sluice {

Result<EntryName> EntryName::from(std::string_view name) {
  EntryName result;
  if (name.empty()) return fail(ENOENT);
  if (name.size() >= sizeof(result.text_)) return fail(ENAMETOOLONG);
  if (name.find('/') != name.npos || name.find('\0') != name.npos) return fail(EINVAL);
  std::memcpy(result.text_, name.data(), name.size());
  result.text_[name.size()] = 0;
  result.length_ = name.size();
  return result;
}

ProcPath::ProcPath(int fd) {
  static constexpr std::string_view kFolder = "/proc/self/fd/";
  std::memcpy(text_, kFolder.data(), kFolder.size());
  *std::to_chars(text_ + kFolder.size(), text_ + sizeof(text_) - 1, fd).ptr = 0;
}

Result<UniqueFd> open_beneath(int directory, const char* path, int flags, uint64_t resolve) {
  struct open_how how {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve;
  // Without RESOLVE_CACHED, EAGAIN says that a rename elsewhere made the kernel unsure of a "..".
  for (int attempts_left = 100;; --attempts_left) {
    UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof(how))));
    if (fd) return fd;
    const bool again = errno == EINTR || (errno == EAGAIN && (resolve & RESOLVE_CACHED) == 0);
    if (!again || attempts_left == 0) return fail(errno);
  }
}

Result<Statx> statx_at(int directory, const char* name) {
  Statx attributes;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (::statx(directory, name, flags, STATX_BASIC_STATS | STATX_BTIME, &attributes) != 0) return fail(errno);
  return attributes;
}

}  // namespace sluice
