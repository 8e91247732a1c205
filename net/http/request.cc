#include "net/http/request.h"

#include <llhttp.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "net/http/authority.h"
#include "net/http/characters.h"

namespace sluice {
namespace {

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_character);
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

struct RequestLine {
  std::string_view method;
  std::string_view target;
};

HttpResult<RequestLine> parse_request_line(std::string_view head) {
  const std::string_view line = head.substr(0, head.find('\r'));
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return refuse_with(HttpStatus::bad_request);
  const RequestLine result{line.substr(0, first), line.substr(first + 1, last - first - 1)};
  const std::string_view version = line.substr(last + 1);
  if (!is_token(result.method) || result.target.empty() || result.target.find(' ') != std::string_view::npos) {
    return refuse_with(HttpStatus::bad_request);
  }
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    return refuse_with(HttpStatus::bad_request);
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refuse_with(HttpStatus::version_not_supported);
  return result;
}

// Collects what llhttp finds. Since the whole head is in one piece, every name and value arrives in one span.
struct Collector {
  HttpRequest request;
  std::string_view name;
  unsigned hosts = 0;
  unsigned lengths = 0;
  unsigned transfer_encodings = 0;
  bool bad = false;
  bool unknown_coding = false;

  void field(std::string_view value);
};

void append_to_list(std::string_view value, std::string& list) {
  if (!list.empty()) list += ", ";
  list += value;
}

void Collector::field(std::string_view value) {
  value = trimmed(value);
  const auto is = [this](std::string_view other) { return equals_ignoring_case(name, other); };
  const auto once = [this, value](std::string_view& target) {
    if (!target.empty()) bad = true;
    target = value;
  };
  switch (name.size()) {
    case 4:
      if (is("host")) {
        ++hosts;
        bad |= !is_authority(value);
      }
      break;
    case 5:
      if (is("range")) {
        request.has_range_twice |= !request.range.empty();
        request.range = value;
      }
      break;
    case 6:
      if (is("expect")) once(request.expect);
      if (is("accept")) append_to_list(value, request.accept);
      break;
    case 7:
      if (is("referer")) request.referer = value;
      break;
    case 8:
      if (is("if-match")) append_to_list(value, request.if_match);
      if (is("if-range")) once(request.if_range);
      break;
    case 10:
      if (is("user-agent")) request.user_agent = value;
      break;
    case 13:
      if (is("if-none-match")) append_to_list(value, request.if_none_match);
      break;
    case 14:
      if (is("content-length")) {
        ++lengths;
        const char* end = value.data() + value.size();
        const auto [stop, error] = std::from_chars(value.data(), end, request.body_bytes);
        bad |= value.empty() || error != std::errc() || stop != end;
      }
      break;
    case 17:
      if (is("transfer-encoding")) {
        ++transfer_encodings;
        request.chunked = true;
        unknown_coding |= !equals_ignoring_case(value, "chunked");
      }
      if (is("if-modified-since")) once(request.if_modified_since);
      break;
    case 19:
      if (is("if-unmodified-since")) once(request.if_unmodified_since);
      break;
    default: break;
  }
}

Collector& collector_of(llhttp_t* parser) {
  return *static_cast<Collector*>(parser->data);
}

const llhttp_settings_t& settings() {
  static const llhttp_settings_t instance = [] {
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_header_field = [](llhttp_t* parser, const char* at, size_t length) {
      collector_of(parser).name = {at, length};
      return 0;
    };
    settings.on_header_value = [](llhttp_t* parser, const char* at, size_t length) {
      collector_of(parser).field({at, length});
      return 0;
    };
    settings.on_headers_complete = [](llhttp_t*) -> int { return HPE_PAUSED; };  // bodies are not its business
    return settings;
  }();
  return instance;
}

HttpMethod method_of(uint8_t number) {
  switch (number) {
    case HTTP_GET: return HttpMethod::get;
    case HTTP_HEAD: return HttpMethod::head;
    case HTTP_OPTIONS: return HttpMethod::options;
    default: return HttpMethod::other;
  }
}

}  // namespace

size_t empty_lines_before(std::string_view input) {
  size_t length = 0;
  while (input.substr(length).starts_with("\r\n")) length += 2;
  return length;
}

HttpResult<HeadScan> scan_head(std::string_view input, size_t scanned) {
  size_t line = scanned;
  while (true) {
    const size_t newline = input.find('\n', line);
    if (newline == std::string_view::npos || newline >= kHeadMax) {
      if (input.size() < kHeadMax) return HeadScan{.scanned = line};
      return refuse_with(line == 0 ? HttpStatus::uri_too_long : HttpStatus::header_too_large);
    }
    if (newline == line || input[newline - 1] != '\r') return refuse_with(HttpStatus::bad_request);
    const std::string_view content = input.substr(line, newline - 1 - line);
    if (content.find('\r') != std::string_view::npos || content.find('\0') != std::string_view::npos) {
      return refuse_with(HttpStatus::bad_request);
    }
    if (content.empty()) {
      if (line == 0) return refuse_with(HttpStatus::bad_request);
      return HeadScan{.length = newline + 1};
    }
    // llhttp lets some odd names pass. This refuses them, and folded lines.
    if (line > 0 && !is_token(content.substr(0, content.find(':')))) return refuse_with(HttpStatus::bad_request);
    line = newline + 1;
  }
}

HttpResult<HttpRequest> parse_request(std::string_view head) {
  const HttpResult<RequestLine> line = parse_request_line(head);
  if (!line) return refuse_with(line.error());

  Collector collector;
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings());
  parser.data = &collector;
  const llhttp_errno_t error = llhttp_execute(&parser, head.data(), head.size());
  if (error == HPE_INVALID_METHOD) return refuse_with(HttpStatus::not_implemented);
  if (error != HPE_PAUSED) return refuse_with(HttpStatus::bad_request);

  HttpRequest& request = collector.request;
  request.method = method_of(parser.method);
  request.version_1_0 = parser.http_minor == 0;
  // Who says both "keep-alive" and "close" has said "close" (RFC 9112, section 9.3); llhttp differs for HTTP/1.0.
  request.keep_alive = llhttp_should_keep_alive(&parser) != 0 && (parser.flags & F_CONNECTION_CLOSE) == 0;
  if (collector.bad || collector.hosts > 1 || (collector.hosts == 0 && !request.version_1_0) || collector.lengths > 1 ||
      collector.transfer_encodings > 1 || (collector.transfer_encodings > 0 && collector.lengths > 0) ||
      (collector.transfer_encodings > 0 && request.version_1_0)) {
    return refuse_with(HttpStatus::bad_request);
  }
  if (collector.unknown_coding) return refuse_with(HttpStatus::not_implemented);
  if (request.method == HttpMethod::other) return std::move(request);  // refused whatever it names
  if (request.method == HttpMethod::options && line->target == "*") return std::move(request);
  HttpResult<std::string> path = path_of_target(line->target);
  if (!path) return refuse_with(path.error());
  request.path = std::move(*path);
  const size_t query = line->target.find('?');
  request.lacks_slash = request.path.ends_with('/') && !line->target.substr(0, query).ends_with('/');
  if (query != std::string_view::npos) request.query = line->target.substr(query + 1);
  return std::move(request);
}

}  // namespace sluice
