// Whole small files: configuration, /proc.
#pragma once

#include <string>
#include <string_view>

#include "cache/result.h"

namespace sluice {

// Errors: those of open(2) and read(2).
Result<std::string> read_text_file(const std::string& path);

// Errors: those of write(2). What came before the error is written.
Result<void> write_all(int fd, std::string_view text);

}  // namespace sluice
