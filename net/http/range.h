// The Range header field, for one range.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

enum class RangeKind : uint8_t { whole, part, unsatisfiable };

struct RangeAnswer {
  RangeKind kind = RangeKind::whole;
  uint64_t offset = 0;
  uint64_t length = 0;  // of what to send, 0 when unsatisfiable
};

// What to send of `size` bytes. Everything when `field` is not "bytes=" or is malformed, as RFC 9110 wants, and when
// it asks for several ranges, as it allows.
RangeAnswer resolve_range(std::string_view field, uint64_t size);

}  // namespace sluice
