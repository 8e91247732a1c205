// HttpServer exports a store over HTTP/1.1: GET and HEAD of regular files, with ranges and conditions, out of the
// cache, and pages of directories.
//
//   auto server = TRY(HttpServer::start(store, {.address = ":8080", .caller = nobody}));
//   server->port();
//   server->stop(std::chrono::seconds(10));
//
// Threads: one event loop each (HttpOptions::threads), plus a few for opens that the store cannot do without blocking,
// and for directories.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/clock.h"
#include "fs/store/backing_health.h"
#include "fs/store/store.h"
#include "net/event_loop.h"
#include "net/http/access_log.h"
#include "net/http/url_space.h"
#include "net/peer_address.h"
#include "net/send_path.h"

namespace sluice {

struct HttpOptions {
  std::string address = ":8080";  // see parse_listen_address
  uint32_t threads = 2;
  Caller caller = {};  // files are opened as this user
  UrlSpace urls = {};
  std::string cache_control = {};                    // of files; empty: none
  std::vector<std::string> index_names = {};         // files that stand for their directory, the first that is there
  bool listing = true;                               // pages of directories; else 403
  uint64_t sorted_pages_bytes = uint64_t{32} << 20;  // of memory, all together; see directory_page.h
  SendMethod send_method = SendMethod::automatic;
  uint64_t pinned_max_bytes = uint64_t{64} << 20;                      // lent memory beyond which replies are copied
  std::chrono::nanoseconds header_timeout = std::chrono::seconds(10);  // for a whole request head
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(75);    // between requests
  std::chrono::nanoseconds send_timeout = std::chrono::seconds(60);    // without the client taking a byte
  uint64_t min_rate_bytes = 100;             // that clients must send of bodies and take of answers, per second. 0: any
  uint32_t connections_max = 8192;           // beyond: the one that is idle longest gives way, or clients wait
  uint32_t connections_per_address_max = 0;  // beyond: 503; see AddressCounts. 0: no limit
  AddressRanges allowed = {};                // others: 403. Empty: all are
  uint32_t pipes_max = 256;                  // see SendOptions; of all threads
  uint32_t open_threads = 4;
  uint32_t open_threads_max = 4 + BackingHealth::kCallsMax;  // while those hang
  uint32_t open_queue_max = 1024;                            // opens waiting for a thread; beyond: 503
  AccessLog* access_log = nullptr;                           // none: nothing is logged. Outlives the server
  LoopBackend backend = LoopBackend::automatic;
  const Clock* clock = &system_clock();
  // What decides how long requests wait for the backing. None: for ever. Outlives the server.
  BackingHealth* health = nullptr;
};

struct HttpStats {
  uint64_t connections_open = 0;
  uint64_t connections_accepted = 0;
  uint64_t connections_displaced = 0;  // idle ones that gave way to others
  uint64_t connections_refused = 0;    // of clients that had their share
  uint64_t connections_denied = 0;     // of clients that are not allowed
  uint64_t requests = 0;
  uint64_t responses_2xx = 0;
  uint64_t responses_3xx = 0;
  uint64_t responses_4xx = 0;
  uint64_t responses_5xx = 0;
  uint64_t broken_off = 0;  // replies that ended early: the file changed or failed
  SendStats sent;
};

class HttpServer {
 public:
  // `store` outlives the server. Errors: those of parse_listen_address and listen_on; those of
  // EventLoop::create.
  static Result<std::unique_ptr<HttpServer>> start(Store* store, const HttpOptions& options);
  virtual ~HttpServer() = default;  // stops at once

  virtual uint16_t port() const = 0;
  // Accepts no more, lets replies under way finish for at most `drain_timeout`, closes everything. Also waits for
  // reads and opens under way in the store, whatever the timeout. May be called again.
  virtual void stop(std::chrono::nanoseconds drain_timeout) = 0;
  virtual HttpStats stats() const = 0;  // any thread
  // In place of the options' pinned_max_bytes, from now on. Any thread.
  virtual void set_pinned_max(uint64_t bytes) = 0;
};

}  // namespace sluice
