// The servers of a gateway, made as its options say.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fs/store/backing_health.h"
#include "fs/store/store.h"
#include "net/http/page_server.h"
#include "net/http/server.h"
#include "net/nfs/server.h"
#include "tools/gateway.h"

namespace sluice {

// None without --access-log.
Checked<std::unique_ptr<AccessLog>> make_access_log(const std::string& path);
// What is handed over outlives the server. `access_log` may be null.
Checked<std::unique_ptr<HttpServer>> make_http(const GatewayPlan& plan, Store* store, BackingHealth* health,
                                               AccessLog* access_log);
Checked<std::unique_ptr<NfsServer>> make_nfs(const GatewayPlan& plan, Store* store, BackingHealth* health);
Checked<std::unique_ptr<PageServer>> make_metrics(const std::string& address, std::function<std::string()> page);

// The share of each server, for a cache of this size.
uint64_t send_pinned_max(const Options& options, uint64_t cache_size_bytes);
// Where a server listens in fact: the system may have chosen the port.
std::string bound_address(const std::string& wanted, uint16_t port);

}  // namespace sluice
