// What the cache held comes back after a restart, as InnoDB does it with its buffer pool: the list of what is cached is
// saved every few minutes and at the end, and read back in the background at the start, in the order of the disk and
// after what clients ask for. A list is replaced only once the one before it was read back whole.
#pragma once

#include <memory>
#include <string>

#include "fs/store/store.h"
#include "tools/complaint.h"

namespace sluice {

struct WarmRestartOptions {
  std::string path;         // of the list
  uint64_t room_bytes = 0;  // what is read back at most
  std::chrono::nanoseconds period = std::chrono::minutes(5);
};

class WarmRestart {
 public:
  // Complaints: a file at `path` that is no warm list, or cannot be read; a place that cannot be written.
  // `store` outlives it.
  static Checked<std::unique_ptr<WarmRestart>> start(Store* store, const WarmRestartOptions& options);
  // Saves. Before it, nothing may be dropped from the cache that should come back.
  virtual ~WarmRestart() = default;
  virtual bool restored() const = 0;  // the list was read back, or what there was room for
};

}  // namespace sluice
