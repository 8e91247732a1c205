// Keeps streams through large files out of a policy's way: see the essay in the .cc.
#pragma once

#include <cstdint>
#include <memory>

#include "cache/policy.h"

namespace sluice {

struct LargeFilesOptions {
  uint64_t share = 0;       // what streams may hold, in the unit of charges
  uint64_t ghost_span = 0;  // a block that comes back within that much of what streams read is no stream
  uint32_t blocks_max = 0;  // ids are below this
  const BlockOwner* owner = nullptr;
};

// `inner` gets all blocks but those of streams.
std::unique_ptr<Policy> guard_against_large_files(std::unique_ptr<Policy> inner, const LargeFilesOptions& options);

// Memory for it, beside that of `inner`.
uint64_t large_files_memory_bytes(const LargeFilesOptions& options);

}  // namespace sluice
