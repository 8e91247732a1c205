// How bytes of names become text: in URLs, in HTML, in JSON. Names are any bytes; what is no UTF-8, and control
// characters, show as U+FFFD in HTML. JSON escapes control characters.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

// Everything but letters, digits and "-._~" as %XX, "/" only when it is no separator.
void append_percent_encoded(std::string_view bytes, bool keep_slashes, std::string& text);
void append_html(std::string_view bytes, std::string& text);
void append_json_string(std::string_view bytes, std::string& text);  // with its quotes

}  // namespace sluice
