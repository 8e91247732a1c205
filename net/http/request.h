// Reading requests: where a head ends, and what it says. Nothing of doubtful framing is repaired: two servers that
// repair differently are a request smuggled past one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/http/status.h"

namespace sluice {

inline constexpr size_t kHeadMax = 16 << 10;  // bytes of request line and header

struct HeadScan {
  size_t length = 0;   // of the complete head, its empty line included; 0: incomplete
  size_t scanned = 0;  // start from here when more bytes came
};
// The bytes of empty lines before a request: tolerated, as RFC 9112 section 2.2 asks.
size_t empty_lines_before(std::string_view input);
// Looks for the end of the head that starts `input`. Refuses bare CR or LF, NUL, folded lines (400), more than kHeadMax
// bytes (414 while in the request line, 431 later).
HttpResult<HeadScan> scan_head(std::string_view input, size_t scanned);

enum class HttpMethod : uint8_t { get, head, options, other };

// Views point into the head. Absent header fields are empty; a field that may be a list and came several times is
// joined.
struct HttpRequest {
  HttpMethod method = HttpMethod::other;
  bool version_1_0 = false;
  bool keep_alive = false;
  bool chunked = false;
  bool has_range_twice = false;
  uint64_t body_bytes = 0;   // Content-Length
  std::string path;          // see path_of_target; empty for "OPTIONS *"
  bool lacks_slash = false;  // the target, whose path has one at its end, as of "/a%2F", "/a/." and "/a/b/.."
  std::string_view range;
  std::string_view if_range;
  std::string_view if_modified_since;
  std::string_view if_unmodified_since;
  std::string if_match;
  std::string if_none_match;
  std::string_view expect;
  std::string accept;
  std::string_view referer;
  std::string_view user_agent;
  std::string_view query;  // of the target, without "?"
};

// `head` as measured by scan_head. Errors: 400, 501 (unknown method or transfer coding), 505.
HttpResult<HttpRequest> parse_request(std::string_view head);

// The file that a request target names, relative to the export ("" is its root): percent-decoded to bytes, without
// query, empty and "." segments, ".." resolved; a trailing slash stays. Takes the origin form and the absolute form.
// Errors: 400 for a broken escape, NUL, control characters, a fragment, and a ".." that leads out of the root.
HttpResult<std::string> path_of_target(std::string_view target);

}  // namespace sluice
