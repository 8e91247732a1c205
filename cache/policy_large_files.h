// Keeps streams through large files out of a policy's way: see the essay in the .cc.
#pragma once

#include <cstdint>
#include <memory>

#include "cache/policy.h"

namespace sluice {

// What streams may hold of a cache: a sixteenth, but enough for the readahead of some of them where an eighth gives
// that.
uint64_t streams_share(uint64_t frames);

struct LargeFilesOptions {
  uint64_t capacity = 0;  // of the cache, in the unit of charges; a block that comes back before that much was read by
                          // streams is of none
  uint32_t blocks_max = 0;  // ids are below this
  const BlockOwner* owner = &plain_owner();
  uint64_t (*share_of)(uint64_t capacity) = &streams_share;
};

// `inner` gets all blocks but those of streams.
std::unique_ptr<Policy> guard_against_large_files(std::unique_ptr<Policy> inner, const LargeFilesOptions& options);

// Memory for it, beside that of `inner`.
uint64_t large_files_memory_bytes(const LargeFilesOptions& options);

}  // namespace sluice
