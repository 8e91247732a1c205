// How the values of options are written: 4G, 500ms, yes, 0.0.0.0:8080. What does not parse is a complaint that shows
// how it should look; who asked (which option, which line) is prepended by the caller.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "tools/complaint.h"

namespace sluice {

// K, M, G, T are powers of 1024, lower case and "KiB" too; a plain number or B means bytes. Decimals: 1.5G.
Checked<uint64_t> parse_size(std::string_view text);
// ms, s, m, h, d; a plain number means seconds. Decimals: 0.5s.
Checked<std::chrono::nanoseconds> parse_duration(std::string_view text);
// true, yes, on, 1; false, no, off, 0.
Checked<bool> parse_bool(std::string_view text);
Checked<uint64_t> parse_integer(std::string_view text);
Checked<uint64_t> parse_octal(std::string_view text);
// An address to listen on, returned as net/listener.h takes it. PORT and :PORT mean the loopback.
Checked<std::vector<std::string>> parse_names(std::string_view text);  // of files, comma separated
Checked<std::string> parse_prefix(std::string_view text);              // "/a/b" is "a/b/", "/" is ""
Checked<std::string> parse_header_value(std::string_view text);        // of an HTTP field
Checked<std::string> parse_ranges(std::string_view text);              // of AddressRanges::parse
Checked<std::string> parse_nfs_rules(std::string_view text);           // of NfsExportRules::parse
Checked<std::string> parse_address(std::string_view text);

std::string format_size(uint64_t bytes);          // exact and parseable: "256M", "1000B"
std::string format_size_rounded(uint64_t bytes);  // for people: "1.4 GiB"

}  // namespace sluice
