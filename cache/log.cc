#include "cache/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syslog.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "cache/assert.h"
#include "cache/clock.h"
#include "cache/log_limit.h"
#include "cache/mutex.h"

namespace sluice {
namespace {

// As sd-daemon(3) has them.
class JournalPriority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& line) override {
    line.push_back('<');
    line.push_back(message.level >= spdlog::level::err    ? '3'
                   : message.level == spdlog::level::warn ? '4'
                   : message.level == spdlog::level::info ? '6'
                                                          : '7');
    line.push_back('>');
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JournalPriority>(); }
};

// Whether standard error is what $JOURNAL_STREAM (device:inode) names.
bool writes_to_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat attributes {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &attributes) != 0) return false;
  return stream == fmt::format("{}:{}", attributes.st_dev, attributes.st_ino);
}

std::shared_ptr<spdlog::logger> make_logger(bool to_syslog) {
  if (to_syslog) {
    auto logger = std::make_shared<spdlog::logger>(
        "sluice", std::make_shared<spdlog::sinks::syslog_sink_mt>("sluice", LOG_PID, LOG_DAEMON, false));
    logger->set_pattern("%v");
    return logger;
  }
  auto logger = std::make_shared<spdlog::logger>("sluice", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  if (!writes_to_journal()) {
    logger->set_pattern("sluice: %l: %v");
    return logger;
  }
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JournalPriority>('*').set_pattern("%*%v");
  logger->set_formatter(std::move(formatter));
  return logger;
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = make_logger(false);
  return instance;
}

// Both for all threads.
Mutex limit_mutex;
LogLimit& limit() {
  static LogLimit instance({.lines_max = 200, .period = std::chrono::seconds(10)});
  return instance;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void log_open(LogLevel lowest, bool to_syslog) {
  logger() = make_logger(to_syslog);
  logger()->set_level(level_of(lowest));
}

void log_line(LogLevel level, std::string_view line) {
  if (!logger()->should_log(level_of(level))) return;
  LogLimit::Verdict verdict;
  {
    MutexLock lock(&limit_mutex);
    verdict = limit().judge(system_clock().monotonic());
  }
  if (!verdict.passes) return;
  if (verdict.left_out > 0) logger()->warn("{} lines were left out: there were too many at once", verdict.left_out);
  logger()->log(level_of(level), spdlog::string_view_t(line.data(), line.size()));
}

std::string_view error_text(int number) {
  const char* text = ::strerrordesc_np(number);
  return text != nullptr ? text : "unknown error";
}

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "sluice: internal error: %s does not hold (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace sluice
