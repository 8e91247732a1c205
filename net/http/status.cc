#include "net/http/status.h"

#include <cerrno>

namespace sluice {

std::string_view reason_of(HttpStatus status) {
  switch (status) {
    case HttpStatus::ok: return "OK";
    case HttpStatus::no_content: return "No Content";
    case HttpStatus::partial_content: return "Partial Content";
    case HttpStatus::moved_permanently: return "Moved Permanently";
    case HttpStatus::not_modified: return "Not Modified";
    case HttpStatus::bad_request: return "Bad Request";
    case HttpStatus::forbidden: return "Forbidden";
    case HttpStatus::not_found: return "Not Found";
    case HttpStatus::method_not_allowed: return "Method Not Allowed";
    case HttpStatus::request_timeout: return "Request Timeout";
    case HttpStatus::precondition_failed: return "Precondition Failed";
    case HttpStatus::uri_too_long: return "URI Too Long";
    case HttpStatus::range_not_satisfiable: return "Range Not Satisfiable";
    case HttpStatus::expectation_failed: return "Expectation Failed";
    case HttpStatus::header_too_large: return "Request Header Fields Too Large";
    case HttpStatus::internal_error: return "Internal Server Error";
    case HttpStatus::not_implemented: return "Not Implemented";
    case HttpStatus::unavailable: return "Service Unavailable";
    case HttpStatus::gateway_timeout: return "Gateway Timeout";
    case HttpStatus::version_not_supported: return "HTTP Version Not Supported";
  }
  return "";
}

HttpStatus status_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG: return HttpStatus::not_found;
    case EACCES:
    case EPERM:
    case ELOOP:
    case EXDEV: return HttpStatus::forbidden;  // EXDEV: a link that leads out of the source
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN: return HttpStatus::unavailable;
    case ETIMEDOUT: return HttpStatus::gateway_timeout;  // the backing hangs
    default: return HttpStatus::internal_error;
  }
}

}  // namespace sluice
