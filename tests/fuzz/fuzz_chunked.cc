// Bodies in chunks: whatever the bytes, and wherever they are cut, they end at one place or are refused.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "cache/assert.h"
#include "net/http/chunked.h"

using namespace sluice;  // NOLINT(google-build-using-namespace): a driver has nothing else

namespace {

constexpr uint64_t kMax = 4096;

struct End {
  bool refused = false;
  size_t at = 0;
  bool done = false;
  bool too_long = false;

  bool operator==(const End&) const = default;
};

End end_of(std::string_view input, size_t piece) {
  ChunkedBody body(kMax);
  End end;
  while (end.at < input.size() && !body.done() && !body.too_long()) {
    const std::string_view some = input.substr(end.at, piece);
    const HttpResult<size_t> taken = body.skip(some);
    if (!taken) return {.refused = true};
    ASSERT(*taken == some.size() || body.done() || body.too_long());
    end.at += *taken;
  }
  ASSERT(body.taken_bytes() == end.at);
  ASSERT(end.at <= kMax + 1);
  end.done = body.done();
  end.too_long = body.too_long();
  return end;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const End end = end_of(input, std::max<size_t>(size, 1));
  ASSERT(end_of(input, 1) == end);
  ASSERT(end_of(input, size / 2 + 1) == end);
  if (end.done) ASSERT(input.substr(0, end.at).ends_with("\r\n\r\n"));
  return 0;
}
