#include "tools/bench/nfs_bench.h"

#include "tests/support/catch.h"

namespace sluice {

TEST_CASE("nfs bench: a URL names the server, its ports and a path", "[tools][bench]") {
  const NfsUrl whole = parse_nfs_url("nfs://127.0.0.1:20490/a/b c?mountport=20048").value();
  CHECK(whole.address == "127.0.0.1");
  CHECK(whole.port == 20490);
  CHECK(whole.mount_port == 20048);
  CHECK(whole.path == "/a/b c");
  const NfsUrl least = parse_nfs_url("nfs://10.1.2.3").value();
  CHECK(least.port == 2049);
  CHECK(least.mount_port == 2049);
  CHECK(least.path.empty());
  CHECK(parse_nfs_url("nfs://10.1.2.3:77/").value().mount_port == 77);
}

TEST_CASE("nfs bench: what is no URL is named", "[tools][bench]") {
  for (const char* text : {"", "127.0.0.1", "http://127.0.0.1/", "nfs://host/", "nfs://127.0.0.1/a?version=3"})
    CHECK(parse_nfs_url(text).error().line.find("is no URL like nfs://") != std::string::npos);
  for (const char* text : {"nfs://1.2.3.4:/", "nfs://1.2.3.4:0/", "nfs://1.2.3.4:65536/", "nfs://1.2.3.4:1x/",
                           "nfs://1.2.3.4/?mountport="})
    CHECK(parse_nfs_url(text).error().line.find("is no port") != std::string::npos);
}

}  // namespace sluice
