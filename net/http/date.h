// Dates as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

std::string format_http_date(int64_t seconds);  // since 1970

// Also takes the two obsolete forms of RFC 9110.
std::optional<int64_t> parse_http_date(std::string_view text);

}  // namespace sluice
