#include "net/http/response.h"

#include <array>
#include <charconv>

#include "net/http/date.h"

namespace sluice {
namespace {

constexpr std::string_view kAllowed = "GET, HEAD, OPTIONS";
constexpr int kRetryAfterSeconds = 1;

void append_number(uint64_t value, std::string& text) {
  std::array<char, 20> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  text.append(digits.data(), end);
}

void append_field(std::string_view name, std::string_view value, std::string& text) {
  text.append(name).append(": ").append(value).append("\r\n");
}

void append_field(std::string_view name, uint64_t value, std::string& text) {
  text.append(name).append(": ");
  append_number(value, text);
  text.append("\r\n");
}

std::string start_head(const ResponseContext& context, HttpStatus status) {
  std::string head;
  head.reserve(400);
  head.append("HTTP/1.1 ");
  append_number(static_cast<uint64_t>(status), head);
  head.append(" ").append(reason_of(status)).append("\r\n");
  append_field("Server", "sluice", head);
  append_field("Date", context.date, head);
  if (!context.keep_alive) append_field("Connection", "close", head);
  if (context.keep_alive && context.version_1_0) append_field("Connection", "keep-alive", head);
  return head;
}

}  // namespace

std::string_view DateCache::at(std::chrono::nanoseconds realtime) {
  const int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(realtime).count();
  if (seconds != seconds_) {
    seconds_ = seconds;
    text_ = format_http_date(seconds);
  }
  return text_;
}

std::string content_range(const BytePart& part, uint64_t size) {
  std::string text = "bytes ";
  append_number(part.offset, text);
  text.append("-");
  append_number(part.offset + part.length - 1, text);
  text.append("/");
  append_number(size, text);
  return text;
}

std::string file_head(const ResponseContext& context, HttpStatus status, const FileAnswer& file) {
  std::string head = start_head(context, status);
  // A date that is still to come must not be told (RFC 9110, section 8.8.2.1). Conditions know the true one, so that
  // the one told here matches none.
  const bool is_future = file.validators.modified_s > context.date_s;
  append_field("Last-Modified", is_future ? context.date : format_http_date(file.validators.modified_s), head);
  append_field("ETag", file.validators.etag, head);
  if (!file.cache_control.empty()) append_field("Cache-Control", file.cache_control, head);
  append_field("Accept-Ranges", "bytes", head);
  if (status != HttpStatus::not_modified) {
    append_field("Content-Type", file.content_type, head);
    append_field("Content-Length", file.body_length, head);
  }
  if (file.range.kind == RangeKind::part) {
    append_field("Content-Range", content_range({file.range.offset, file.range.length}, file.size), head);
  }
  head.append("\r\n");
  return head;
}

std::string options_head(const ResponseContext& context) {
  std::string head = start_head(context, HttpStatus::no_content);
  append_field("Allow", kAllowed, head);
  head.append("\r\n");
  return head;
}

std::string listing_head(const ResponseContext& context, std::string_view content_type) {
  std::string head = start_head(context, HttpStatus::ok);
  append_field("Content-Type", content_type, head);
  append_field("Cache-Control", "no-cache", head);
  append_field("Vary", "Accept", head);
  append_field("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'", head);
  append_field("X-Content-Type-Options", "nosniff", head);
  if (!context.version_1_0) append_field("Transfer-Encoding", "chunked", head);
  head.append("\r\n");
  return head;
}

std::string page_head(const ResponseContext& context, std::string_view content_type, uint64_t length) {
  std::string head = start_head(context, HttpStatus::ok);
  append_field("Content-Type", content_type, head);
  append_field("Content-Length", length, head);
  append_field("Cache-Control", "no-store", head);
  head.append("\r\n");
  return head;
}

std::string refusal(const ResponseContext& context, const Refusal& refusal) {
  std::string body;
  append_number(static_cast<uint64_t>(refusal.status), body);
  body.append(" ").append(reason_of(refusal.status)).append("\n");

  std::string head = start_head(context, refusal.status);
  append_field("Content-Type", "text/plain", head);
  append_field("Content-Length", body.size(), head);
  switch (refusal.status) {
    case HttpStatus::moved_permanently: append_field("Location", refusal.location, head); break;
    case HttpStatus::method_not_allowed: append_field("Allow", kAllowed, head); break;
    case HttpStatus::unavailable: append_field("Retry-After", kRetryAfterSeconds, head); break;
    case HttpStatus::range_not_satisfiable:
      head.append("Content-Range: bytes */");
      append_number(refusal.size, head);
      head.append("\r\n");
      break;
    default: break;
  }
  head.append("\r\n");
  if (!refusal.without_body) head.append(body);
  return head;
}

}  // namespace sluice
