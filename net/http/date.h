// Dates as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

// Of seconds since 1970; what is beyond the years 1 to 9999 becomes the first or last second of them.
std::string format_http_date(int64_t seconds);
// "1994-11-06T08:49:37Z", in UTC, with what stands between date and time, and at the end.
std::string format_iso_date(int64_t seconds, char between, std::string_view end);

// Also takes the two obsolete forms of RFC 9110.
std::optional<int64_t> parse_http_date(std::string_view text);

}  // namespace sluice
