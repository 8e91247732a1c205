#include "net/http/range.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace sluice {
namespace {

// Digits only; what does not fit means "as far as there is". Nothing when it is not a number.
std::optional<uint64_t> parse_position(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? value : UINT64_MAX;
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// What one range, "10-19", "10-" or "-10", means of `size` bytes: of kind part, unsatisfiable, or whole when it is
// malformed.
RangeAnswer resolve_one(std::string_view range, uint64_t size) {
  const RangeAnswer malformed{RangeKind::whole, 0, size, {}};
  const RangeAnswer unsatisfiable{RangeKind::unsatisfiable, 0, 0, {}};
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos) return malformed;
  const std::string_view first_text = range.substr(0, dash);
  const std::string_view last_text = range.substr(dash + 1);

  if (first_text.empty()) {  // the last bytes
    const std::optional<uint64_t> suffix = parse_position(last_text);
    if (!suffix) return malformed;
    if (*suffix == 0) return unsatisfiable;
    const uint64_t length = std::min(*suffix, size);
    return {RangeKind::part, size - length, length, {}};
  }
  const std::optional<uint64_t> first = parse_position(first_text);
  const std::optional<uint64_t> last = last_text.empty() ? UINT64_MAX : parse_position(last_text);
  if (!first || !last || *last < *first) return malformed;
  if (*first >= size) return unsatisfiable;
  return {RangeKind::part, *first, std::min(*last, size - 1) - *first + 1, {}};
}

struct AskedPart {
  BytePart bytes;
  size_t place = 0;  // in the request
};

bool asks_too_much(const std::vector<AskedPart>& asked, uint64_t size) {
  unsigned __int128 sum = 0;
  for (const AskedPart& part : asked) sum += part.bytes.length;
  return sum > static_cast<unsigned __int128>(size) * 2;
}

// The place of what was merged is that of its first part in the request.
std::vector<BytePart> merge(std::vector<AskedPart> asked) {
  std::sort(asked.begin(), asked.end(),
            [](const AskedPart& a, const AskedPart& b) { return a.bytes.offset < b.bytes.offset; });
  std::vector<AskedPart> merged;
  for (const AskedPart& part : asked) {
    const auto end_of = [](const BytePart& bytes) { return bytes.offset + bytes.length; };
    if (merged.empty() || end_of(merged.back().bytes) < part.bytes.offset) {
      merged.push_back(part);
      continue;
    }
    AskedPart& last = merged.back();
    last.bytes.length = std::max(end_of(last.bytes), end_of(part.bytes)) - last.bytes.offset;
    last.place = std::min(last.place, part.place);
  }
  std::sort(merged.begin(), merged.end(), [](const AskedPart& a, const AskedPart& b) { return a.place < b.place; });
  std::vector<BytePart> parts;
  for (const AskedPart& part : merged) parts.push_back(part.bytes);
  return parts;
}

}  // namespace

RangeAnswer resolve_range(std::string_view field, uint64_t size) {
  const RangeAnswer whole{RangeKind::whole, 0, size, {}};
  const RangeAnswer unsatisfiable{RangeKind::unsatisfiable, 0, 0, {}};
  if (size == 0) return whole;  // no range has a part of it, and no Content-Range could say so
  if (field.size() < 6 || ::strncasecmp(field.data(), "bytes=", 6) != 0) return whole;
  std::vector<AskedPart> asked;
  size_t count = 0;
  for (size_t start = 6; start <= field.size();) {
    const size_t comma = std::min(field.find(',', start), field.size());
    const std::string_view element = trimmed(field.substr(start, comma - start));
    start = comma + 1;
    if (element.empty()) continue;
    if (++count > kRangesMax) return whole;
    const RangeAnswer one = resolve_one(element, size);
    if (one.kind == RangeKind::whole) return whole;
    if (one.kind == RangeKind::part) asked.push_back({{one.offset, one.length}, count});
  }
  if (count == 0) return whole;
  if (asked.empty() || asks_too_much(asked, size)) return unsatisfiable;
  std::vector<BytePart> parts = asked.size() == 1 ? std::vector{asked[0].bytes} : merge(std::move(asked));
  if (parts.size() == 1) return {RangeKind::part, parts[0].offset, parts[0].length, {}};
  RangeAnswer answer{RangeKind::parts, parts[0].offset, 0, {}};
  for (const BytePart& part : parts) answer.length += part.length;
  answer.parts = std::move(parts);
  return answer;
}

}  // namespace sluice
