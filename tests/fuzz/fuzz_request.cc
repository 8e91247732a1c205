// Request heads: whatever the bytes, they are refused or understood, and in pieces as at once.
#include <cstdint>
#include <string_view>

#include "cache/assert.h"
#include "net/http/accept.h"
#include "net/http/request.h"

using namespace sluice;  // NOLINT(google-build-using-namespace): a driver has nothing else

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const HttpResult<HeadScan> whole = scan_head(input, 0);
  // By halves: the first says where to go on.
  const HttpResult<HeadScan> half = scan_head(input.substr(0, size / 2), 0);
  if (half && half->length == 0) {
    const HttpResult<HeadScan> rest = scan_head(input, half->scanned);
    ASSERT(rest.has_value() == whole.has_value());
    ASSERT(!rest || rest->length == whole->length);
  }
  if (!whole || whole->length == 0) return 0;
  ASSERT(whole->length <= size && whole->length <= kHeadMax);
  const HttpResult<HttpRequest> request = parse_request(input.substr(0, whole->length));
  if (!request) {
    ASSERT(static_cast<int>(request.error()) >= 400);
    return 0;
  }
  ASSERT(!request->chunked || request->body_bytes == 0);
  ASSERT(request->path.find('\0') == std::string::npos);
  prefers_json(request->accept);
  return 0;
}
