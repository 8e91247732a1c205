#include "tools/command_status.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "cache/result.h"
#include "tools/running.h"
#include "tools/status.h"

namespace sluice {
namespace {

Checked<> print_status(const CommandLine& line) {
  const RunningGateway gateway = TRY(find_running(line.target));
  const std::string text = line.options.json ? gateway.status : TRY(status_table(gateway.status));
  const bool on_terminal = line.options.watch && !line.options.json && ::isatty(STDOUT_FILENO) == 1;
  if (on_terminal) fmt::print("\033[H\033[2J");  // home, clear
  fmt::print("{}", text);
  std::fflush(stdout);
  return {};
}

}  // namespace

int run_status(const CommandLine& line) {
  for (;;) {
    const Checked<> printed = print_status(line);
    if (!printed) {
      tell(printed.error());
      return EXIT_FAILURE;
    }
    if (!line.options.watch) return EXIT_SUCCESS;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace sluice
