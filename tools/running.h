// Finds the gateway that a command is about, by asking the control sockets.
#pragma once

#include <string>
#include <string_view>

#include "tools/complaint.h"
#include "tools/control.h"

namespace sluice {

struct RunningGateway {
  std::string socket_path;
  pid_t pid = 0;
  std::string source;
  std::string mountpoint;  // empty: it only serves
  std::string status;      // its JSON
};

// What answers among `found`.
std::vector<RunningGateway> running_gateways(const std::vector<FoundGateway>& found);

// By mountpoint, by source, or by control socket; without a target the only one that runs.
Checked<RunningGateway> find_running(const std::string& target);

struct FileOfGateway {
  RunningGateway gateway;
  std::string path;  // below its source; "." is the source itself
};
// Whose mount or source this file or directory lies in. Looks at it, so it waits for a gateway that hangs.
Checked<FileOfGateway> find_file(const std::string& path);

}  // namespace sluice
