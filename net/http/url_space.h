// Which URLs are served, and what they name in the export.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

struct UrlSpace {
  std::string prefix = {};  // only what is below it is served; "" or like "pub/data/"
  bool dotfiles = true;     // names with a dot in front are served
};

// Of the path of a URL (see path_of_target), relative as that is.
struct UrlPlace {
  bool is_served = false;
  bool lacks_slash = false;  // it names the prefix, but for the slash
  std::string path = {};     // in the export
};
// With hidden dot files ".well-known" is served nevertheless, at the top: RFC 8615 gives it to who has the whole host.
UrlPlace place_of(const UrlSpace& space, std::string_view path);

}  // namespace sluice
