// Directories for what the gateway keeps of its own.
#pragma once

#include <string>

#include "cache/result.h"

namespace sluice {

// Makes the directory where it is not there, for this process' user only, and what is missing above it, where others
// may look. Whatever the umask: a gateway has none. Errors: those of mkdir(2); ENOTDIR, something else has the name.
Result<void> make_private_directory(const std::string& path);

}  // namespace sluice
