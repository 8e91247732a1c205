// Options are what a user can ask for. One table feeds the command line, `-o`, the configuration file, the help texts
// and the check that man/ documents every option and no other; a new option is one row here, one field in Options, and
// the manual.
//
// Keys are written with '-' in the table; users may write '_'. A boolean option NAME can also be said as noNAME or
// no-NAME (nosuid, no-direct-io).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/complaint.h"
#include "tools/option_values.h"

namespace sluice {

enum class Command { mount, serve, umount, status, cache, sim, bench, help, version };

struct Options {
  // Cache and disk.
  uint64_t cache_size_bytes = uint64_t{256} << 20;
  std::string cache_policy = "s3fifo";
  std::optional<uint64_t> large_file_bytes;  // nothing: the cache's size
  std::string warm_restart;                  // a file; empty: off
  uint64_t readahead_bytes = uint64_t{4} << 20;
  uint32_t io_depth = 64;
  std::chrono::nanoseconds io_timeout = std::chrono::seconds(60);  // 0: none
  bool direct_io = true;
  std::string disk_engine = "auto";
  std::string release_proof = "auto";
  std::string checksum = "off";
  std::chrono::nanoseconds checksum_period = std::chrono::hours(6);
  std::string write_mode = "through";
  std::optional<uint64_t> dirty_max_bytes;  // nothing: a quarter of the cache
  std::chrono::nanoseconds dirty_expire = std::chrono::seconds(5);
  std::string trace_out;          // empty: no recording
  uint32_t trace_rate = 100'000;  // requests per second; 0: all

  // HTTP.
  std::optional<std::string> http;                       // nothing: off
  std::optional<std::string> http_user;                  // nothing: nobody, or oneself when not root
  std::vector<std::string> http_index = {"index.html"};  // empty: off
  bool http_listing = true;
  std::string http_prefix;  // as UrlSpace has it
  bool http_dotfiles = false;
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds(10);
  std::optional<std::string> metrics;  // nothing: off
  std::string access_log;              // a file, or "-"; empty: none
  std::string http_cache_control;      // empty: none
  uint32_t http_threads = 2;
  std::optional<uint32_t> http_connections_max;
  uint64_t http_min_rate_bytes = 0;
  std::optional<uint32_t> http_connections_per_address_max;  // 0: no limit; nothing: half of all
  std::string http_allow;                                    // networks; empty: everybody
  std::string send_method = "auto";
  std::optional<uint64_t> send_pinned_max_bytes;  // nothing: a quarter of the cache

  // NFS.
  std::optional<std::string> nfs;  // nothing: off
  std::string nfs_allow;           // rules; empty: this machine
  std::string nfs_squash = "root";
  uid_t nfs_anonuid = 65534;
  gid_t nfs_anongid = 65534;
  uint32_t nfs_threads = 2;
  std::optional<uint32_t> nfs_connections_max;
  std::optional<uint32_t> nfs_connections_per_address_max;  // 0: no limit; nothing: half of all
  std::string state_dir;  // empty: see default_state_dir

  // The mount.
  std::optional<bool> allow_other;  // nothing: when root
  std::optional<uid_t> uid;         // shown instead of the backing's; see FuseOptions
  std::optional<gid_t> gid;
  std::optional<mode_t> umask;
  bool read_only = false;
  std::chrono::nanoseconds entry_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds attr_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds negative_timeout{};
  std::chrono::nanoseconds open_cache{};
  uint64_t metadata_cache_bytes = uint64_t{32} << 20;
  uint32_t fuse_threads = 10;
  bool clone_fd = false;
  std::string kernel_cache = "off";
  std::string fuse_io_uring = "off";
  bool suid = false;
  bool dev = false;
  bool exec = true;
  bool atime = true;
  std::optional<std::string> fsname;  // nothing: SOURCE
  std::string subtype = "sluice";

  // The process, and what its commands print.
  bool foreground = false;
  bool debug = false;  // foreground, and the log at its finest
  bool json = false;
  bool watch = false;  // of a gateway: SOURCE; of status: again each second
  bool lazy = false;
  bool dirty = false;
  std::string log_level = "info";
  std::string control;  // empty: PID.sock in the control directory
  std::string config;
  std::string source;  // in the place of operands
  std::string mountpoint;

  // `sluice sim`; lists are comma separated.
  std::string sim_policies;  // empty: all
  std::string sim_cache_blocks;
  std::string sim_cache_bytes;
  std::string sim_format = "lines";
  uint64_t sim_block_size_bytes = 0;  // 0: requests are not cut into blocks

  // `sluice bench`.
  std::string bench_filter;  // empty: every row
  std::chrono::nanoseconds bench_time = std::chrono::seconds(1);
  uint64_t bench_size_bytes = uint64_t{320} << 20;
  std::string bench_svg;  // a file; empty: none
};

enum class OptionKind {
  boolean,
  size,
  duration,
  integer,
  octal,
  choice,
  string,
  address,
  names,
  prefix,
  header,
  ranges,
  nfs_rules
};

struct OptionValue {  // the member that the option's kind says
  bool truth = false;
  uint64_t number = 0;  // size, integer or octal
  std::chrono::nanoseconds duration{};
  std::string text;                // what is none of the others; empty for "off" and "all"
  std::vector<std::string> names;  // of files; empty for "off"
};

struct OptionSpec {
  std::string_view name;
  char letter;  // of -f; 0: none
  OptionKind kind;
  std::string_view argument;    // what the value is called in help; for a choice "a|b|c"
  std::string_view by_default;  // as the user would write it; empty: see help
  std::string_view help;
  unsigned commands;  // bits of `command_bit`
  uint64_t least;     // of sizes and numbers
  uint64_t most;      // 0: no limit
  void (*set)(Options& options, const OptionValue& value);
};

constexpr unsigned command_bit(Command command) {
  return 1U << static_cast<unsigned>(command);
}
inline constexpr unsigned kGatewayCommands = command_bit(Command::mount) | command_bit(Command::serve);

const std::vector<OptionSpec>& option_table();
// Of several with this name the one of `commands`, if there is one.
const OptionSpec* find_option(std::string_view name, unsigned commands = ~0U);
std::string_view command_name(Command command);

// Sets one option that the user wrote as `key` or `key=value`. `label` is how the complaint names it: "--cache-size".
// Keys that belong only to other commands than `commands` are refused.
Checked<> set_option(Options& options, unsigned commands, std::string_view key, std::optional<std::string_view> value,
                     std::string_view label);

// The words of an `-o` argument: comma separated; `\,` is a comma, `\\` a backslash.
std::vector<std::string> split_mount_options(std::string_view text);
// Sets what `-o text` says. Words of fstab that are not for us (_netdev, nofail, x-*) are skipped.
Checked<> apply_mount_options(Options& options, unsigned commands, std::string_view text);

// Sets what a configuration file says: lines of `key = value`, `#` starts a comment. `name` is for complaints: "NAME:3:
// ...".
Checked<> apply_config_text(Options& options, std::string_view text, std::string_view name);
Checked<> apply_config_file(Options& options, const std::string& path);

// "; did you mean '...'?" or a pointer to the help.
std::string suggestion(std::string_view name, unsigned commands);
// The known word nearest to a mistyped one; empty when none is near.
std::string_view nearest_word(std::string_view word, const std::vector<std::string_view>& known);

// The options of a command, a line or two each.
std::string options_help(Command command);

}  // namespace sluice
