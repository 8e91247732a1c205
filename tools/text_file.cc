#include "tools/text_file.h"

#include <fcntl.h>

#include <array>
#include <cerrno>

#include "cache/unique_fd.h"

namespace sluice {

Result<std::string> read_text_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno);
  std::string text;
  std::array<char, 8192> piece;
  for (;;) {
    const ssize_t count = ::read(fd.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno);
    if (count == 0) return text;
    text.append(piece.data(), static_cast<size_t>(count));
  }
}

Result<void> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail(count < 0 ? errno : EIO);
    text.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

}  // namespace sluice
