// The Range header field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice {

inline constexpr size_t kRangesMax = 64;  // of one request; one with more is as one without

enum class RangeKind : uint8_t { whole, part, parts, unsatisfiable };

struct BytePart {
  uint64_t offset = 0;
  uint64_t length = 0;
};

struct RangeAnswer {
  RangeKind kind = RangeKind::whole;
  uint64_t offset = 0;
  uint64_t length = 0;          // of what to send of the file, 0 when unsatisfiable
  std::vector<BytePart> parts;  // kind `parts`: two or more that neither overlap nor touch; else empty
};

// What to send of `size` bytes. Everything when `field` is not "bytes=", is malformed, or has more than kRangesMax
// ranges, as RFC 9110 wants or allows. Of several, those that overlap or touch are one; the order is that of the
// request. Nothing (unsatisfiable) also when they ask for more than twice the file: nobody needs bytes three times.
RangeAnswer resolve_range(std::string_view field, uint64_t size);

}  // namespace sluice
