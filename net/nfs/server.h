// NfsServer exports a store by NFS version 3 over TCP, MOUNT version 3 on the same port; no portmapper is needed.
//
//   auto server = TRY(NfsServer::start(store, {.address = ":2049", .key = key}));
//   server->stop(std::chrono::seconds(10));
//
// Threads: one event loop each (NfsOptions::threads), which answer what is known and send what is cached; all else runs
// on a pool of threads that may block.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "cache/clock.h"
#include "fs/store/backing_health.h"
#include "fs/store/store.h"
#include "net/event_loop.h"
#include "net/nfs/export_rules.h"
#include "net/nfs/file_table.h"
#include "net/nfs/handles.h"
#include "net/send_path.h"

namespace sluice {

struct NfsOptions {
  std::string address = ":2049";  // see parse_listen_address
  NfsExportKey key;               // of the export's handles
  NfsExportRules rules = NfsExportRules::loopback({});
  uint32_t threads = 2;
  uint32_t blocking_threads = 16;
  uint32_t blocking_threads_max = 16 + BackingHealth::kCallsMax;  // while those hang
  uint32_t blocking_queue_max = 4096;                             // calls that wait for a thread; beyond: JUKEBOX
  uint32_t connections_max = 1024;           // beyond: the one that is idle longest gives way, or clients wait
  uint32_t connections_per_address_max = 0;  // beyond: closed at once; see AddressCounts. 0: no limit
  std::chrono::nanoseconds send_timeout = std::chrono::seconds(60);    // without the client taking a byte
  std::chrono::nanoseconds idle_timeout = std::chrono::minutes(10);    // without a call
  std::chrono::nanoseconds reply_lifetime = std::chrono::minutes(10);  // of those kept for calls that come twice
  uint32_t replies_max = 8192;
  NfsFileTableOptions files;
  SendMethod send_method = SendMethod::automatic;
  uint64_t pinned_max_bytes = uint64_t{64} << 20;  // lent memory beyond which replies are copied
  uint32_t pipes_max = 64;                         // see SendOptions; of all threads
  LoopBackend backend = LoopBackend::automatic;
  const Clock* clock = &system_clock();
  // What decides how long requests wait for the backing. None: for ever. Outlives the server.
  BackingHealth* health = nullptr;
};

struct NfsStats {
  uint64_t connections_open = 0;
  uint64_t connections_accepted = 0;
  uint64_t connections_displaced = 0;  // idle ones that gave way to others
  uint64_t connections_refused = 0;    // of clients that had their share
  uint64_t calls = 0;
  uint64_t direct_calls = 0;  // of these: received and answered by a thread that had just run another one
  uint64_t reads = 0;
  uint64_t read_bytes = 0;
  uint64_t writes = 0;
  uint64_t write_bytes = 0;
  uint64_t errors = 0;          // calls that the RPC layer refused
  uint64_t denied = 0;          // connections of clients that may not use the export
  uint64_t repeated_calls = 0;  // that were answered from the reply cache
  uint64_t files = 0;           // remembered
  uint64_t open_files = 0;
  SendStats sent;
};

class NfsServer {
 public:
  // `store` outlives the server. Errors: those of parse_listen_address and listen_on; those of EventLoop::create.
  static Result<std::unique_ptr<NfsServer>> start(Store* store, NfsOptions options);
  virtual ~NfsServer() = default;  // stops at once

  virtual uint16_t port() const = 0;
  // Accepts no more, answers calls under way for at most `drain_timeout`, closes everything. May be called again.
  virtual void stop(std::chrono::nanoseconds drain_timeout) = 0;
  virtual NfsStats stats() const = 0;  // any thread
  // In place of the options' pinned_max_bytes, from now on. Any thread.
  virtual void set_pinned_max(uint64_t bytes) = 0;
};

}  // namespace sluice
