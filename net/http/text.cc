#include "net/http/text.h"

#include <array>
#include <cstdint>

namespace sluice {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD
constexpr std::string_view kHexDigits = "0123456789ABCDEF";

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < ' ' || c == 0x7f;
}

// Of the character that starts `bytes`: 1 to 4, or 0 when it is none. No overlong forms, no surrogates, nothing beyond
// U+10FFFF.
size_t utf8_length(std::string_view bytes) {
  const auto byte = [bytes](size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool good = first == 0xe0 ? byte(1) >= 0xa0 : first != 0xed || byte(1) < 0xa0;
    return good && follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool good = first == 0xf0 ? byte(1) >= 0x90 : first != 0xf4 || byte(1) < 0x90;
    return good && follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// Calls `append` for each character; what is none becomes U+FFFD, byte by byte.
template <typename Append>
void for_each_character(std::string_view bytes, Append append) {
  while (!bytes.empty()) {
    const size_t length = utf8_length(bytes);
    append(length == 0 ? kReplacement : bytes.substr(0, length));
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
}

}  // namespace

void append_percent_encoded(std::string_view bytes, bool keep_slashes, std::string& text) {
  for (const char c : bytes) {
    if (is_unreserved(c) || (keep_slashes && c == '/')) {
      text += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    text += '%';
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
}

void append_html(std::string_view bytes, std::string& text) {
  for_each_character(bytes, [&text](std::string_view character) {
    switch (const char c = character.front()) {
      case '&': text += "&amp;"; break;
      case '<': text += "&lt;"; break;
      case '>': text += "&gt;"; break;
      case '"': text += "&quot;"; break;
      case '\'': text += "&#39;"; break;
      default: text += is_control(c) ? kReplacement : character;
    }
  });
}

void append_json_string(std::string_view bytes, std::string& text) {
  text += '"';
  for_each_character(bytes, [&text](std::string_view character) {
    const char c = character.front();
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (is_control(c)) {
      text += "\\u00";
      text += kHexDigits[static_cast<unsigned char>(c) >> 4];
      text += kHexDigits[static_cast<unsigned char>(c) & 15];
    } else {
      text += character;
    }
  });
  text += '"';
}

}  // namespace sluice
