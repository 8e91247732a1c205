#include "tools/status.h"

#include <cerrno>
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

namespace sluice {
namespace {

GatewayStatus fake_status() {
  GatewayStatus status;
  status.pid = 42;
  status.version = "1.2.3";
  status.source = "/srv/archive";
  status.mountpoint = "/mnt/archive";
  status.uptime = std::chrono::minutes(90);
  status.cache.size_bytes = uint64_t{256} << 20;
  status.cache.resident_bytes = uint64_t{3} << 20;
  status.cache.hits = 9;
  status.cache.misses = 1;
  status.cache.readahead_issued_bytes = 4096;
  status.cache.readahead_wasted_bytes = 1024;
  status.cache.arena.frames_cooling = 7;
  status.policy = "midpoint";
  status.checksum = "off";
  status.release_proof = "collapse";
  status.disk.read_bytes = 8192;
  status.disk_engine = "io_uring";
  status.backing = {
      .hung = true, .hung_for = std::chrono::seconds(75), .calls = 3, .reads = 2, .writes = 1, .timed_out = 4};
  status.fuse = FuseStats{.requests = 5, .waiting = 6};
  status.http = HttpStats{.requests = 3, .sent = {.copy_bytes = 1, .vmsplice_bytes = 2, .zerocopy_bytes = 3}};
  status.http_address = "127.0.0.1:8080";
  status.send_method = "auto";
  return status;
}

TEST_CASE("status: JSON has an object per subject", "[tools][status]") {
  const auto json = nlohmann::json::parse(status_json(fake_status()));
  CHECK(json["pid"] == 42);
  CHECK(json["version"] == "1.2.3");
  CHECK(json["source"] == "/srv/archive");
  CHECK(json["mountpoint"] == "/mnt/archive");
  CHECK(json["uptime_seconds"] == 5400);
  for (const char* key : {"size_bytes", "resident_bytes", "metadata_bytes", "blocks", "hits", "misses", "evictions"}) {
    INFO(key);
    CHECK(json["cache"][key].is_number_unsigned());
  }
  CHECK(json["cache"]["policy"] == "midpoint");
  for (const char* key : {"read_bytes", "written_bytes", "reads", "writes", "errors"}) {
    INFO(key);
    CHECK(json["disk"][key].is_number_unsigned());
  }
  CHECK(json["disk"]["engine"] == "io_uring");
  CHECK(json["readahead"]["issued_bytes"] == 4096);
  CHECK(json["readahead"]["used_bytes"] == 0);
  CHECK(json["readahead"]["wasted_bytes"] == 1024);
  CHECK(json["backing"]["hung"] == true);
  CHECK(json["backing"]["hung_seconds"] == 75);
  CHECK(json["backing"]["requests_waiting"] == 6);
  CHECK(json["backing"]["calls_waiting"] == 3);
  CHECK(json["backing"]["reads_waiting"] == 2);
  CHECK(json["backing"]["writes_waiting"] == 1);
  CHECK(json["backing"]["timed_out"] == 4);
  CHECK(json["backing"]["interrupted"] == 0);
  CHECK(json["backing"]["refused"] == 0);
  CHECK(json["send"]["copy_bytes"] == 1);
  CHECK(json["send"]["vmsplice_bytes"] == 2);
  CHECK(json["send"]["zerocopy_bytes"] == 3);
  CHECK(json["send"]["method"] == "auto");
  CHECK(json["send"]["release_proof"] == "collapse");
  CHECK(json["arena"]["frames_cooling"] == 7);
  CHECK(json["fuse"]["requests"] == 5);
  CHECK(json["http"]["requests"] == 3);
  CHECK(json["http"]["address"] == "127.0.0.1:8080");
  CHECK(json["nfs"].is_null());
}

TEST_CASE("status: an export by NFS has its numbers, and its bytes count as sent", "[tools][status]") {
  GatewayStatus status = fake_status();
  status.nfs = NfsStats{.calls = 9, .denied = 2, .sent = {.copy_bytes = 10, .vmsplice_bytes = 20, .zerocopy_bytes = 30}};
  status.nfs_address = "127.0.0.1:2049";
  const std::string text = status_json(status);
  const auto json = nlohmann::json::parse(text);
  CHECK(json["nfs"]["calls"] == 9);
  CHECK(json["nfs"]["denied"] == 2);
  CHECK(json["nfs"]["address"] == "127.0.0.1:2049");
  CHECK(json["send"]["copy_bytes"] == 11);
  CHECK(json["send"]["vmsplice_bytes"] == 22);
  CHECK(json["send"]["zerocopy_bytes"] == 33);
  CHECK(status_table(text)->find("127.0.0.1:2049, 9 calls (0 malformed, 2 denied") != std::string::npos);
}

TEST_CASE("status: without a mount and without an export", "[tools][status]") {
  GatewayStatus status = fake_status();
  status.mountpoint.clear();
  status.fuse.reset();
  status.http.reset();
  const std::string text = status_json(status);
  const auto json = nlohmann::json::parse(text);
  CHECK(json["fuse"].is_null());
  CHECK(json["http"].is_null());
  CHECK(json["send"]["copy_bytes"] == 0);
  const auto table = status_table(text);
  REQUIRE(table);
  CHECK(table->find("fuse") == std::string::npos);
  CHECK(table->find("http") == std::string::npos);
}

TEST_CASE("status: a recording says what is in its file, what is not, and why it ended", "[tools][status]") {
  GatewayStatus status = fake_status();
  CHECK(nlohmann::json::parse(status_json(status))["trace"].is_null());
  status.trace = TraceRecorderStats{.records = 7, .written_bytes = 1024, .dropped = {.rate = 3, .memory = 2}};
  status.trace_file = "/var/tmp/trace";
  auto json = nlohmann::json::parse(status_json(status));
  CHECK(json["trace"]["file"] == "/var/tmp/trace");
  CHECK(json["trace"]["records"] == 7);
  CHECK(json["trace"]["written_bytes"] == 1024);
  CHECK(json["trace"]["dropped_rate"] == 3);
  CHECK(json["trace"]["dropped_memory"] == 2);
  CHECK(json["trace"]["error"].is_null());
  status.trace->error = ENOSPC;
  const std::string text = status_json(status);
  CHECK(nlohmann::json::parse(text)["trace"]["error"] == "No space left on device");
  const auto table = status_table(text);
  REQUIRE(table);
  CHECK(table->find("7 records, 1.0 KiB written, 3 dropped for the rate, 2 for want of memory; ended: No space") !=
        std::string::npos);
}

TEST_CASE("status: with checksums it says how many pages were looked at, and how many were bad", "[tools][status]") {
  GatewayStatus status = fake_status();
  const auto off = nlohmann::json::parse(status_json(status));
  CHECK(off["checksum"]["mode"] == "off");
  CHECK(off["checksum"]["pages_verified"] == 0);
  CHECK(status_table(status_json(status))->find("checksums") == std::string::npos);
  status.checksum = "scrub";
  status.cache.pages_verified = 70;
  status.cache.pages_bad = 2;
  const std::string text = status_json(status);
  const auto json = nlohmann::json::parse(text);
  CHECK(json["checksum"]["mode"] == "scrub");
  CHECK(json["checksum"]["pages_verified"] == 70);
  CHECK(json["checksum"]["pages_bad"] == 2);
  CHECK(status_table(text)->find("checksums  70 pages verified, 2 bad (scrub)") != std::string::npos);
}

TEST_CASE("status: a gateway tells who it is", "[tools][status]") {
  const auto identity = parse_identity(status_json(fake_status()));
  REQUIRE(identity);
  CHECK(identity->pid == 42);
  CHECK(identity->source == "/srv/archive");
  CHECK(identity->mountpoint == "/mnt/archive");
}

TEST_CASE("status: the table says what matters in words", "[tools][status]") {
  const auto table = status_table(status_json(fake_status()));
  REQUIRE(table);
  for (const char* said : {"/srv/archive on /mnt/archive", "pid 42", "1 h 30 min", "3.0 MiB of 256.0 MiB",
                           "90.0 % hits", "4.0 KiB issued", "io_uring", "http://127.0.0.1:8080/", "2 B by vmsplice"}) {
    INFO(said);
    CHECK(table->find(said) != std::string::npos);
  }
}

TEST_CASE("status: a path that is no UTF-8 does not break the JSON", "[tools][status]") {
  GatewayStatus status = fake_status();
  status.source = "/srv/\xff";
  CHECK(parse_identity(status_json(status)));
}

TEST_CASE("status: any other answer is refused, not trusted", "[tools][status]") {
  for (const char* text : {"", "error: no\n", "[]", "3", R"({"pid": "x"})", R"({"pid": -1})", "{"}) {
    INFO(text);
    CHECK_FALSE(parse_identity(text));
  }
  CHECK_FALSE(status_table("[]"));
  CHECK(status_table(R"({"pid": "x", "cache": 3, "http": "y"})"));
}

TEST_CASE("status: people are told that the backing hangs, and so is who asks for the identity", "[tools][status]") {
  GatewayStatus status = fake_status();
  CHECK(status_table(status_json(status))->find("has not answered for 1 min; 3 calls, 2 reads and 1 writes wait") !=
        std::string::npos);
  CHECK(parse_identity(status_json(status))->backing_hangs);
  status.backing = {};
  CHECK(status_table(status_json(status))->find("backing    answers; 0 calls") != std::string::npos);
  CHECK_FALSE(parse_identity(status_json(status))->backing_hangs);
}

}  // namespace
}  // namespace sluice
