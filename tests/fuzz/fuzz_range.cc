// The Range field: parts are inside the file, in number and bytes within the limits, and none overlaps another.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "cache/assert.h"
#include "net/http/range.h"

using namespace sluice;  // NOLINT(google-build-using-namespace): a driver has nothing else

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) return 0;
  uint64_t file_size = 0;
  std::memcpy(&file_size, data, sizeof file_size);
  const std::string_view field(reinterpret_cast<const char*>(data) + 8, size - 8);
  RangeAnswer answer = resolve_range(field, file_size);
  switch (answer.kind) {
    case RangeKind::whole: ASSERT(answer.offset == 0 && answer.length == file_size); return 0;
    case RangeKind::unsatisfiable: ASSERT(answer.length == 0); return 0;
    case RangeKind::part: answer.parts = {{answer.offset, answer.length}}; break;
    case RangeKind::parts: ASSERT(answer.parts.size() >= 2 && answer.parts.size() <= kRangesMax); break;
  }
  std::sort(answer.parts.begin(), answer.parts.end(),
            [](const BytePart& a, const BytePart& b) { return a.offset < b.offset; });
  uint64_t end = 0;
  uint64_t sum = 0;
  for (const BytePart& part : answer.parts) {
    ASSERT(part.length > 0 && part.offset < file_size && part.length <= file_size - part.offset);
    ASSERT(end == 0 || part.offset > end);  // nor do they touch
    end = part.offset + part.length;
    sum += part.length;
  }
  ASSERT(sum == answer.length);
  return 0;
}
