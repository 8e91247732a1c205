// What `sluice status` shows: the gateway writes it as one JSON object, the client prints that as it is or as a table.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache/block_cache.h"
#include "cache/disk.h"
#include "cache/trace_recorder.h"
#include "fs/fuse/session.h"
#include "fs/store/backing_health.h"
#include "fs/store/store.h"
#include "net/http/server.h"
#include "net/nfs/server.h"
#include "tools/complaint.h"

namespace sluice {

struct GatewayStatus {
  pid_t pid = 0;
  std::string version;
  std::string source;
  std::string mountpoint;  // empty: none
  std::chrono::nanoseconds uptime{};
  CacheStats cache;
  std::string policy;
  std::string checksum;
  std::string release_proof;
  DiskStats disk;
  std::string disk_engine;
  StoreStats store;
  BackingStats backing;
  std::optional<FuseStats> fuse;  // nothing: no mount
  std::optional<HttpStats> http;  // nothing: no export
  std::string http_address;
  std::optional<NfsStats> nfs;  // nothing: no export
  std::string nfs_address;
  AccessLogStats access_log;
  std::string metrics_address;  // empty: none
  std::string send_method;
  std::optional<TraceRecorderStats> trace;  // nothing: no recording
  std::string trace_file;
};

std::string status_json(const GatewayStatus& status);

// Who a gateway says it is.
struct GatewayIdentity {
  pid_t pid = 0;
  std::string source;
  std::string mountpoint;
  bool backing_hangs = false;
  uint64_t delayed_bytes_written = 0;  // so far
};
std::optional<GatewayIdentity> parse_identity(std::string_view json);

// For people: one line per subject. Complains about an answer that is no status.
Checked<std::string> status_table(std::string_view json);

}  // namespace sluice
