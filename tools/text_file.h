// Whole small files: configuration, /proc.
#pragma once

#include <string>

#include "cache/result.h"

namespace sluice {

// Errors: those of open(2) and read(2).
Result<std::string> read_text_file(const std::string& path);

}  // namespace sluice
