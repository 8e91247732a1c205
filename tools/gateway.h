// One running gateway: cache, disk, store, HTTP, mount, control socket, built in this order and taken down in reverse.
#pragma once

#include <string>

#include "tools/background.h"
#include "tools/complaint.h"
#include "tools/options.h"
#include "tools/preflight.h"

namespace sluice {

struct GatewayPlan {  // checked, see preflight.h
  Options options;
  std::string source;
  std::string mountpoint;  // empty: no mount
  HttpUser http_user;
  bool background = false;
};

// Runs until a signal, `sluice umount`, or an unmount from outside. Tells `report` when the gateway answers, or why it
// cannot. Returns the exit code. Call before any thread exists.
int run_gateway(const GatewayPlan& plan, StartReport& report);

}  // namespace sluice
