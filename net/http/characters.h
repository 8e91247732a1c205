// The characters of RFC 9110 and RFC 3986, as tables: `kTokenCharacters[byte]`.
#pragma once

#include <array>
#include <string_view>

namespace sluice {

using CharacterSet = std::array<bool, 256>;

// Letters, digits and these.
constexpr CharacterSet alphanumerics_and(std::string_view others) {
  CharacterSet set{};
  for (const char c : others) set[static_cast<unsigned char>(c)] = true;
  for (unsigned c = '0'; c <= '9'; ++c) set[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) set[c] = set[c - 'a' + 'A'] = true;
  return set;
}

inline constexpr CharacterSet kTokenCharacters = alphanumerics_and("!#$%&'*+-.^_`|~");

constexpr bool is_token_character(char c) {
  return kTokenCharacters[static_cast<unsigned char>(c)];
}

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// -1: it is none.
constexpr int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace sluice
