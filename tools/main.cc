#include <string>
#include <vector>

#include "tools/background.h"
#include "tools/command_bench.h"
#include "tools/command_cache.h"
#include "tools/command_help.h"
#include "tools/command_line.h"
#include "tools/command_mount.h"
#include "tools/command_serve.h"
#include "tools/command_sim.h"
#include "tools/command_status.h"
#include "tools/command_umount.h"

int main(int argc, char** argv) {
  using namespace sluice;
  open_standard_descriptors();
  const Checked<CommandLine> line = parse_command_line(std::vector<std::string>(argv, argv + argc));
  if (!line) {
    tell(line.error());
    return kExitUsage;
  }
  switch (line->command) {
    case Command::mount: return run_mount(*line);
    case Command::serve: return run_serve(*line);
    case Command::umount: return run_umount(*line);
    case Command::status: return run_status(*line);
    case Command::cache: return run_cache(*line);
    case Command::sim: return run_sim(*line);
    case Command::bench: return run_bench(*line);
    case Command::help: return run_help(*line);
    case Command::version: return run_version();
  }
}
