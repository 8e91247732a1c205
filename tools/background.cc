#include "tools/background.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cache/log.h"
#include "cache/unique_fd.h"
#include "tools/text_file.h"

namespace sluice {
namespace {

constexpr std::string_view kReady = "ok\n";

std::string read_to_end(int fd) {
  std::string text;
  std::array<char, 1024> piece;
  for (;;) {
    const ssize_t count = ::read(fd, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(piece.data(), static_cast<size_t>(count));
  }
}

std::string how_it_ended(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) == child && WIFSIGNALED(status)) {
    return fmt::format("killed by signal {}", WTERMSIG(status));
  }
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

int wait_for_word(int pipe, pid_t child) {
  std::string word = read_to_end(pipe);
  if (word == kReady) return EXIT_SUCCESS;
  if (word.empty()) {
    tell({fmt::format("the gateway ended while starting ({}); try again with --foreground", how_it_ended(child))});
  } else {
    word.pop_back();
    tell({word});
  }
  return EXIT_FAILURE;
}

void redirect(std::initializer_list<int> descriptors) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int descriptor : descriptors) ::dup2(null.get(), descriptor);
}

}  // namespace

void open_standard_descriptors() {
  for (;;) {
    const int lowest = ::open("/dev/null", O_RDWR);
    if (lowest < 0) return;
    if (lowest <= STDERR_FILENO) continue;
    ::close(lowest);
    return;
  }
}

bool StartReport::ready() {
  if (pipe_ < 0) return true;
  const bool heard = write_all(pipe_, kReady).has_value();
  ::close(pipe_);
  redirect({STDERR_FILENO});
  return heard;
}

void StartReport::failed(const Complaint& complaint) {
  if (pipe_ < 0) return tell(complaint);
  write_all(pipe_, complaint.line + "\n");
  ::close(pipe_);
}

std::optional<int> go_to_background(StartReport& report) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    tell({fmt::format("cannot go to the background: {}", error_text(errno))});
    return EXIT_FAILURE;
  }
  const pid_t child = ::fork();
  if (child < 0) {
    tell({fmt::format("cannot go to the background: {}", error_text(errno))});
    return EXIT_FAILURE;
  }
  if (child > 0) {
    ::close(ends[1]);
    const UniqueFd pipe(ends[0]);
    return wait_for_word(pipe.get(), child);
  }
  ::close(ends[0]);
  ::setsid();
  if (::chdir("/") != 0) return EXIT_FAILURE;
  // Standard error stays until the mount answers: fusermount3 has its own reasons to refuse.
  redirect({STDIN_FILENO, STDOUT_FILENO});
  report = StartReport(ends[1]);
  return std::nullopt;
}

}  // namespace sluice
