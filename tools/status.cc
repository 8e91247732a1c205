#include "tools/status.h"

#include <fmt/format.h>

#include <initializer_list>
#include <nlohmann/json.hpp>

#include "cache/log.h"
#include "tools/option_values.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

Json cache_json(const GatewayStatus& status) {
  const CacheStats& cache = status.cache;
  return {
      {"size_bytes", cache.size_bytes},
      {"size_max_bytes", cache.size_max_bytes},
      {"resident_bytes", cache.resident_bytes},
      {"pinned_bytes", cache.pinned_bytes},
      {"metadata_bytes", cache.metadata_bytes},
      {"blocks", cache.blocks},
      {"hits", cache.hits},
      {"misses", cache.misses},
      {"evictions", cache.evictions},
      {"policy", status.policy},
  };
}

Json checksum_json(const GatewayStatus& status) {
  return {
      {"mode", status.checksum},
      {"pages_verified", status.cache.pages_verified},
      {"pages_bad", status.cache.pages_bad},
  };
}

Json arena_json(const GatewayStatus& status) {
  const ArenaStats& arena = status.cache.arena;
  return {
      {"frames_max", arena.frames_max},
      {"frames_free", arena.frames_free},
      {"frames_cooling", arena.frames_cooling},
      {"frames_replaced", arena.frames_replaced},
      {"slabs", arena.slabs},
      {"slabs_retiring", arena.slabs_retiring},
      {"frames_given", arena.frames_given},
      {"runs_given", arena.runs_given},
      {"release_tests", arena.release_tests},
      {"release_tests_busy", arena.release_tests_busy},
      {"release_proof", status.release_proof},
  };
}

Json disk_json(const GatewayStatus& status) {
  const DiskStats& disk = status.disk;
  return {
      {"read_bytes", disk.read_bytes},
      {"written_bytes", disk.written_bytes},
      {"reads", disk.reads},
      {"writes", disk.writes},
      {"errors", disk.errors},
      {"engine", status.disk_engine},
      {"direct_io_refused", status.store.direct_io_refused},
  };
}

Json readahead_json(const CacheStats& cache) {
  return {
      {"issued_bytes", cache.readahead_issued_bytes},
      {"used_bytes", cache.readahead_used_bytes},
      {"wasted_bytes", cache.readahead_wasted_bytes},
  };
}

Json store_json(const StoreStats& store) {
  return {
      {"inodes", store.inodes},
      {"files", store.files},
      {"open_files", store.open_files},
      {"descriptors", store.descriptors},
      {"outside_changes", store.outside_changes},
      {"metadata_items", store.metadata.items},
      {"metadata_bytes", store.metadata.bytes},
      {"metadata_hits", store.metadata.hits},
      {"metadata_misses", store.metadata.misses},
      {"watching", store.watching},
      {"watch_events", store.watch_events},
      {"watch_losses", store.watch_losses},
  };
}

Json write_back_json(const WriteBackStats& stats) {
  return {
      {"max_bytes", stats.max_bytes}, {"dirty_bytes", stats.dirty_bytes},     {"unsynced_bytes", stats.unsynced_bytes},
      {"files", stats.files},         {"written_bytes", stats.written_bytes}, {"waits", stats.waits},
      {"errors", stats.errors},       {"conflicts", stats.conflicts},         {"dropped_bytes", stats.dropped_bytes},
  };
}

Json backing_json(const GatewayStatus& status) {
  const BackingStats& backing = status.backing;
  return {
      {"hung", backing.hung},
      {"hung_seconds", std::chrono::duration_cast<std::chrono::seconds>(backing.hung_for).count()},
      {"requests_waiting", status.fuse ? status.fuse->waiting : 0},
      {"calls_waiting", backing.calls},
      {"reads_waiting", backing.reads},
      {"writes_waiting", backing.writes},
      {"timed_out", backing.timed_out},
      {"interrupted", backing.interrupted},
      {"refused", backing.refused},
  };
}

Json send_json(const GatewayStatus& status) {
  SendStats sent = status.http ? status.http->sent : SendStats();
  if (status.nfs) {
    sent.copy_bytes += status.nfs->sent.copy_bytes;
    sent.vmsplice_bytes += status.nfs->sent.vmsplice_bytes;
    sent.zerocopy_bytes += status.nfs->sent.zerocopy_bytes;
  }
  return {
      {"copy_bytes", sent.copy_bytes}, {"vmsplice_bytes", sent.vmsplice_bytes}, {"zerocopy_bytes", sent.zerocopy_bytes},
      {"method", status.send_method},  {"release_proof", status.release_proof},
  };
}

