// HTTP status codes that the server gives, and how errnos become one.
#pragma once

#include <cstdint>
#include <string_view>

#include <tl/expected.hpp>

namespace sluice {

enum class HttpStatus : uint16_t {
  ok = 200,
  no_content = 204,
  partial_content = 206,
  moved_permanently = 301,
  not_modified = 304,
  bad_request = 400,
  forbidden = 403,
  not_found = 404,
  method_not_allowed = 405,
  request_timeout = 408,
  precondition_failed = 412,
  uri_too_long = 414,
  range_not_satisfiable = 416,
  expectation_failed = 417,
  header_too_large = 431,
  internal_error = 500,
  not_implemented = 501,
  unavailable = 503,
  gateway_timeout = 504,
  version_not_supported = 505,
};

// A value, or the status to refuse the request with.
template <typename T>
using HttpResult = tl::expected<T, HttpStatus>;
inline tl::unexpected<HttpStatus> refuse_with(HttpStatus status) {
  return tl::unexpected<HttpStatus>(status);
}

std::string_view reason_of(HttpStatus status);  // "Not Found"
HttpStatus status_of(int error);                // of an errno from the store

}  // namespace sluice
