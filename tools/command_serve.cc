#include "tools/command_serve.h"

#include <cstdlib>

#include "cache/result.h"
#include "tools/background.h"
#include "tools/gateway.h"
#include "tools/preflight.h"

namespace sluice {
namespace {

Checked<GatewayPlan> plan_serve(const CommandLine& line) {
  GatewayPlan plan;
  plan.options = line.options;
  if (!line.options.http && !line.options.nfs)
    return complain("serve has nothing to do; say where, for example --http 127.0.0.1:8080 or --nfs 127.0.0.1:2049");
  plan.source = TRY(check_source(line.source));
  TRY(check_own_files(line.options, ""));
  TRY(check_memory(line.options.cache_size_bytes));
  TRY(check_dirty_max(line.options));
  if (line.options.http) plan.http_user = TRY(check_http_user(line.options.http_user));
  return plan;
}

}  // namespace

int run_serve(const CommandLine& line) {
  const Checked<GatewayPlan> plan = plan_serve(line);
  if (!plan) {
    tell(plan.error());
    return EXIT_FAILURE;
  }
  StartReport report;
  return run_gateway(*plan, report);
}

}  // namespace sluice