Json fuse_json(const FuseStats& fuse) {
  return {
      {"requests", fuse.requests},
      {"reads", fuse.reads},
      {"read_bytes", fuse.read_bytes},
      {"writes", fuse.writes},
      {"write_bytes", fuse.write_bytes},
      {"errors", fuse.errors},
      {"in_flight", fuse.in_flight},
      {"open_files", fuse.open_files},
      {"open_directories", fuse.open_directories},
      {"invalidations", fuse.invalidations},
      {"invalidations_dropped", fuse.invalidations_dropped},
      {"io_uring", fuse.io_uring},
      {"io_uring_requests", fuse.io_uring_requests},
      {"io_uring_touched_bytes", fuse.io_uring_touched_bytes},
      {"direct_io", fuse.direct_io},
  };
}

Json http_json(const GatewayStatus& status) {
  const HttpStats& http = *status.http;
  return {
      {"address", status.http_address},
      {"connections_open", http.connections_open},
      {"connections_accepted", http.connections_accepted},
      {"connections_displaced", http.connections_displaced},
      {"connections_refused", http.connections_refused},
      {"connections_denied", http.connections_denied},
      {"requests", http.requests},
      {"responses_2xx", http.responses_2xx},
      {"responses_3xx", http.responses_3xx},
      {"responses_4xx", http.responses_4xx},
      {"responses_5xx", http.responses_5xx},
      {"broken_off", http.broken_off},
      {"access_log_lines", status.access_log.lines},
      {"access_log_dropped", status.access_log.dropped},
  };
}

Json nfs_json(const GatewayStatus& status) {
  const NfsStats& nfs = *status.nfs;
  return {
      {"address", status.nfs_address},
      {"connections_open", nfs.connections_open},
      {"connections_accepted", nfs.connections_accepted},
      {"connections_displaced", nfs.connections_displaced},
      {"connections_refused", nfs.connections_refused},
      {"calls", nfs.calls},
      {"direct_calls", nfs.direct_calls},
      {"reads", nfs.reads},
      {"read_bytes", nfs.read_bytes},
      {"writes", nfs.writes},
      {"write_bytes", nfs.write_bytes},
      {"errors", nfs.errors},
      {"denied", nfs.denied},
      {"repeated_calls", nfs.repeated_calls},
      {"files", nfs.files},
      {"open_files", nfs.open_files},
  };
}

Json trace_json(const TraceRecorderStats& trace, const std::string& file) {
  return {
      {"file", file},
      {"records", trace.records},
      {"written_bytes", trace.written_bytes},
      {"dropped_rate", trace.dropped.rate},
      {"dropped_memory", trace.dropped.memory},
      {"error", trace.error == 0 ? Json() : Json(error_text(trace.error))},
  };
}

// nlohmann's accessors throw on a wrong type; what came over a socket may have any.
uint64_t number_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::string text_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const Json& object_at(const Json& object, const char* key) {
  static const Json empty = Json::object();
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : empty;
}

bool is_hung(const Json& backing) {
  const auto hung = backing.find("hung");
  return hung != backing.end() && hung->is_boolean() && hung->get<bool>();
}

std::optional<Json> parse_object(std::string_view text) {
  Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  return object;
}

std::string ratio(uint64_t part, uint64_t rest) {
  if (part + rest == 0) return "-";
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(part + rest));
}

std::string bytes_at(const Json& object, const char* key) {
  return format_size_rounded(number_at(object, key));
}

