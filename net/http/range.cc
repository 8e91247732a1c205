#include "net/http/range.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace sluice {
namespace {

// Digits only; what does not fit means "as far as there is". Nothing when it is not a number.
std::optional<uint64_t> parse_position(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? value : UINT64_MAX;
}

// The only element of a comma-separated list (empty elements do not count), or nothing.
std::optional<std::string_view> only_element(std::string_view list) {
  std::optional<std::string_view> only;
  while (true) {
    const size_t comma = list.find(',');
    std::string_view element = list.substr(0, comma);
    while (!element.empty() && (element.front() == ' ' || element.front() == '\t')) element.remove_prefix(1);
    while (!element.empty() && (element.back() == ' ' || element.back() == '\t')) element.remove_suffix(1);
    if (!element.empty()) {
      if (only) return std::nullopt;
      only = element;
    }
    if (comma == std::string_view::npos) return only;
    list.remove_prefix(comma + 1);
  }
}

RangeAnswer part(uint64_t offset, uint64_t length) {
  return {RangeKind::part, offset, length};
}

}  // namespace

RangeAnswer resolve_range(std::string_view field, uint64_t size) {
  const RangeAnswer whole{RangeKind::whole, 0, size};
  const RangeAnswer unsatisfiable{RangeKind::unsatisfiable, 0, 0};
  if (field.size() < 6 || ::strncasecmp(field.data(), "bytes=", 6) != 0) return whole;
  const std::optional<std::string_view> range = only_element(field.substr(6));
  if (!range) return whole;
  const size_t dash = range->find('-');
  if (dash == std::string_view::npos) return whole;
  const std::string_view first_text = range->substr(0, dash);
  const std::string_view last_text = range->substr(dash + 1);

  if (first_text.empty()) {  // the last bytes
    const std::optional<uint64_t> suffix = parse_position(last_text);
    if (!suffix) return whole;
    if (*suffix == 0) return unsatisfiable;
    if (size == 0) return whole;
    const uint64_t length = std::min(*suffix, size);
    return part(size - length, length);
  }
  const std::optional<uint64_t> first = parse_position(first_text);
  const std::optional<uint64_t> last = last_text.empty() ? UINT64_MAX : parse_position(last_text);
  if (!first || !last || *last < *first) return whole;
  if (*first >= size) return unsatisfiable;
  return part(*first, std::min(*last, size - 1) - *first + 1);
}

}  // namespace sluice
