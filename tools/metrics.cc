#include "tools/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice {
namespace {

using Json = nlohmann::json;
constexpr bool kCounter = true;
constexpr bool kGauge = false;

// Null when there is none.
const Json* find(const Json& status, std::string_view field) {
  const Json* value = &status;
  while (!field.empty()) {
    const size_t dot = std::min(field.find('.'), field.size());
    if (!value->is_object()) return nullptr;
    const auto found = value->find(std::string(field.substr(0, dot)));
    if (found == value->end()) return nullptr;
    value = &*found;
    field.remove_prefix(std::min(dot + 1, field.size()));
  }
  return value;
}

std::string value_text(const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  return value.is_number_unsigned() ? fmt::to_string(value.get<uint64_t>()) : "";
}

// Of a label's value.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\' || c == '"') result += '\\';
    result += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return result;
}

std::string text_at(const Json& status, std::string_view field) {
  const Json* const value = find(status, field);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

void append_head(std::string_view name, bool is_counter, std::string_view help, std::string& text) {
  text += fmt::format("# HELP sluice_{} {}\n# TYPE sluice_{} {}\n", name, help, name, is_counter ? "counter" : "gauge");
}

}  // namespace

// clang-format off
const std::vector<MetricSpec>& metric_table() {
  static const std::vector<MetricSpec> table = {
      {"uptime_seconds", "uptime_seconds", "", kGauge, "Time since the gateway started."},

      {"cache.size_bytes", "cache_size_bytes", "", kGauge, "Memory the cache may use."},
      {"cache.size_max_bytes", "cache_size_max_bytes", "", kGauge, "What cache_size_bytes may be set to."},
      {"cache.resident_bytes", "cache_resident_bytes", "", kGauge, "Valid pages in the cache."},
      {"cache.pinned_bytes", "cache_pinned_bytes", "", kGauge, "Pages that are not evicted."},
      {"cache.metadata_bytes", "cache_metadata_bytes", "", kGauge, "Memory of index and policy."},
      {"cache.blocks", "cache_blocks", "", kGauge, "Blocks in the cache."},
      {"cache.hits", "cache_hits_total", "", kCounter, "Pages found in the cache."},
      {"cache.misses", "cache_misses_total", "", kCounter, "Pages read because somebody asked."},
      {"cache.evictions", "cache_evictions_total", "", kCounter, "Blocks evicted."},
      {"checksum.pages_verified", "checksum_verified_pages_total", "", kCounter, "Pages whose checksum was compared."},
      {"checksum.pages_bad", "checksum_bad_pages_total", "", kCounter, "Pages that had changed by themselves."},

      {"arena.frames_max", "arena_frames_max", "", kGauge, "Frames of 4 KiB the cache may have."},
      {"arena.frames_free", "arena_frames_free", "", kGauge, "Frames that are free."},
      {"arena.frames_cooling", "arena_frames_cooling", "", kGauge, "Frames lent and not yet known to be released."},
      {"arena.slabs", "arena_slabs", "", kGauge, "Slabs of 2 MiB taken from the system."},
      {"arena.slabs_retiring", "arena_slabs_retiring", "", kGauge, "Slabs on their way back to the system."},
      {"arena.frames_given", "arena_frames_given_total", "", kCounter, "Frames given."},
      {"arena.runs_given", "arena_runs_given_total", "", kCounter, "Runs of frames given."},
      {"arena.frames_replaced", "arena_frames_replaced_total", "", kCounter, "Frames whose memory was replaced."},
      {"arena.release_tests", "arena_release_tests_total", "", kCounter, "Tests of lent memory."},
      {"arena.release_tests_busy", "arena_release_tests_busy_total", "", kCounter, "Tests that found it in use."},

      {"disk.read_bytes", "disk_read_bytes_total", "", kCounter, "Bytes read from SOURCE."},
      {"disk.written_bytes", "disk_written_bytes_total", "", kCounter, "Bytes written to SOURCE."},
      {"disk.reads", "disk_reads_total", "", kCounter, "Reads of SOURCE."},
      {"disk.writes", "disk_writes_total", "", kCounter, "Writes to SOURCE."},
      {"disk.errors", "disk_errors_total", "", kCounter, "Reads and writes of SOURCE that failed."},
      {"disk.direct_io_refused", "disk_direct_io_refused_total", "", kCounter, "Opens where O_DIRECT was refused."},
      {"readahead.issued_bytes", "readahead_issued_bytes_total", "", kCounter, "Bytes read ahead."},
      {"readahead.used_bytes", "readahead_used_bytes_total", "", kCounter, "Of these, those that were asked for."},
      {"readahead.wasted_bytes", "readahead_wasted_bytes_total", "", kCounter, "Of these, those dropped unused."},

      {"store.inodes", "store_inodes", "", kGauge, "Inodes known."},
      {"store.files", "store_files", "", kGauge, "Files open, open until just now, or cached in part."},
      {"store.open_files", "store_open_files", "", kGauge, "Open files."},
      {"store.descriptors", "store_descriptors", "", kGauge, "Descriptors kept for reuse."},
      {"store.outside_changes", "store_outside_changes_total", "", kCounter, "Files found changed by others."},
      {"store.metadata_items", "store_metadata_items", "", kGauge, "Names and attributes kept."},
      {"store.metadata_bytes", "store_metadata_bytes", "", kGauge, "Their memory."},
      {"store.metadata_hits", "store_metadata_hits_total", "", kCounter, "Names and attributes found there."},
      {"store.metadata_misses", "store_metadata_misses_total", "", kCounter, "Those that were not there."},
      {"store.watching", "store_watching", "", kGauge, "1 while changes by others are watched."},
      {"store.watch_events", "store_watch_events_total", "", kCounter, "Changes by others that were heard of."},
      {"store.watch_losses", "store_watch_losses_total", "", kCounter, "Times that events were lost."},

      {"write_back.max_bytes", "write_back_max_bytes", "", kGauge, "What delayed writes may leave in the cache."},
      {"write_back.dirty_bytes", "write_back_dirty_bytes", "", kGauge, "Bytes that SOURCE does not have yet."},
      {"write_back.unsynced_bytes", "write_back_unsynced_bytes", "", kGauge, "Bytes that it has, not yet durable."},
      {"write_back.files", "write_back_files", "", kGauge, "Files with such bytes."},
      {"write_back.written_bytes", "write_back_written_bytes_total", "", kCounter, "Delayed bytes written."},
      {"write_back.waits", "write_back_waits_total", "", kCounter, "Writes that waited for room."},
      {"write_back.errors", "write_back_errors_total", "", kCounter, "Times that a file could not be written."},
      {"write_back.conflicts", "write_back_conflicts_total", "", kCounter, "Files that others changed meanwhile."},
      {"write_back.dropped_bytes", "write_back_dropped_bytes_total", "", kCounter, "Bytes dropped on demand."},

      {"backing.hung", "backing_hung", "", kGauge, "1 while SOURCE does not answer."},
      {"backing.hung_seconds", "backing_hung_seconds", "", kGauge, "For how long it has not."},
      {"backing.requests_waiting", "backing_requests_waiting", "", kGauge, "Requests of the mount that wait."},
      {"backing.calls_waiting", "backing_calls_waiting", "", kGauge, "System calls that wait for SOURCE."},
      {"backing.reads_waiting", "backing_reads_waiting", "", kGauge, "Reads that wait for it."},
      {"backing.writes_waiting", "backing_writes_waiting", "", kGauge, "Writes that wait for it."},
      {"backing.timed_out", "backing_timed_out_total", "", kCounter, "Requests that waited too long for it."},
      {"backing.interrupted", "backing_interrupted_total", "", kCounter, "Requests given up by who asked."},
      {"backing.refused", "backing_refused_total", "", kCounter, "Requests failed at once while it hung."},

      {"send.copy_bytes", "send_bytes_total", "method=\"copy\"", kCounter, "Bytes handed to sockets."},
      {"send.vmsplice_bytes", "send_bytes_total", "method=\"vmsplice\"", kCounter, ""},
      {"send.zerocopy_bytes", "send_bytes_total", "method=\"zerocopy\"", kCounter, ""},

      {"fuse.requests", "fuse_requests_total", "", kCounter, "Requests of the mount."},
      {"fuse.reads", "fuse_reads_total", "", kCounter, "Reads of it."},
      {"fuse.read_bytes", "fuse_read_bytes_total", "", kCounter, "Bytes read by it."},
      {"fuse.writes", "fuse_writes_total", "", kCounter, "Writes of it."},
      {"fuse.write_bytes", "fuse_written_bytes_total", "", kCounter, "Bytes written by it."},
      {"fuse.errors", "fuse_errors_total", "", kCounter, "Requests answered with an error."},
      {"fuse.in_flight", "fuse_in_flight", "", kGauge, "Requests that are worked on."},
      {"fuse.open_files", "fuse_open_files", "", kGauge, "Files open in the mount."},
      {"fuse.open_directories", "fuse_open_directories", "", kGauge, "Directories open in the mount."},
      {"fuse.invalidations", "fuse_invalidations_total", "", kCounter, "Invalidations asked of the kernel."},
      {"fuse.invalidations_dropped", "fuse_invalidations_dropped_total", "", kCounter, "Those that found no room."},
      {"fuse.io_uring", "fuse_io_uring", "", kGauge, "1 when requests come over io_uring."},
      {"fuse.io_uring_requests", "fuse_io_uring_requests_total", "", kCounter, "Requests that came over it."},
      {"fuse.io_uring_touched_bytes", "fuse_io_uring_touched_bytes", "", kGauge, "Memory kept for them."},
      {"fuse.direct_io", "fuse_direct_io", "", kGauge, "1 when data bypasses the kernel's cache."},

      {"http.connections_open", "http_connections_open", "", kGauge, "Connections."},
      {"http.connections_accepted", "http_connections_accepted_total", "", kCounter, "Connections so far."},
      {"http.connections_displaced", "http_connections_displaced_total", "", kCounter,
       "Idle connections that gave way."},
      {"http.connections_refused", "http_connections_refused_total", "", kCounter,
       "Connections of addresses that had their share."},
      {"http.connections_denied", "http_connections_denied_total", "", kCounter,
       "Connections of addresses that are not allowed."},
      {"http.requests", "http_requests_total", "", kCounter, "Requests answered."},
      {"http.responses_2xx", "http_responses_total", "code=\"2xx\"", kCounter, "Answers by class of status."},
      {"http.responses_3xx", "http_responses_total", "code=\"3xx\"", kCounter, ""},
      {"http.responses_4xx", "http_responses_total", "code=\"4xx\"", kCounter, ""},
      {"http.responses_5xx", "http_responses_total", "code=\"5xx\"", kCounter, ""},
      {"http.broken_off", "http_broken_off_total", "", kCounter, "Answers that ended early."},
      {"http.access_log_lines", "http_access_log_lines_total", "", kCounter, "Lines of the access log."},
      {"http.access_log_dropped", "http_access_log_dropped_lines_total", "", kCounter, "Lines that were dropped."},
      {"nfs.connections_open", "nfs_connections_open", "", kGauge, "Connections."},
      {"nfs.connections_accepted", "nfs_connections_accepted_total", "", kCounter, "Connections so far."},
      {"nfs.connections_displaced", "nfs_connections_displaced_total", "", kCounter,
       "Idle connections that gave way."},
      {"nfs.connections_refused", "nfs_connections_refused_total", "", kCounter,
       "Connections of addresses that had their share."},
      {"nfs.calls", "nfs_calls_total", "", kCounter, "Calls."},
      {"nfs.direct_calls", "nfs_direct_calls_total", "", kCounter, "Calls that one thread received, ran and answered."},
      {"nfs.reads", "nfs_reads_total", "", kCounter, "Calls of READ."},
      {"nfs.read_bytes", "nfs_read_bytes_total", "", kCounter, "Bytes that they read."},
      {"nfs.writes", "nfs_writes_total", "", kCounter, "Calls of WRITE."},
      {"nfs.write_bytes", "nfs_write_bytes_total", "", kCounter, "Bytes that they wrote."},
      {"nfs.errors", "nfs_malformed_calls_total", "", kCounter, "Calls that could not be decoded."},
      {"nfs.denied", "nfs_denied_connections_total", "", kCounter, "Connections of clients that may not use the export."},
      {"nfs.repeated_calls", "nfs_repeated_calls_total", "", kCounter, "Calls answered from the reply cache."},
      {"nfs.files", "nfs_files", "", kGauge, "Files that clients named last."},
      {"nfs.open_files", "nfs_open_files", "", kGauge, "Those of them that are open."},

      {"trace.records", "trace_records_total", "", kCounter, "Records of --trace-out."},
      {"trace.written_bytes", "trace_written_bytes_total", "", kCounter, "Bytes of it."},
      {"trace.dropped_rate", "trace_dropped_total", "reason=\"rate\"", kCounter, "Requests that were not recorded."},
      {"trace.dropped_memory", "trace_dropped_total", "reason=\"memory\"", kCounter, ""},
  };
  return table;
}
// clang-format on

std::string metrics_text(std::string_view status_json) {
  const Json status = Json::parse(status_json, nullptr, false);
  std::string text;
  append_head("info", kGauge, "What this gateway is; always 1.", text);
  text += fmt::format("sluice_info{{version=\"{}\",source=\"{}\",mountpoint=\"{}\",policy=\"{}\"}} 1\n",
                      escaped(text_at(status, "version")), escaped(text_at(status, "source")),
                      escaped(text_at(status, "mountpoint")), escaped(text_at(status, "cache.policy")));
  std::string_view previous;
  for (const MetricSpec& metric : metric_table()) {
    const Json* const value = find(status, metric.field);
    const std::string number = value == nullptr ? "" : value_text(*value);
    if (number.empty()) continue;
    if (metric.name != previous) append_head(metric.name, metric.is_counter, metric.help, text);
    previous = metric.name;
    text += metric.label.empty() ? fmt::format("sluice_{} {}\n", metric.name, number)
                                 : fmt::format("sluice_{}{{{}}} {}\n", metric.name, metric.label, number);
  }
  return text;
}

}  // namespace sluice