std::string uptime_text(uint64_t seconds) {
  const uint64_t minutes = seconds / 60;
  if (minutes == 0) return fmt::format("{} s", seconds);
  if (minutes < 60) return fmt::format("{} min", minutes);
  return fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

std::string cache_line(const Json& cache) {
  const std::string pinned =
      number_at(cache, "pinned_bytes") == 0 ? "" : fmt::format(", {} pinned", bytes_at(cache, "pinned_bytes"));
  return fmt::format("{} of {} resident{} ({} of it for the index), {} blocks, policy {}",
                     bytes_at(cache, "resident_bytes"), bytes_at(cache, "size_bytes"), pinned,
                     bytes_at(cache, "metadata_bytes"), number_at(cache, "blocks"), text_at(cache, "policy"));
}

std::string pages_line(const Json& cache) {
  const uint64_t hits = number_at(cache, "hits");
  const uint64_t misses = number_at(cache, "misses");
  return fmt::format("{} hits, {} misses ({} hits), {} blocks evicted", hits, misses, ratio(hits, misses),
                     number_at(cache, "evictions"));
}

std::string checksum_line(const Json& checksum) {
  return fmt::format("{} pages verified, {} bad ({})", number_at(checksum, "pages_verified"),
                     number_at(checksum, "pages_bad"), text_at(checksum, "mode"));
}

std::string arena_line(const Json& arena) {
  const auto runs = static_cast<double>(std::max<uint64_t>(1, number_at(arena, "runs_given")));
  const uint64_t retiring = number_at(arena, "slabs_retiring");
  const std::string going = retiring == 0 ? "" : fmt::format(" ({} of them go back to the system)", retiring);
  return fmt::format(
      "{} slabs{}, {} frames free, {} cooling, {} replaced, given in runs of {:.1f}; {} release tests, {} busy ({})",
      number_at(arena, "slabs"), going, number_at(arena, "frames_free"), number_at(arena, "frames_cooling"),
      number_at(arena, "frames_replaced"), static_cast<double>(number_at(arena, "frames_given")) / runs,
      number_at(arena, "release_tests"), number_at(arena, "release_tests_busy"), text_at(arena, "release_proof"));
}

std::string disk_line(const Json& disk) {
  return fmt::format("{} read in {}, {} written in {}, {} errors, by {}", bytes_at(disk, "read_bytes"),
                     number_at(disk, "reads"), bytes_at(disk, "written_bytes"), number_at(disk, "writes"),
                     number_at(disk, "errors"), text_at(disk, "engine"));
}

std::string readahead_line(const Json& readahead) {
  return fmt::format("{} issued, {} used, {} wasted", bytes_at(readahead, "issued_bytes"),
                     bytes_at(readahead, "used_bytes"), bytes_at(readahead, "wasted_bytes"));
}

std::string store_line(const Json& store) {
  return fmt::format("{} inodes known, {} files open, {} descriptors kept, {} changes from outside",
                     number_at(store, "inodes"), number_at(store, "open_files"), number_at(store, "descriptors"),
                     number_at(store, "outside_changes"));
}

std::string metadata_line(const Json& store) {
  return fmt::format(
      "{} in {} items, {} hits, {} misses; {}", bytes_at(store, "metadata_bytes"), number_at(store, "metadata_items"),
      number_at(store, "metadata_hits"), number_at(store, "metadata_misses"),
      store.value("watching", false) ? fmt::format("watching, {} events", number_at(store, "watch_events"))
                                     : "not watching");
}

std::string write_back_line(const Json& dirty) {
  return fmt::format(
      "{} dirty and {} not yet durable, of {} at most, in {} files; {} written, {} writes waited, {} errors{}{}",
      bytes_at(dirty, "dirty_bytes"), bytes_at(dirty, "unsynced_bytes"), bytes_at(dirty, "max_bytes"),
      number_at(dirty, "files"), bytes_at(dirty, "written_bytes"), number_at(dirty, "waits"),
      number_at(dirty, "errors"),
      number_at(dirty, "conflicts") == 0 ? "" : fmt::format(", {} conflicts", number_at(dirty, "conflicts")),
      number_at(dirty, "dropped_bytes") == 0 ? "" : fmt::format(", {} dropped", bytes_at(dirty, "dropped_bytes")));
}

std::string backing_line(const Json& backing) {
  const std::string state =
      is_hung(backing) ? fmt::format("has not answered for {}", uptime_text(number_at(backing, "hung_seconds")))
                       : "answers";
  return fmt::format(
      "{}; {} calls, {} reads and {} writes wait; {} requests timed out, {} interrupted, {} failed at once", state,
      number_at(backing, "calls_waiting"), number_at(backing, "reads_waiting"), number_at(backing, "writes_waiting"),
      number_at(backing, "timed_out"), number_at(backing, "interrupted"), number_at(backing, "refused"));
}

std::string send_line(const Json& send) {
  return fmt::format("{} by copy, {} by vmsplice, {} by zerocopy (method {})", bytes_at(send, "copy_bytes"),
                     bytes_at(send, "vmsplice_bytes"), bytes_at(send, "zerocopy_bytes"), text_at(send, "method"));
}

std::string http_line(const Json& http) {
  return fmt::format("http://{}/, {} requests ({} refused, {} failed, {} broken off), {} connections open",
                     text_at(http, "address"), number_at(http, "requests"), number_at(http, "responses_4xx"),
                     number_at(http, "responses_5xx"), number_at(http, "broken_off"),
                     number_at(http, "connections_open"));
}

std::string nfs_line(const Json& nfs) {
  return fmt::format("{}, {} calls ({} malformed, {} denied, {} repeated); {} read, {} written, {} connections open",
                     text_at(nfs, "address"), number_at(nfs, "calls"), number_at(nfs, "errors"),
                     number_at(nfs, "denied"), number_at(nfs, "repeated_calls"), bytes_at(nfs, "read_bytes"),
                     bytes_at(nfs, "write_bytes"), number_at(nfs, "connections_open"));
}

std::string fuse_line(const Json& fuse) {
  const bool io_uring = fuse.value("io_uring", false);
  return fmt::format("{} requests{}, {} errors; {} read, {} written, {} files open", number_at(fuse, "requests"),
                     io_uring ? " over io_uring" : "", number_at(fuse, "errors"), bytes_at(fuse, "read_bytes"),
                     bytes_at(fuse, "write_bytes"), number_at(fuse, "open_files"));
}

std::string trace_line(const Json& trace) {
  const std::string error = text_at(trace, "error");
  return fmt::format("{}: {} records, {} written, {} dropped for the rate, {} for want of memory{}",
                     text_at(trace, "file"), number_at(trace, "records"), bytes_at(trace, "written_bytes"),
                     number_at(trace, "dropped_rate"), number_at(trace, "dropped_memory"),
                     error.empty() ? "" : "; ended: " + error);
}

}  // namespace

