#include "net/http/url_space.h"

#include "tests/support/catch.h"

namespace sluice {
namespace {

std::string place(const UrlSpace& space, std::string_view path) {
  const UrlPlace place = place_of(space, path);
  if (!place.is_served) return "no";
  return place.lacks_slash ? "lacks slash" : "/" + place.path;
}

TEST_CASE("http urls: only what is below the prefix is served, without it", "[net][http]") {
  const UrlSpace space{.prefix = "pub/data/"};
  CHECK(place(space, "pub/data/") == "/");
  CHECK(place(space, "pub/data/a/b/") == "/a/b/");
  CHECK(place(space, "pub/data") == "lacks slash");
  for (const char* outside : {"", "pub", "pub/", "pub/data2/a", "pub/dat", "data/a", "x/pub/data/a"}) {
    INFO(outside);
    CHECK(place(space, outside) == "no");
  }
  CHECK(place({}, "") == "/");
  CHECK(place({}, "a") == "/a");
}

TEST_CASE("http urls: dot files are hidden wherever they are on the way, but for .well-known at the top",
          "[net][http]") {
  const UrlSpace space{.dotfiles = false};
  for (const char* hidden : {".git", ".git/config", "a/.env", "a/.b/c", "...", ".well-known", ".well-known/.x",
                             "a/.well-known/x", ".well-knownx/a"}) {
    INFO(hidden);
    CHECK(place(space, hidden) == "no");
    CHECK(place({}, hidden) != "no");
  }
  for (const char* shown : {"", "a.b", "a./b", ".well-known/acme", "a..b/c"}) {
    INFO(shown);
    CHECK(place(space, shown) != "no");
  }
  CHECK(place({.prefix = ".p/", .dotfiles = false}, ".p/a") == "/a");
  CHECK(place({.prefix = "p/", .dotfiles = false}, "p/.a") == "no");
}

}  // namespace
}  // namespace sluice
