#include "tools/command_mount.h"

#include <unistd.h>

#include <cstdlib>

#include "cache/result.h"
#include "tools/background.h"
#include "tools/gateway.h"
#include "tools/preflight.h"

namespace sluice {
namespace {

Checked<GatewayPlan> plan_mount(const CommandLine& line) {
  GatewayPlan plan;
  plan.options = line.options;
  plan.background = !line.options.foreground && !line.options.debug;
  plan.source = TRY(check_source(line.source));
  plan.mountpoint = TRY(check_mountpoint(line.mountpoint, plan.source, read_mounts()));
  TRY(check_fuse(line.options));
  TRY(check_own_files(line.options, plan.mountpoint));
  if (plan.background && line.options.access_log == "-") {
    return complain("--access-log: the background has no standard output; name a file, or say --foreground");
  }
  TRY(check_memory(line.options.cache_size_bytes));
  TRY(check_dirty_max(line.options));
  if (line.options.http) plan.http_user = TRY(check_http_user(line.options.http_user));
  return plan;
}

}  // namespace

int run_mount(const CommandLine& line) {
  const Checked<GatewayPlan> plan = plan_mount(line);
  if (!plan) {
    tell(plan.error());
    return EXIT_FAILURE;
  }
  if (line.only_check) return EXIT_SUCCESS;
  StartReport report;
  if (plan->background) {
    if (const std::optional<int> exit_code = go_to_background(report)) return *exit_code;
  }
  return run_gateway(*plan, report);
}

}  // namespace sluice
