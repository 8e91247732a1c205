// The option string for libfuse.
#pragma once

#include <string>

#include "fs/fuse/session.h"

namespace sluice {

// "default_permissions,subtype=sluice,fsname=/srv/a\,b,...": commas and backslashes inside an option are escaped.
std::string mount_option_string(const FuseOptions& options);

}  // namespace sluice
