#include "net/http/url_space.h"

namespace sluice {
namespace {

constexpr std::string_view kWellKnown = ".well-known/";

bool has_dotfile(std::string_view path) {
  return path.starts_with('.') || path.find("/.") != std::string_view::npos;
}

}  // namespace

UrlPlace place_of(const UrlSpace& space, std::string_view path) {
  const std::string_view prefix = space.prefix;
  if (!path.starts_with(prefix)) {
    const bool lacks_slash = path == prefix.substr(0, prefix.size() - 1);
    return {.is_served = lacks_slash, .lacks_slash = lacks_slash};
  }
  path.remove_prefix(prefix.size());
  const std::string_view checked = path.starts_with(kWellKnown) ? path.substr(kWellKnown.size()) : path;
  if (!space.dotfiles && has_dotfile(checked)) return {};
  return {.is_served = true, .path = std::string(path)};
}

}  // namespace sluice
