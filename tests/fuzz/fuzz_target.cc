// Request targets: what is accepted is a clean path below the export; and names that are shown lead back to themselves.
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/assert.h"
#include "net/http/request.h"
#include "net/http/text.h"
#include "net/http/url_space.h"

using namespace sluice;  // NOLINT(google-build-using-namespace): a driver has nothing else

namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string shown;
  append_html(input, shown);
  ASSERT(!has(shown, "<") && !has(shown, "\""));
  shown.clear();
  append_json_string(input, shown);

  const HttpResult<std::string> path = path_of_target(input);
  if (!path) return 0;
  const std::string framed = "/" + *path + (path->ends_with('/') || path->empty() ? "" : "/");
  ASSERT(!has(framed, "//") && !has(framed, "/./") && !has(framed, "/../") && framed.find('\0') == framed.npos);
  const UrlPlace place = place_of({.prefix = "a/", .dotfiles = false}, *path);
  ASSERT(!place.is_served || place.lacks_slash || place.path.find("/.") == std::string::npos ||
         place.path.starts_with(".well-known/"));
  std::string encoded = "/";
  append_percent_encoded(*path, true, encoded);
  const HttpResult<std::string> again = path_of_target(encoded);
  ASSERT(again && *again == *path);
  return 0;
}
