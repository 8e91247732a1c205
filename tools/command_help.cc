#include "tools/command_help.h"

#include <cstdlib>

#include "fs/fuse/session.h"
#include "tools/version.h"

namespace sluice {
namespace {

constexpr std::string_view kOverview = R"(sluice: a caching file gateway

  sluice mount  [OPTIONS] SOURCE MOUNTPOINT   mount SOURCE through a cache; with --http, --nfs also export it
  sluice serve  [OPTIONS] SOURCE              export without mounting
  sluice umount MOUNTPOINT                    flush, drain, unmount
  sluice status [--json] [--watch] [TARGET]   counters of a gateway; TARGET: mountpoint, source or control socket
  sluice cache  warm|pin|unpin|evict PATH...  read files into the cache, keep them there, or drop them
  sluice cache  drop [TARGET]                 empty the cache
  sluice cache  resize SIZE [TARGET]          make the cache larger or smaller
  sluice sim    [OPTIONS] TRACE               replay a trace through the cache's policies
  sluice bench  [OPTIONS] cache|fuse          measure the cache beside other caches, the mount beside a bare one
  sluice bench  [OPTIONS] methods             measure the ways to send a file to a TCP client
  sluice bench  [OPTIONS] nfs URL             measure any NFSv3 server
  sluice help   [COMMAND]                     this text, or the options of a command
  sluice version

The manual: sluice(1), sluice-mount(8), sluice-nfs(7), sluice.conf(5), sluice-internals(7).
)";

constexpr std::string_view kMountOptions =
    "  -o NAME[=VALUE],...               the same options in the form of mount(8)\n";

std::string help_of(Command command) {
  switch (command) {
    case Command::mount:
      return fmt::format("sluice mount [OPTIONS] SOURCE MOUNTPOINT\n\n{}{}", kMountOptions, options_help(command));
    case Command::serve:
      return fmt::format("sluice serve --http ADDR:PORT | --nfs ADDR:PORT [OPTIONS] SOURCE\n\n{}{}", kMountOptions,
                         options_help(command));
    case Command::status: return fmt::format("sluice status [OPTIONS] [TARGET]\n\n{}", options_help(command));
    case Command::sim:
      return fmt::format("sluice sim --cache-blocks N[,N...] [OPTIONS] TRACE\n\n{}", options_help(command));
    case Command::bench:
      return fmt::format(
          "sluice bench [OPTIONS] cache|fuse|methods|nfs URL\nsluice bench ceiling FILE MOUNTPOINT\n\n{}",
          options_help(command));
    case Command::umount: return "sluice umount MOUNTPOINT\n";
    case Command::cache:
      return "sluice cache warm|pin|unpin|evict PATH...\nsluice cache drop [--dirty] [TARGET]\nsluice cache resize "
             "SIZE "
             "[TARGET]\n";
    case Command::help:
    case Command::version: break;
  }
  return std::string(kOverview);
}

}  // namespace

int run_help(const CommandLine& line) {
  fmt::print("{}", help_of(line.topic));
  return EXIT_SUCCESS;
}

int run_version() {
  fmt::print("sluice {}\n{}\n", kVersion, libfuse_features());
  return EXIT_SUCCESS;
}

}  // namespace sluice
