#include "tools/exports.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cache/descriptor_limit.h"
#include "cache/log.h"
#include "net/send_path.h"
#include "tools/state_dir.h"

namespace sluice {
namespace {

Checked<SendMethod> choose_send_method(const std::string& wanted) {
  if (wanted == "auto") return SendMethod::automatic;
  if (wanted == "copy") return SendMethod::copy;
  const SendSupport support = probe_send_methods();
  if (wanted == "vmsplice" && support.vmsplice) return SendMethod::vmsplice;
  if (wanted == "zerocopy" && support.zerocopy) return SendMethod::zerocopy;
  return complain("--send-method: {} does not work on this system; use auto", wanted);
}

tl::unexpected<Complaint> cannot_listen(std::string_view option, const std::string& address, int error) {
  switch (error) {
    case EADDRINUSE: return complain("{}: {} is in use; choose another port", option, address);
    case EADDRNOTAVAIL:
      return complain("{}: {} is not an address of this machine; 'ip address' lists them", option, address);
    case EACCES: return complain("{}: {} is for root; choose a port above 1023", option, address);
    default: return complain("{}: cannot listen on {}: {}", option, address, error_text(error));
  }
}

NfsExportRules nfs_rules(const Options& options) {
  const NfsClientOptions defaults = {
      .squash = options.nfs_squash == "all"    ? NfsSquash::all
                : options.nfs_squash == "none" ? NfsSquash::none
                                               : NfsSquash::root,
      .anonymous_uid = options.nfs_anonuid,
      .anonymous_gid = options.nfs_anongid,
      .read_only = options.read_only,
  };
  if (options.nfs_allow.empty()) return NfsExportRules::loopback(defaults);
  std::string wrong;
  return *NfsExportRules::parse(options.nfs_allow, defaults, &wrong);
}

}  // namespace

uint64_t send_pinned_max(const Options& options, uint64_t cache_size_bytes) {
  const uint64_t of_all = options.send_pinned_max_bytes.value_or(cache_size_bytes / 4);
  return options.http && options.nfs ? of_all / 2 : of_all;
}

std::string bound_address(const std::string& wanted, uint16_t port) {
  const std::string host = wanted.substr(0, wanted.rfind(':'));
  return fmt::format("{}:{}", host.empty() ? "127.0.0.1" : host, port);
}

Checked<std::unique_ptr<AccessLog>> make_access_log(const std::string& path) {
  if (path.empty()) return nullptr;
  auto log = AccessLog::open(path);
  if (log) return std::move(*log);
  return complain("--access-log: cannot write '{}': {}; give a file in a directory that you may write", path,
                  error_text(log.error().number));
}

Checked<std::unique_ptr<HttpServer>> make_http(const GatewayPlan& plan, Store* store, BackingHealth* health,
                                               AccessLog* access_log) {
  const Options& options = plan.options;
  // Of the other half the store takes a quarter for what it keeps for reuse, which gives way, and what HTTP has open.
  const auto connections_share = static_cast<uint32_t>(std::clamp<uint64_t>(descriptor_limit() / 2, 16, 65536));
  const uint32_t connections_max = options.http_connections_max.value_or(connections_share);
  const HttpOptions http = {
      .address = *options.http,
      .threads = options.http_threads,
      .caller = {.uid = plan.http_user.uid, .gid = plan.http_user.gid, .groups = plan.http_user.groups},
      .urls = {.prefix = options.http_prefix, .dotfiles = options.http_dotfiles},
      .cache_control = options.http_cache_control,
      .index_names = options.http_index,
      .listing = options.http_listing,
      .send_method = TRY(choose_send_method(options.send_method)),
      .pinned_max_bytes = send_pinned_max(options, options.cache_size_bytes),
      .min_rate_bytes = options.http_min_rate_bytes,
      .connections_max = connections_max,
      .connections_per_address_max =
          options.http_connections_per_address_max.value_or(std::max(connections_max / 2, 1U)),
      .allowed = options.http_allow.empty() ? AddressRanges() : *AddressRanges::parse(options.http_allow),
      .pipes_max = std::min(connections_share / 16, 256U),
      .access_log = access_log,
      .health = health,
  };
  auto server = HttpServer::start(store, http);
  if (server) return std::move(*server);
  return cannot_listen("--http", http.address, server.error().number);
}

Checked<std::unique_ptr<NfsServer>> make_nfs(const GatewayPlan& plan, Store* store, BackingHealth* health) {
  const Options& options = plan.options;
  NfsOptions nfs;
  nfs.address = *options.nfs;
  nfs.key = TRY(load_nfs_key(state_dir_of(options), plan.source));
  nfs.rules = nfs_rules(options);
  nfs.threads = options.nfs_threads;
  nfs.send_method = TRY(choose_send_method(options.send_method));
  nfs.pinned_max_bytes = send_pinned_max(options, options.cache_size_bytes);
  // An eighth of all: HTTP has most of the other half.
  nfs.files.open_max = std::clamp<size_t>(descriptor_limit() / 16, 16, 1024);
  const auto connections_share = static_cast<uint32_t>(std::clamp<uint64_t>(descriptor_limit() / 16, 16, 1024));
  nfs.connections_max = options.nfs_connections_max.value_or(connections_share);
  nfs.connections_per_address_max =
      options.nfs_connections_per_address_max.value_or(std::max(nfs.connections_max / 2, 1U));
  nfs.health = health;
  auto server = NfsServer::start(store, std::move(nfs));
  if (server) return std::move(*server);
  return cannot_listen("--nfs", *options.nfs, server.error().number);
}

Checked<std::unique_ptr<PageServer>> make_metrics(const std::string& address, std::function<std::string()> page) {
  auto server = PageServer::start({.address = address,
                                   .path = "metrics",
                                   .content_type = "text/plain; version=0.0.4; charset=utf-8",
                                   .page = std::move(page)});
  if (server) return std::move(*server);
  return cannot_listen("--metrics", address, server.error().number);
}

}  // namespace sluice
