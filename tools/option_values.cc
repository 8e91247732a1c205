#include "tools/option_values.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <optional>

#include "net/listener.h"
#include "net/nfs/export_rules.h"
#include "net/peer_address.h"

namespace sluice {
namespace {

struct Quantity {
  double number;
  std::string_view unit;
};

std::optional<Quantity> split_quantity(std::string_view text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;  // from_chars would take "inf" and "-1"
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  return Quantity{number, text.substr(static_cast<size_t>(end - text.data()))};
}

std::optional<double> bytes_in(std::string_view unit) {
  if (unit.empty() || unit == "B") return 1;
  static constexpr std::string_view letters = "KMGT";
  const size_t power = letters.find(static_cast<char>(unit[0] & ~0x20));
  if (power == std::string_view::npos) return std::nullopt;
  if (unit.size() > 1 && unit.substr(1) != "iB") return std::nullopt;
  return std::exp2(10.0 * static_cast<double>(power + 1));
}

std::optional<double> nanoseconds_in(std::string_view unit) {
  if (unit == "ms") return 1e6;
  if (unit.empty() || unit == "s") return 1e9;
  if (unit == "m") return 60e9;
  if (unit == "h") return 3600e9;
  if (unit == "d") return 86400e9;
  return std::nullopt;
}

constexpr double kQuantityMax = 9.2e18;  // fits an int64_t

std::optional<uint64_t> whole_number(std::string_view text, int base) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Checked<uint64_t> parse_size(std::string_view text) {
  const std::optional<Quantity> quantity = split_quantity(text);
  const std::optional<double> unit = quantity ? bytes_in(quantity->unit) : std::nullopt;
  if (!unit || quantity->number * *unit > kQuantityMax) {
    return complain("'{}' is not a size; write for example 512M or 4G", text);
  }
  return static_cast<uint64_t>(quantity->number * *unit);
}

Checked<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const std::optional<Quantity> quantity = split_quantity(text);
  const std::optional<double> unit = quantity ? nanoseconds_in(quantity->unit) : std::nullopt;
  if (!unit || quantity->number * *unit > kQuantityMax) {
    return complain("'{}' is not a duration; write for example 500ms, 5s or 1m", text);
  }
  return std::chrono::nanoseconds(static_cast<int64_t>(quantity->number * *unit));
}

Checked<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "yes" || text == "on" || text == "1") return true;
  if (text == "false" || text == "no" || text == "off" || text == "0") return false;
  return complain("'{}' is neither true nor false", text);
}

Checked<uint64_t> parse_integer(std::string_view text) {
  const std::optional<uint64_t> number = whole_number(text, 10);
  if (!number) return complain("'{}' is not a whole number", text);
  return *number;
}

Checked<uint64_t> parse_octal(std::string_view text) {
  const std::optional<uint64_t> number = whole_number(text, 8);
  if (!number) return complain("'{}' is not an octal number; write for example 022", text);
  return *number;
}

Checked<std::vector<std::string>> parse_names(std::string_view text) {
  std::vector<std::string> names;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    const std::string_view name = text.substr(start, end - start);
    if (name.empty() || name.find('/') != std::string_view::npos || name == "." || name == "..")
      return complain("'{}' is not the name of a file; write for example index.html,index.htm", name);
    names.emplace_back(name);
    start = end + 1;
  }
  return names;
}

Checked<std::string> parse_prefix(std::string_view text) {
  if (!text.starts_with('/')) return complain("'{}' is not the path of a URL; write for example /files", text);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), is_control)) return complain("control characters are no part of a URL");
  std::string prefix;
  while (!text.empty()) {
    const size_t end = std::min(text.find('/'), text.size());
    const std::string_view segment = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (segment == "." || segment == "..")
      return complain("'{}' is no part of a prefix; write the path itself", segment);
    if (!segment.empty()) prefix.append(segment).append("/");
  }
  return prefix;
}

Checked<std::string> parse_header_value(std::string_view text) {
  const bool is_printable = std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (text.empty() || !is_printable || text.front() == ' ' || text.back() == ' ')
    return complain("'{}' cannot be the value of an HTTP field; use printable ASCII", text);
  return std::string(text);
}

Checked<std::string> parse_ranges(std::string_view text) {
  if (!AddressRanges::parse(text))
    return complain("'{}' is no list of networks; write for example 192.0.2.0/24,2001:db8::/32,::1", text);
  return std::string(text);
}

Checked<std::string> parse_nfs_rules(std::string_view text) {
  std::string wrong;
  if (text.empty() || !NfsExportRules::parse(text, {}, &wrong)) {
    return complain(
        "'{}' is neither a network nor a word for what its clients may; write for example "
        "192.0.2.0/24:rw:no_root_squash,2001:db8::/32:ro",
        wrong);
  }
  return std::string(text);
}

Checked<std::string> parse_address(std::string_view text) {
  const bool only_port = text.find(':') == std::string_view::npos;
  const std::string address = only_port ? fmt::format(":{}", text) : std::string(text);
  const Result<ListenAddress> parsed = parse_listen_address(address);
  if (parsed) return address;
  if (parsed.error().number == ENXIO) return complain("'{}': there is no such host; give a numeric address", text);
  return complain("'{}' is not an address; write for example 127.0.0.1:8080, 0.0.0.0:8080 or 8080", text);
}

std::string format_size(uint64_t bytes) {
  static constexpr std::string_view letters = "BKMGT";
  size_t power = 0;
  while (bytes != 0 && bytes % 1024 == 0 && power + 1 < letters.size()) {
    bytes /= 1024;
    ++power;
  }
  return fmt::format("{}{}", bytes, letters[power]);
}

std::string format_size_rounded(uint64_t bytes) {
  static constexpr std::array<std::string_view, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  size_t power = 0;
  while (value >= 1024 && power + 1 < units.size()) {
    value /= 1024;
    ++power;
  }
  return fmt::format("{:.1f} {}", value, units[power]);
}

}  // namespace sluice