std::string status_json(const GatewayStatus& status) {
  const Json json = {
      {"pid", status.pid},
      {"version", status.version},
      {"source", status.source},
      {"mountpoint", status.mountpoint},
      {"metrics_address", status.metrics_address},
      {"uptime_seconds", std::chrono::duration_cast<std::chrono::seconds>(status.uptime).count()},
      {"cache", cache_json(status)},
      {"checksum", checksum_json(status)},
      {"arena", arena_json(status)},
      {"disk", disk_json(status)},
      {"readahead", readahead_json(status.cache)},
      {"store", store_json(status.store)},
      {"write_back", status.store.write_back ? write_back_json(*status.store.write_back) : Json()},
      {"backing", backing_json(status)},
      {"send", send_json(status)},
      {"fuse", status.fuse ? fuse_json(*status.fuse) : Json()},
      {"http", status.http ? http_json(status) : Json()},
      {"nfs", status.nfs ? nfs_json(status) : Json()},
      {"trace", status.trace ? trace_json(*status.trace, status.trace_file) : Json()},
  };
  // Paths may hold any bytes; JSON may not.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<GatewayIdentity> parse_identity(std::string_view json) {
  const std::optional<Json> object = parse_object(json);
  if (!object || number_at(*object, "pid") == 0) return std::nullopt;
  return GatewayIdentity{static_cast<pid_t>(number_at(*object, "pid")), text_at(*object, "source"),
                         text_at(*object, "mountpoint"), is_hung(object_at(*object, "backing")),
                         number_at(object_at(*object, "write_back"), "written_bytes")};
}

Checked<std::string> status_table(std::string_view json) {
  const std::optional<Json> status = parse_object(json);
  if (!status) return complain("the gateway's answer is not understood; is it of another version?");
  const std::string mountpoint = text_at(*status, "mountpoint");
  std::string table;
  const auto add = [&table](std::string_view subject, std::string_view line) {
    table += fmt::format("{:<11}{}\n", subject, line);
  };
  add("gateway", fmt::format("{}{}{}, pid {}, up {}, version {}", text_at(*status, "source"),
                             mountpoint.empty() ? "" : " on ", mountpoint, number_at(*status, "pid"),
                             uptime_text(number_at(*status, "uptime_seconds")), text_at(*status, "version")));
  add("cache", cache_line(object_at(*status, "cache")));
  add("pages", pages_line(object_at(*status, "cache")));
  const Json& checksum = object_at(*status, "checksum");
  if (!checksum.empty() && text_at(checksum, "mode") != "off") add("checksums", checksum_line(checksum));
  add("memory", arena_line(object_at(*status, "arena")));
  add("disk", disk_line(object_at(*status, "disk")));
  add("readahead", readahead_line(object_at(*status, "readahead")));
  add("files", store_line(object_at(*status, "store")));
  add("metadata", metadata_line(object_at(*status, "store")));
  if (!object_at(*status, "write_back").empty()) add("delayed", write_back_line(object_at(*status, "write_back")));
  if (const Json& backing = object_at(*status, "backing"); !backing.empty()) add("backing", backing_line(backing));
  if (!mountpoint.empty()) add("fuse", fuse_line(object_at(*status, "fuse")));
  if (!object_at(*status, "http").empty()) add("http", http_line(object_at(*status, "http")));
  if (!object_at(*status, "nfs").empty()) add("nfs", nfs_line(object_at(*status, "nfs")));
  if (!object_at(*status, "http").empty() || !object_at(*status, "nfs").empty())
    add("send", send_line(object_at(*status, "send")));
  if (!object_at(*status, "trace").empty()) add("trace", trace_line(object_at(*status, "trace")));
  return table;
}

}  // namespace sluice
