// Conditions and dates: any bytes get a verdict; a date that is written is read back the same.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "cache/assert.h"
#include "net/http/conditional.h"
#include "net/http/date.h"

using namespace sluice;  // NOLINT(google-build-using-namespace): a driver has nothing else

namespace {

// Up to the next newline.
std::string_view next_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

void check_date(std::string_view text) {
  const std::optional<int64_t> seconds = parse_http_date(text);
  if (!seconds || *seconds < 0) return;
  ASSERT(parse_http_date(format_http_date(*seconds)) == seconds);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 9) return 0;
  FileVersion version;
  std::memcpy(&version.stamp.mtime_ns, data, sizeof version.stamp.mtime_ns);
  version.trustworthy = (data[8] & 1) != 0;
  const Validators validators = validators_of(version);
  std::string_view rest(reinterpret_cast<const char*>(data) + 9, size - 9);
  HttpRequest request;
  request.if_match = next_line(rest);
  request.if_none_match = next_line(rest);
  request.if_modified_since = next_line(rest);
  request.if_unmodified_since = next_line(rest);
  request.if_range = next_line(rest);
  check_date(request.if_modified_since);
  check_date(request.if_range);
  const Verdict verdict = check_preconditions(request, validators);
  ASSERT(verdict != Verdict::failed || !request.if_match.empty() || !request.if_unmodified_since.empty());
  if (!validators.trustworthy) ASSERT(request.if_range.empty() || !range_counts(request, validators));
  return 0;
}
