#include "net/http/content_type.h"

#include <string>

#include "tests/support/catch.h"

namespace sluice {
namespace {

TEST_CASE("http content types: by the ending, whatever its case", "[net][http]") {
  const ContentTypes types("/nonexistent");
  CHECK(types.of("a.html") == "text/html");
  CHECK(types.of("dir.d/A.JPG") == "image/jpeg");
  CHECK(types.of("archive.tar.gz") == "application/gzip");
  for (const char* unknown : {"", "README", "dir.html/file", "x.", "x.unknown"}) {
    INFO(unknown);
    CHECK(types.of(unknown) == "application/octet-stream");
  }
  CHECK(types.of("x." + std::string(1000, 'y')) == "application/octet-stream");
}

}  // namespace
}  // namespace sluice
