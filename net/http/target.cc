#include <strings.h>

#include <vector>

#include "net/http/authority.h"
#include "net/http/characters.h"
#include "net/http/request.h"

namespace sluice {
namespace {

// The path and query of "http://host/path?query", whose host must be one.
HttpResult<std::string_view> without_authority(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() < scheme.size() || ::strncasecmp(target.data(), scheme.data(), scheme.size()) != 0) continue;
    const size_t path = target.find_first_of("/?", scheme.size());
    const std::string_view authority = target.substr(0, path).substr(scheme.size());
    const bool is_named = !authority.empty() && authority.front() != ':';
    if (!is_named || !is_authority(authority)) return refuse_with(HttpStatus::bad_request);
    return path == std::string_view::npos ? "/" : target.substr(path);
  }
  return target;
}

HttpResult<std::string> decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return refuse_with(HttpStatus::bad_request);
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return refuse_with(HttpStatus::bad_request);
      c = static_cast<char>(high * 16 + low);
      i += 2;
      if (c == '\0') return refuse_with(HttpStatus::bad_request);
    }
    decoded.push_back(c);
  }
  return decoded;
}

// After decoding, so that "%2e%2e%2f" is the same as "../".
HttpResult<std::string> resolve_segments(std::string_view path) {
  std::string resolved;
  std::vector<size_t> starts;  // of the segments in `resolved`
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view segment = path.substr(0, slash);
    const bool last = slash == std::string_view::npos;
    path = last ? std::string_view() : path.substr(slash + 1);
    if (segment.empty() || segment == ".") continue;
    if (segment == "..") {
      if (starts.empty()) return refuse_with(HttpStatus::bad_request);
      resolved.resize(starts.back());
      starts.pop_back();
      continue;
    }
    starts.push_back(resolved.size());
    resolved.append(segment);
    if (!last) resolved.push_back('/');
  }
  return resolved;
}

}  // namespace

HttpResult<std::string> path_of_target(std::string_view target) {
  for (const char c : target) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7f || byte == '#') return refuse_with(HttpStatus::bad_request);
  }
  const HttpResult<std::string_view> local = without_authority(target);
  if (!local) return refuse_with(local.error());
  target = *local;
  const std::string_view path = target.substr(0, target.find('?'));
  if (target.starts_with('?')) return std::string();  // "http://host?query"
  if (path.empty() || path.front() != '/') return refuse_with(HttpStatus::bad_request);
  const auto has = [path](std::string_view text) { return path.find(text) != std::string_view::npos; };
  if (!has("%") && !has("//") && !has("/.")) return std::string(path.substr(1));
  HttpResult<std::string> decoded = decode(path);
  if (!decoded) return decoded;
  return resolve_segments(*decoded);
}

}  // namespace sluice
