// One line per event to standard error, or to syslog once in the background. Standard error that leads to systemd's
// journal gets each line's priority with it. At most 200 lines in 10 seconds; how many were left out is told later.
// Thread-safe.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace sluice {

enum class LogLevel { debug, info, warning, error };

void log_open(LogLevel lowest, bool to_syslog);
void log_line(LogLevel level, std::string_view line);

template <typename... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  log_line(level, fmt::format(format, std::forward<Args>(args)...));
}

// A message without errno's raw number: "No such file or directory". Thread-safe, unlike strerror.
std::string_view error_text(int number);

}  // namespace sluice
