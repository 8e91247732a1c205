// What the kernel's page cache has of a file.
#pragma once

#include <cstdint>
#include <string>

#include "tools/complaint.h"

namespace sluice {

Checked<uint64_t> page_cache_pages(const std::string& path);
// The file has no dirty page, and nobody uses it.
Checked<> empty_page_cache(const std::string& path);

}  // namespace sluice
