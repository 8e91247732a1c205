// Words with any bytes in lines of text: blanks, control characters and percent signs as %XX.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

std::string encode_word(std::string_view word);
std::string decode_word(std::string_view encoded);

}  // namespace sluice
