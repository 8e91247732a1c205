// The gateway's side of `sluice cache`: what the words of a request mean, and what is answered.
//
//   warm|pin|unpin|evict PATH   PATH below the source. Lines "progress FILES FILES_MAX BYTES BYTES_MAX", then
//   drop
//   resize BYTES                ... the last line is "done TEXT" or "error: TEXT", the text for a person
#pragma once

#include <string>
#include <vector>

#include "cache/block_cache.h"
#include "fs/store/store.h"
#include "tools/control.h"

namespace sluice {

void answer_cache_request(Store& store, BlockCache& cache, const std::vector<std::string>& words,
                          const ControlReply& reply);

}  // namespace sluice
