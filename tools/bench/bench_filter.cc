#include "tools/bench/bench_filter.h"

namespace sluice {

Checked<std::regex> parse_bench_filter(const std::string& text, std::string_view example) {
  try {
    return std::regex(text, std::regex::extended);
  } catch (const std::regex_error&) {
    return complain("--filter: '{}' is not a regular expression; write for example '{}'", text, example);
  }
}

Complaint no_row_matches(const std::string& text, std::string_view example) {
  return {fmt::format("--filter: no row matches '{}'; rows are named as '{}'", text, example)};
}

}  // namespace sluice
