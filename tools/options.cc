#include "tools/options.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cache/log.h"
#include "cache/policy.h"
#include "tools/sim/trace.h"
#include "tools/text_file.h"

namespace sluice {
namespace {

using Value = const OptionValue&;
constexpr OptionKind kBool = OptionKind::boolean;
constexpr OptionKind kSize = OptionKind::size;
constexpr OptionKind kDuration = OptionKind::duration;
constexpr OptionKind kInteger = OptionKind::integer;
constexpr OptionKind kOctal = OptionKind::octal;
constexpr OptionKind kChoice = OptionKind::choice;
constexpr OptionKind kString = OptionKind::string;
constexpr OptionKind kAddress = OptionKind::address;
constexpr OptionKind kNames = OptionKind::names;
constexpr OptionKind kPrefix = OptionKind::prefix;
constexpr OptionKind kRanges = OptionKind::ranges;
constexpr OptionKind kHeader = OptionKind::header;
constexpr OptionKind kNfsRules = OptionKind::nfs_rules;
constexpr unsigned kMount = command_bit(Command::mount);
constexpr unsigned kStatus = command_bit(Command::status);
constexpr unsigned kUmount = command_bit(Command::umount);
constexpr unsigned kCache = command_bit(Command::cache);
constexpr unsigned kSim = command_bit(Command::sim);
constexpr unsigned kBench = command_bit(Command::bench);
constexpr unsigned kGateway = kGatewayCommands;
constexpr std::array kCommandsWithOptions = {Command::mount, Command::serve, Command::status, Command::sim,
                                             Command::bench};
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kIdMax = UINT32_MAX - 1;  // the last one means "none"

std::string_view policy_choices() {
  static const std::string choices = [] {
    std::string names;
    for (const PolicyKind* kind : policy_kinds()) names += fmt::format("{}{}", names.empty() ? "" : "|", kind->name);
    return names;
  }();
  return choices;
}

}  // namespace

// clang-format off
const std::vector<OptionSpec>& option_table() {
  static const std::vector<OptionSpec> table = {
      // name, letter, kind, argument, default, help, commands, least, most, setter
      {"cache-size", 0, kSize, "SIZE", "256M", "memory for the cache, all of it", kGateway, 8 * kMiB, 0,
       [](Options& o, Value v) { o.cache_size_bytes = v.number; }},
      {"cache-policy", 0, kChoice, policy_choices(), "s3fifo",
       "which block goes when memory is needed", kGateway, 0, 0,
       [](Options& o, Value v) { o.cache_policy = v.text; }},
      {"large-file", 0, kSize, "SIZE", "",
       "files that are read through a small share of the cache (default the cache's size and more); 0: none",
       kGateway, 0, 0, [](Options& o, Value v) { o.large_file_bytes = v.number; }},
      {"warm-restart", 0, kString, "FILE", "",
       "keep the list of what is cached in FILE, and read it back at the start", kGateway, 0, 0,
       [](Options& o, Value v) { o.warm_restart = v.text; }},
      {"readahead", 0, kSize, "SIZE", "4M",
       "how far to read ahead of a stream at most; 0 for not at all", kGateway, 0, 1024 * kMiB,
       [](Options& o, Value v) { o.readahead_bytes = v.number; }},
      {"io-depth", 0, kInteger, "N", "64", "disk requests in flight at most", kGateway, 1, 4096,
       [](Options& o, Value v) { o.io_depth = static_cast<uint32_t>(v.number); }},
      {"io-timeout", 0, kDuration, "DURATION", "60s",
       "how long a request waits for a backing that hangs; 0 for ever", kGateway, 0, 0,
       [](Options& o, Value v) { o.io_timeout = v.duration; }},
      {"direct-io", 0, kBool, "", "true",
       "read and write the backing with O_DIRECT where it allows that", kGateway, 0, 0,
       [](Options& o, Value v) { o.direct_io = v.truth; }},
      {"entry-timeout", 0, kDuration, "DURATION", "1s", "how long names are relied on", kGateway, 0, 0,
       [](Options& o, Value v) { o.entry_timeout = v.duration; }},
      {"attr-timeout", 0, kDuration, "DURATION", "1s", "how long attributes are relied on", kGateway, 0, 0,
       [](Options& o, Value v) { o.attr_timeout = v.duration; }},
      {"negative-timeout", 0, kDuration, "DURATION", "0s", "how long the absence of a name is relied on", kGateway, 0, 0,
       [](Options& o, Value v) { o.negative_timeout = v.duration; }},
      {"open-cache", 0, kDuration, "DURATION", "0s",
       "how long opens rely on what is known, instead of asking SOURCE", kGateway, 0, 0,
       [](Options& o, Value v) { o.open_cache = v.duration; }},
      {"watch", 0, kBool, "", "false", "hear of changes that others make in SOURCE at once", kGateway, 0, 0,
       [](Options& o, Value v) { o.watch = v.truth; }},
      {"metadata-cache", 0, kSize, "SIZE", "32M", "memory for names and attributes; 0: none are kept", kGateway, 0, 0,
       [](Options& o, Value v) { o.metadata_cache_bytes = v.number; }},
      {"disk-engine", 0, kChoice, "auto|io_uring|threads", "auto", "how disk requests are made", kGateway, 0, 0,
       [](Options& o, Value v) { o.disk_engine = v.text; }},
      {"release-proof", 0, kChoice, "auto|collapse|replace", "auto",
       "how memory that was lent to the kernel is known to be free again", kGateway, 0, 0,
       [](Options& o, Value v) { o.release_proof = v.text; }},
      {"checksum", 0, kChoice, "off|scrub|always", "off",
       "find cached pages that changed by themselves: now and then, or before each use", kGateway, 0, 0,
       [](Options& o, Value v) { o.checksum = v.text; }},
      {"checksum-period", 0, kDuration, "DURATION", "6h", "in which 'scrub' looks at the whole cache once", kGateway,
       0, 0, [](Options& o, Value v) { o.checksum_period = v.duration; }},
      {"write-mode", 0, kChoice, "through|back", "through",
       "when a write is answered: when SOURCE has the bytes, or when the cache has them", kGateway, 0, 0,
       [](Options& o, Value v) { o.write_mode = v.text; }},
      {"dirty-max", 0, kSize, "SIZE", "",
       "bytes that delayed writes may leave in the cache (default a quarter of it)", kGateway, kMiB, 0,
       [](Options& o, Value v) { o.dirty_max_bytes = v.number; }},
      {"dirty-expire", 0, kDuration, "DURATION", "5s", "how long a delayed write waits to be written", kGateway, 0, 0,
       [](Options& o, Value v) { o.dirty_expire = v.duration; }},
      {"trace-out", 0, kString, "FILE", "", "record what the cache is asked for, for 'sluice sim --format sluice'",
       kGateway, 0, 0, [](Options& o, Value v) { o.trace_out = v.text; }},
      {"trace-rate", 0, kInteger, "N", "100000", "requests per second to record at most; 0 for all", kGateway, 0,
       UINT32_MAX, [](Options& o, Value v) { o.trace_rate = static_cast<uint32_t>(v.number); }},

      {"http", 0, kAddress, "ADDR:PORT", "off",
       "export the files by HTTP here; PORT alone means the loopback", kGateway, 0, 0,
       [](Options& o, Value v) { o.http = v.text.empty() ? std::nullopt : std::optional(v.text); }},
      {"http-user", 0, kString, "USER", "",
       "whose permissions HTTP clients get (default nobody, or yourself when not root)", kGateway, 0, 0,
       [](Options& o, Value v) { o.http_user = v.text; }},
      {"http-index", 0, kNames, "NAME[,NAME...]", "index.html",
       "files that are shown for their directory, the first that is there; off: none", kGateway, 0, 0,
       [](Options& o, Value v) { o.http_index = v.names; }},
      {"http-listing", 0, kChoice, "on|off", "on", "pages of directories without an index", kGateway, 0, 0,
       [](Options& o, Value v) { o.http_listing = v.text == "on"; }},
      {"http-prefix", 0, kPrefix, "/PATH", "/", "serve only URLs below it, without it", kGateway, 0, 0,
       [](Options& o, Value v) { o.http_prefix = v.text; }},
      {"http-dotfiles", 0, kChoice, "show|hide", "hide", "names with a dot in front, over HTTP", kGateway, 0, 0,
       [](Options& o, Value v) { o.http_dotfiles = v.text == "show"; }},
      {"http-cache-control", 0, kHeader, "VALUE", "off", "the Cache-Control field of files", kGateway, 0, 0,
       [](Options& o, Value v) { o.http_cache_control = v.text; }},
      {"http-threads", 0, kInteger, "N", "2", "event loops of the HTTP server", kGateway, 1, 256,
       [](Options& o, Value v) { o.http_threads = static_cast<uint32_t>(v.number); }},
      {"http-connections-max", 0, kInteger, "N", "",
       "HTTP connections at once (default half of the descriptors we may have)", kGateway, 1, 1 << 20,
       [](Options& o, Value v) { o.http_connections_max = static_cast<uint32_t>(v.number); }},
      {"http-connections-per-address-max", 0, kInteger, "N", "",
       "of each client's address (default half of all); 0: no limit", kGateway, 0, 1 << 20,
       [](Options& o, Value v) { o.http_connections_per_address_max = static_cast<uint32_t>(v.number); }},
      {"http-allow", 0, kRanges, "CIDR[,CIDR...]", "all", "networks whose clients are served; others get 403",
       kGateway, 0, 0, [](Options& o, Value v) { o.http_allow = v.text; }},
      {"http-min-rate", 0, kSize, "SIZE", "100",
       "bytes per second that HTTP clients must take of answers and send of bodies; 0: any", kGateway, 0, 1024 * kMiB,
       [](Options& o, Value v) { o.http_min_rate_bytes = v.number; }},
      {"access-log", 0, kString, "FILE|-", "off", "a line for each HTTP request; - is the standard output", kGateway,
       0, 0, [](Options& o, Value v) { o.access_log = v.text == "off" ? "" : v.text; }},
      {"drain-timeout", 0, kDuration, "DURATION", "10s", "how long a gateway that ends waits for replies under way",
       kGateway, 0, 0, [](Options& o, Value v) { o.drain_timeout = v.duration; }},
      {"metrics", 0, kAddress, "ADDR:PORT", "off",
       "numbers for Prometheus, at /metrics; PORT alone means the loopback", kGateway, 0, 0,
       [](Options& o, Value v) { o.metrics = v.text.empty() ? std::nullopt : std::optional(v.text); }},
      {"send-method", 0, kChoice, "auto|copy|vmsplice|zerocopy", "auto",
       "how cached bytes go to a socket", kGateway, 0, 0,
       [](Options& o, Value v) { o.send_method = v.text; }},
      {"send-pinned-max", 0, kSize, "SIZE", "",
       "cache memory that slow clients can hold before bytes are copied (default a quarter of it)", kGateway, 0, 0,
       [](Options& o, Value v) { o.send_pinned_max_bytes = v.number; }},

      {"nfs", 0, kAddress, "ADDR:PORT", "off",
       "export the files by NFS version 3 here; PORT alone means the loopback", kGateway, 0, 0,
       [](Options& o, Value v) { o.nfs = v.text.empty() ? std::nullopt : std::optional(v.text); }},
      {"nfs-allow", 0, kNfsRules, "CIDR[:WORD...][,...]", "",
       "NFS clients, and what they may, as in exports(5) (default this machine)", kGateway, 0, 0,
       [](Options& o, Value v) { o.nfs_allow = v.text; }},
      {"nfs-squash", 0, kChoice, "root|all|none", "root", "which users of NFS clients become the anonymous one",
       kGateway, 0, 0, [](Options& o, Value v) { o.nfs_squash = v.text; }},
      {"nfs-anonuid", 0, kInteger, "N", "65534", "the anonymous user", kGateway, 0, kIdMax,
       [](Options& o, Value v) { o.nfs_anonuid = static_cast<uid_t>(v.number); }},
      {"nfs-anongid", 0, kInteger, "N", "65534", "its group", kGateway, 0, kIdMax,
       [](Options& o, Value v) { o.nfs_anongid = static_cast<gid_t>(v.number); }},
      {"nfs-threads", 0, kInteger, "N", "2", "event loops of the NFS server", kGateway, 1, 256,
       [](Options& o, Value v) { o.nfs_threads = static_cast<uint32_t>(v.number); }},
      {"nfs-connections-max", 0, kInteger, "N", "",
       "NFS connections at once (default a sixteenth of the descriptors we may have)", kGateway, 1, 1 << 20,
       [](Options& o, Value v) { o.nfs_connections_max = static_cast<uint32_t>(v.number); }},
      {"nfs-connections-per-address-max", 0, kInteger, "N", "",
       "of each client's address (default half of all); 0: no limit", kGateway, 0, 1 << 20,
       [](Options& o, Value v) { o.nfs_connections_per_address_max = static_cast<uint32_t>(v.number); }},
      {"state-dir", 0, kString, "DIR", "",
       "what must outlive the gateway: keys of NFS handles (default /var/lib/sluice, or your own)", kGateway, 0, 0,
       [](Options& o, Value v) { o.state_dir = v.text; }},

      {"allow-other", 0, kBool, "", "", "let other users in (default true for root, else false)", kMount, 0, 0,
       [](Options& o, Value v) { o.allow_other = v.truth; }},
      {"uid", 0, kInteger, "N", "", "show N as the owner of everything, instead of the true owners", kMount, 0, kIdMax,
       [](Options& o, Value v) { o.uid = static_cast<uid_t>(v.number); }},
      {"gid", 0, kInteger, "N", "", "show N as the group of everything", kMount, 0, kIdMax,
       [](Options& o, Value v) { o.gid = static_cast<gid_t>(v.number); }},
      {"umask", 0, kOctal, "MODE", "", "show all permissions but these, instead of the true ones", kMount, 0, 0777,
       [](Options& o, Value v) { o.umask = static_cast<mode_t>(v.number); }},
      {"ro", 0, kBool, "", "false", "mount read-only", kMount, 0, 0,
       [](Options& o, Value v) { o.read_only = v.truth; }},
      {"fuse-threads", 0, kInteger, "N", "10", "threads that answer the kernel at most", kMount, 1, 256,
       [](Options& o, Value v) { o.fuse_threads = static_cast<uint32_t>(v.number); }},
      {"fuse-io-uring", 0, kChoice, "off|auto", "off", "take the kernel's requests by io_uring where it offers that",
       kMount, 0, 0, [](Options& o, Value v) { o.fuse_io_uring = v.text; }},
      {"kernel-cache", 0, kChoice, "off|auto", "off",
       "let the kernel keep the data of small files as well", kMount, 0, 0,
       [](Options& o, Value v) { o.kernel_cache = v.text; }},
      {"clone-fd", 0, kBool, "", "false", "give each of them a descriptor of its own", kMount, 0, 0,
       [](Options& o, Value v) { o.clone_fd = v.truth; }},
      {"suid", 0, kBool, "", "false", "honour set-user-id bits (root only)", kMount, 0, 0,
       [](Options& o, Value v) { o.suid = v.truth; }},
      {"dev", 0, kBool, "", "false", "honour device files (root only)", kMount, 0, 0,
       [](Options& o, Value v) { o.dev = v.truth; }},
      {"exec", 0, kBool, "", "true", "allow programs to be run", kMount, 0, 0,
       [](Options& o, Value v) { o.exec = v.truth; }},
      {"atime", 0, kBool, "", "true", "false: mount with the flag noatime", kMount, 0, 0,
       [](Options& o, Value v) { o.atime = v.truth; }},
      {"fsname", 0, kString, "NAME", "", "the source that mount(8) shows (default SOURCE)", kMount, 0, 0,
       [](Options& o, Value v) { o.fsname = v.text; }},
      {"subtype", 0, kString, "NAME", "sluice", "the type that mount(8) shows, after 'fuse.'", kMount, 0, 0,
       [](Options& o, Value v) { o.subtype = v.text; }},

      {"foreground", 'f', kBool, "", "false", "do not go to the background", kMount, 0, 0,
       [](Options& o, Value v) { o.foreground = v.truth; }},
      {"debug", 'd', kBool, "", "false", "stay in the foreground and log everything", kGateway, 0, 0,
       [](Options& o, Value v) { o.debug = v.truth; }},
      {"log-level", 0, kChoice, "debug|info|warning|error", "info", "the least that is logged", kGateway, 0, 0,
       [](Options& o, Value v) { o.log_level = v.text; }},
      {"control", 0, kString, "PATH", "",
       "the control socket (default PID.sock in /run/sluice or $XDG_RUNTIME_DIR/sluice)", kGateway, 0, 0,
       [](Options& o, Value v) { o.control = v.text; }},
      {"config", 0, kString, "FILE", "", "read options from FILE first", kGateway, 0, 0,
       [](Options& o, Value v) { o.config = v.text; }},
      {"source", 0, kString, "DIR", "", "SOURCE, when no operands are given", kGateway, 0, 0,
       [](Options& o, Value v) { o.source = v.text; }},
      {"mountpoint", 0, kString, "DIR", "", "MOUNTPOINT, when no operands are given", kMount, 0, 0,
       [](Options& o, Value v) { o.mountpoint = v.text; }},

      {"json", 0, kBool, "", "false", "print JSON", kStatus | kSim | kBench, 0, 0,
       [](Options& o, Value v) { o.json = v.truth; }},
      {"dirty", 0, kBool, "", "false", "drop what could not be written, not what is cached", kCache, 0, 0,
       [](Options& o, Value v) { o.dirty = v.truth; }},
      {"lazy", 0, kBool, "", "false", "detach the mount now, even while files are open", kUmount, 0, 0,
       [](Options& o, Value v) { o.lazy = v.truth; }},
      {"watch", 0, kBool, "", "false", "print again each second", kStatus, 0, 0,
       [](Options& o, Value v) { o.watch = v.truth; }},

      {"policy", 0, kString, "P[,P...]", "", "policies to replay the trace through (default all)", kSim, 0, 0,
       [](Options& o, Value v) { o.sim_policies = v.text; }},
      {"cache-blocks", 0, kString, "N[,N...]", "", "sizes of the cache in blocks, whatever their size", kSim, 0, 0,
       [](Options& o, Value v) { o.sim_cache_blocks = v.text; }},
      {"cache-bytes", 0, kString, "SIZE[,SIZE...]", "", "sizes of the cache in bytes, objects having their own", kSim, 0, 0,
       [](Options& o, Value v) { o.sim_cache_bytes = v.text; }},
      {"format", 0, kChoice, kTraceFormats, "lines", "what the trace is written in", kSim, 0, 0,
       [](Options& o, Value v) { o.sim_format = v.text; }},
      {"block-size", 0, kSize, "SIZE", "", "cut the requests of a vscsi trace into blocks of this size", kSim, 512, 1024 * kMiB,
       [](Options& o, Value v) { o.sim_block_size_bytes = v.number; }},

      {"filter", 0, kString, "REGEX", "", "only rows whose name matches, as WORKLOAD/CACHE/THREADS", kBench, 0, 0,
       [](Options& o, Value v) { o.bench_filter = v.text; }},
      {"seconds", 0, kDuration, "S", "1", "time for each row", kBench, 0, 0,
       [](Options& o, Value v) { o.bench_time = v.duration; }},
      {"size", 0, kSize, "SIZE", "320M", "of the file that methods are measured with, whole MiB", kBench, kMiB, 1024 * 1024 * kMiB,
       [](Options& o, Value v) { o.bench_size_bytes = v.number; }},
      {"svg", 0, kString, "FILE", "", "draw the methods into this file", kBench, 0, 0,
       [](Options& o, Value v) { o.bench_svg = v.text; }},
  };
  return table;
}
// clang-format on

namespace {

struct Found {
  const OptionSpec* spec = nullptr;
  bool negated = false;
};

std::string with_dashes(std::string_view key) {
  std::string name(key);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

Found find_key(std::string_view name, unsigned commands) {
  if (const OptionSpec* spec = find_option(name, commands)) return {spec, false};
  if (name == "rw") return {find_option("ro"), true};
  for (const std::string_view prefix : {"no-", "no"}) {
    if (!name.starts_with(prefix)) continue;
    const OptionSpec* spec = find_option(name.substr(prefix.size()), commands);
    if (spec != nullptr && spec->kind == OptionKind::boolean) return {spec, true};
  }
  return {};
}

Checked<> check_limits(const OptionSpec& spec, uint64_t number) {
  const auto written = [&](uint64_t n) {
    if (spec.kind == OptionKind::octal) return fmt::format("{:03o}", n);
    return spec.kind == OptionKind::size ? format_size(n) : fmt::to_string(n);
  };
  if (number < spec.least) return complain("{} is too small; the least is {}", written(number), written(spec.least));
  if (spec.most != 0 && number > spec.most) {
    return complain("{} is too large; the most is {}", written(number), written(spec.most));
  }
  return {};
}

Checked<> check_choice(std::string_view choices, std::string_view text) {
  std::string_view rest = choices;
  while (!rest.empty()) {
    const size_t bar = rest.find('|');
    if (rest.substr(0, bar) == text) return {};
    rest = bar == std::string_view::npos ? std::string_view() : rest.substr(bar + 1);
  }
  return complain("'{}' is not known; choose one of {}", text, choices);
}

template <typename T, typename Member>
Checked<> store_into(Member& member, Checked<T> parsed) {
  if (!parsed) return tl::unexpected(parsed.error());
  member = *parsed;
  return {};
}

Checked<OptionValue> parse_value(const OptionSpec& spec, std::string_view text) {
  OptionValue value;
  Checked<> parsed;
  switch (spec.kind) {
    case OptionKind::boolean: parsed = store_into(value.truth, parse_bool(text)); break;
    case OptionKind::size: parsed = store_into(value.number, parse_size(text)); break;
    case OptionKind::duration: parsed = store_into(value.duration, parse_duration(text)); break;
    case OptionKind::integer: parsed = store_into(value.number, parse_integer(text)); break;
    case OptionKind::octal: parsed = store_into(value.number, parse_octal(text)); break;
    case OptionKind::address:
      if (text != "off") parsed = store_into(value.text, parse_address(text));
      break;
    case OptionKind::names:
      if (text != "off") parsed = store_into(value.names, parse_names(text));
      break;
    case OptionKind::prefix: parsed = store_into(value.text, parse_prefix(text)); break;
    case OptionKind::header:
      if (text != "off") parsed = store_into(value.text, parse_header_value(text));
      break;
    case OptionKind::nfs_rules: parsed = store_into(value.text, parse_nfs_rules(text)); break;
    case OptionKind::ranges:
      if (text != "all") parsed = store_into(value.text, parse_ranges(text));
      break;
    case OptionKind::choice:
      parsed = check_choice(spec.argument, text);
      value.text = text;
      break;
    case OptionKind::string:
      if (text.empty()) parsed = complain("needs a value");
      value.text = text;
      break;
  }
  const bool is_number =
      spec.kind == OptionKind::size || spec.kind == OptionKind::integer || spec.kind == OptionKind::octal;
  if (parsed && is_number) parsed = check_limits(spec, value.number);
  if (!parsed) return tl::unexpected(parsed.error());
  return value;
}

std::string commands_text(unsigned commands) {
  std::string text;
  for (const Command command : kCommandsWithOptions) {
    if ((commands & command_bit(command)) == 0) continue;
    text += fmt::format("{}'sluice {}'", text.empty() ? "" : " and ", command_name(command));
  }
  return text;
}

// What mount(8), systemd and fstab say to each other, or what is always so here.
bool is_for_others(std::string_view word) {
  static constexpr std::array<std::string_view, 19> words = {"_netdev",
                                                             "nofail",
                                                             "auto",
                                                             "noauto",
                                                             "user",
                                                             "users",
                                                             "nouser",
                                                             "nousers",
                                                             "owner",
                                                             "group",
                                                             "defaults",
                                                             "relatime",
                                                             "norelatime",
                                                             "async",
                                                             "nodiratime",
                                                             "lazytime",
                                                             "nolazytime",
                                                             "diratime",
                                                             "default_permissions"};
  if (std::find(words.begin(), words.end(), word) != words.end()) return true;
  for (const std::string_view prefix : {"x-", "X-", "comment=", "user=", "helper=", "uhelper="}) {
    if (word.starts_with(prefix)) return true;
  }
  return false;
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// Levenshtein's distance, one row at a time.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

const OptionSpec* find_option(std::string_view name, unsigned commands) {
  const OptionSpec* found = nullptr;
  for (const OptionSpec& spec : option_table()) {
    if (spec.name == name && (found == nullptr || (spec.commands & commands) != 0)) found = &spec;
  }
  return found;
}

std::string_view command_name(Command command) {
  switch (command) {
    case Command::mount: return "mount";
    case Command::serve: return "serve";
    case Command::umount: return "umount";
    case Command::status: return "status";
    case Command::cache: return "cache";
    case Command::sim: return "sim";
    case Command::bench: return "bench";
    case Command::help: return "help";
    case Command::version: return "version";
  }
  return "";
}

Checked<> set_option(Options& options, unsigned commands, std::string_view key, std::optional<std::string_view> value,
                     std::string_view label) {
  const std::string name = with_dashes(key);
  const Found found = find_key(name, commands);
  if (found.spec == nullptr) return complain("{}: no such option{}", label, suggestion(name, commands));
  const OptionSpec& spec = *found.spec;
  if ((spec.commands & commands) == 0) {
    return complain("{}: is an option of {} only", label, commands_text(spec.commands));
  }
  if (!value && spec.kind != OptionKind::boolean) {
    return complain("{}: needs a value, {}={}", label, key, spec.argument);
  }
  Checked<OptionValue> parsed = parse_value(spec, value.value_or("true"));
  if (!parsed) return complain("{}: {}", label, parsed.error().line);
  if (found.negated) parsed->truth = !parsed->truth;
  spec.set(options, *parsed);
  return {};
}

std::vector<std::string> split_mount_options(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escapes = text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\');
    if (escapes) {
      word += text[++i];
    } else if (text[i] == ',') {
      words.push_back(std::exchange(word, {}));
    } else {
      word += text[i];
    }
  }
  words.push_back(word);
  std::erase(words, "");
  return words;
}

Checked<> apply_mount_options(Options& options, unsigned commands, std::string_view text) {
  for (const std::string& word : split_mount_options(text)) {
    if (is_for_others(word)) continue;
    const size_t equals = word.find('=');
    const std::string_view key = std::string_view(word).substr(0, equals);
    std::optional<std::string_view> value;
    if (equals != std::string::npos) value = std::string_view(word).substr(equals + 1);
    TRY(set_option(options, commands, key, value, fmt::format("-o {}", key)));
  }
  return {};
}

Checked<> apply_config_text(Options& options, std::string_view text, std::string_view name) {
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = trim(line.substr(0, line.find('#')));
    if (line.empty()) continue;

    const size_t equals = line.find('=');
    const std::string_view key = trim(line.substr(0, equals));
    std::optional<std::string_view> value;
    if (equals != std::string_view::npos) value = trim(line.substr(equals + 1));
    const std::string label = fmt::format("{}:{}: {}", name, number, key);
    if (with_dashes(key) == "config") return complain("{}: a configuration file cannot name another", label);
    TRY(set_option(options, kGatewayCommands, key, value, label));
  }
  return {};
}

Checked<> apply_config_file(Options& options, const std::string& path) {
  const Result<std::string> text = read_text_file(path);
  if (!text) {
    return complain("--config: cannot read '{}': {}; give a file of lines like 'cache-size = 4G'", path,
                    error_text(text.error().number));
  }
  return apply_config_text(options, *text, path);
}

std::string_view nearest_word(std::string_view word, const std::vector<std::string_view>& known) {
  std::string_view nearest;
  size_t least = 2 + word.size() / 4;  // farther away it would only puzzle
  for (const std::string_view candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance >= least || distance >= candidate.size()) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

std::string suggestion(std::string_view name, unsigned commands) {
  std::vector<std::string_view> known;
  for (const OptionSpec& spec : option_table()) {
    if ((spec.commands & commands) != 0) known.push_back(spec.name);
  }
  const std::string_view nearest = nearest_word(name, known);
  if (!nearest.empty()) return fmt::format("; did you mean '{}'?", nearest);
  for (const Command command : kCommandsWithOptions) {
    if ((commands & command_bit(command)) != 0)
      return fmt::format("; 'sluice help {}' lists them", command_name(command));
  }
  return "";
}

std::string options_help(Command command) {
  constexpr int column = 36;
  std::string text;
  for (const OptionSpec& spec : option_table()) {
    if ((spec.commands & command_bit(command)) == 0) continue;
    const std::string letter = spec.letter != 0 ? fmt::format("-{}, ", spec.letter) : "    ";
    const std::string argument = spec.argument.empty() ? "" : fmt::format(" {}", spec.argument);
    const std::string_view negation = spec.kind == OptionKind::boolean ? "[no-]" : "";
    const std::string head = fmt::format("  {}--{}{}{}", letter, negation, spec.name, argument);
    // A default that is "false" is what nobody expects otherwise.
    const bool tells_default = !spec.by_default.empty() && spec.by_default != "false";
    const std::string by_default = tells_default ? fmt::format(" (default {})", spec.by_default) : "";
    if (head.size() + 1 < column) {
      text += fmt::format("{:<{}}{}{}\n", head, column, spec.help, by_default);
    } else {
      text += fmt::format("{}\n{:{}}{}{}\n", head, "", column, spec.help, by_default);
    }
  }
  return text;
}

}  // namespace sluice
