// --filter of `sluice bench`.
#pragma once

#include <regex>
#include <string>

#include "tools/complaint.h"

namespace sluice {

// `example` is the name of a row.
Checked<std::regex> parse_bench_filter(const std::string& text, std::string_view example);
Complaint no_row_matches(const std::string& text, std::string_view example);

}  // namespace sluice
