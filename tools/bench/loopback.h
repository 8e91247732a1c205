// Connections to oneself over TCP.
#pragma once

#include "cache/unique_fd.h"
#include "tools/complaint.h"

namespace sluice {

struct LoopbackPair {  // blocking
  UniqueFd sender, receiver;
};

Checked<LoopbackPair> connect_to_self();

}  // namespace sluice
