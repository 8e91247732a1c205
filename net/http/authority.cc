#include "net/http/authority.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "net/http/characters.h"

namespace sluice {
namespace {

constexpr CharacterSet kNameCharacters = alphanumerics_and("-._~!$&'()*+;=");
constexpr CharacterSet kAddressCharacters = [] {  // of IPv6
  CharacterSet set{};
  for (const char c : std::string_view("0123456789abcdefABCDEF:.")) set[static_cast<unsigned char>(c)] = true;
  return set;
}();
constexpr CharacterSet kFutureCharacters = alphanumerics_and("-._~!$&'()*+,;=:");

bool consists_of(const CharacterSet& set, std::string_view text) {
  return std::all_of(text.begin(), text.end(), [&set](char c) { return set[static_cast<unsigned char>(c)]; });
}

bool is_port(std::string_view text) {
  if (text.empty()) return true;
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_name(std::string_view text) {
  if (text.find("..") != std::string_view::npos) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (kNameCharacters[static_cast<unsigned char>(text[i])]) continue;
    if (text[i] != '%' || i + 2 >= text.size() || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0)
      return false;
    i += 2;
  }
  return true;
}

// "v1.something"
bool is_future_address(std::string_view text) {
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos || dot < 2 || dot + 1 == text.size() || (text[0] != 'v' && text[0] != 'V')) {
    return false;
  }
  const std::string_view version = text.substr(1, dot - 1);
  return std::all_of(version.begin(), version.end(), [](char c) { return hex_digit(c) >= 0; }) &&
         consists_of(kFutureCharacters, text.substr(dot + 1));
}

bool is_literal(std::string_view text) {
  if (is_future_address(text)) return true;
  return text.find(':') != std::string_view::npos && text.find("..") == std::string_view::npos &&
         consists_of(kAddressCharacters, text);
}

}  // namespace

bool is_authority(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos || !is_literal(text.substr(1, end - 1))) return false;
    const std::string_view rest = text.substr(end + 1);
    return rest.empty() || (rest[0] == ':' && is_port(rest.substr(1)));
  }
  const size_t colon = text.find(':');
  return is_name(text.substr(0, colon)) && (colon == std::string_view::npos || is_port(text.substr(colon + 1)));
}

}  // namespace sluice
