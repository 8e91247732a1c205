#include "tools/encoded_word.h"

#include <fmt/format.h>

#include <charconv>

namespace sluice {

std::string encode_word(std::string_view word) {
  std::string encoded;
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    encoded += byte <= ' ' || c == '%' || byte == 127 ? fmt::format("%{:02X}", byte) : std::string(1, c);
  }
  return encoded;
}

std::string decode_word(std::string_view encoded) {
  std::string word;
  for (size_t i = 0; i < encoded.size(); i++) {
    unsigned byte = static_cast<unsigned char>(encoded[i]);
    if (encoded[i] == '%' && i + 2 < encoded.size()) {
      const char* digits = encoded.data() + i + 1;
      if (std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) i += 2;
    }
    word += static_cast<char>(byte);
  }
  return word;
}

}  // namespace sluice
