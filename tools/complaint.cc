#include "tools/complaint.h"

#include <cstdio>

namespace sluice {

// Names come from anywhere: a line stays one, and the terminal as it is.
std::string printable(std::string_view text) {
  std::string shown;
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (code < 0x20 || code == 0x7f) {
      shown += fmt::format("\\x{:02x}", code);
    } else {
      shown += letter;
    }
  }
  return shown;
}

void tell(const Complaint& complaint) {
  fmt::print(stderr, "sluice: {}\n", printable(complaint.line));
}

}  // namespace sluice
