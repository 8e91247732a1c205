#include "net/http/access_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include "cache/log.h"

namespace sluice {
namespace {

constexpr size_t kBufferMax = 1 << 20;
constexpr std::chrono::milliseconds kGatherTime{100};
constexpr int kPollMs = 1000;

constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void append_escaped(std::string_view bytes, std::string& text) {
  static constexpr std::string_view kHexDigits = "0123456789ABCDEF";
  if (bytes.empty()) text += '-';
  for (const char c : bytes) {
    if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
      text += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
}

Result<UniqueFd> open_log(const std::string& path) {
  // Not blocking, for a FIFO without a reader.
  UniqueFd fd(path == "-"
                  ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                  : ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640));
  if (!fd) return fail(errno);
  return fd;
}

uint64_t lines_of(std::string_view text) {
  return static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

std::string format_access(const AccessRecord& record) {
  const time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(record.time).count();
  tm time{};
  ::gmtime_r(&seconds, &time);
  std::string line = fmt::format("{} - - [{:02}/{}/{}:{:02}:{:02}:{:02} +0000] \"", record.peer.text(), time.tm_mday,
                                 kMonths[static_cast<size_t>(time.tm_mon)], time.tm_year + 1900, time.tm_hour,
                                 time.tm_min, time.tm_sec);
  append_escaped(record.request_line, line);
  line += fmt::format("\" {} {} \"", record.status, record.body_bytes);
  append_escaped(record.referer, line);
  line += "\" \"";
  append_escaped(record.user_agent, line);
  line += "\"\n";
  return line;
}

Result<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path) {
  return std::make_unique<AccessLog>(path, TRY(open_log(path)));
}

AccessLog::AccessLog(std::string path, UniqueFd fd)
    : path_(std::move(path)), fd_(std::move(fd)), writer_([this] { run(); }) {}

AccessLog::~AccessLog() {
  {
    MutexLock lock(&mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  writer_.join();
}

void AccessLog::write(const AccessRecord& record) {
  const std::string line = format_access(record);
  {
    MutexLock lock(&mutex_);
    if (buffer_.size() + line.size() > kBufferMax) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    const bool was_empty = buffer_.empty();
    const bool was_half = buffer_.size() >= kBufferMax / 2;
    buffer_ += line;
    if (!was_empty && (was_half || buffer_.size() < kBufferMax / 2)) return;
  }
  changed_.notify_all();
}

void AccessLog::reopen() {
  {
    MutexLock lock(&mutex_);
    reopen_ = true;
  }
  changed_.notify_all();
}

AccessLogStats AccessLog::stats() const {
  return {.lines = lines_.load(std::memory_order_relaxed), .dropped = dropped_.load(std::memory_order_relaxed)};
}

void AccessLog::run() {
  std::string batch;
  while (next_batch(batch)) write_batch(std::exchange(batch, {}));
}

// False: the end. What was logged before `reopen` goes to the old file or the new one.
bool AccessLog::next_batch(std::string& batch) {
  bool reopens = false;
  {
    MutexLock lock(&mutex_);
    while (buffer_.empty() && !reopen_ && !ending_) changed_.wait(mutex_);
    if (buffer_.empty() && !reopen_) return false;
    const bool gathers = !reopen_ && !ending_ && buffer_.size() < kBufferMax / 2;
    if (gathers) changed_.wait_for(mutex_, kGatherTime);
    batch.swap(buffer_);
    reopens = std::exchange(reopen_, false);
  }
  if (reopens) reopen_now();
  return true;
}

void AccessLog::reopen_now() {
  if (!is_file()) return;
  Result<UniqueFd> fd = open_log(path_);
  if (fd) {
    fd_ = std::move(*fd);
  } else {
    log(LogLevel::warning, "{}: cannot reopen the access log: {}; the old one is written on", path_,
        error_text(fd.error().number));
  }
}

void AccessLog::write_batch(std::string_view batch) {
  const uint64_t lines = lines_of(batch);
  int error = 0;
  while (!batch.empty() && error == 0) error = write_some(batch);
  const uint64_t left = lines_of(batch);
  lines_.fetch_add(lines - left, std::memory_order_relaxed);
  dropped_.fetch_add(left, std::memory_order_relaxed);
  if (error != 0 && !failing_) {
    log(LogLevel::warning, "{}: cannot write the access log: {}; its lines are dropped until that changes", path_,
        error_text(error));
  }
  failing_ = error != 0;
}

// Writes a piece that a pipe takes at once when it takes any. Waits for its reader, but not at the end. Returns the
// error that drops the rest.
int AccessLog::write_some(std::string_view& rest) const {
  pollfd ready{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  while (::poll(&ready, 1, kPollMs) == 0) {
    if (ending_) return ETIMEDOUT;
  }
  const ssize_t written = ::write(fd_.get(), rest.data(), std::min<size_t>(rest.size(), PIPE_BUF));
  if (written >= 0) {
    rest.remove_prefix(static_cast<size_t>(written));
    return 0;
  }
  return errno == EINTR || errno == EAGAIN ? 0 : errno;
}

}  // namespace sluice
