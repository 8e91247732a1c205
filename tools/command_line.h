// The command line, as data: which command, its options (file < -o < flags), its operands.
#pragma once

#include <string>
#include <vector>

#include "tools/complaint.h"
#include "tools/options.h"

namespace sluice {

struct CommandLine {
  Command command = Command::help;
  Options options;
  std::string source;              // mount, serve
  std::string mountpoint;          // mount, umount
  std::string target;              // status; empty: the only one that runs
  std::string action;              // cache, bench
  std::vector<std::string> paths;  // cache, bench: what the action needs
  std::string trace;               // sim
  Command topic = Command::help;   // of help
  bool only_check = false;         // mount.sluice -f: all but the mount itself
};

inline constexpr int kExitUsage = 2;

// `arguments` is argv; argv[0] ending in mount.sluice is the helper of mount(8): SOURCE MOUNTPOINT [-sfnv] [-o
// options].
Checked<CommandLine> parse_command_line(const std::vector<std::string>& arguments);

}  // namespace sluice
