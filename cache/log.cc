#include "cache/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/syslog.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "cache/assert.h"

namespace sluice {
namespace {

std::shared_ptr<spdlog::logger> make_logger(bool to_syslog) {
  if (to_syslog) {
    auto logger = std::make_shared<spdlog::logger>(
        "sluice", std::make_shared<spdlog::sinks::syslog_sink_mt>("sluice", LOG_PID, LOG_DAEMON, false));
    logger->set_pattern("%v");
    return logger;
  }
  auto logger = std::make_shared<spdlog::logger>("sluice", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("sluice: %l: %v");
  return logger;
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = make_logger(false);
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
