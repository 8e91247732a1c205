// The gateway's side of `sluice cache`: what the words of a request mean, and what is answered.
//
//   warm|pin|unpin|evict PATH   PATH below the source
//   drop
//   drop-dirty
//   resize BYTES
//
// The answer: lines "progress FILES FILES_MAX BYTES BYTES_MAX", the last is "done TEXT" or "error: TEXT", the text for
// a person.
#pragma once

#include <string>
#include <vector>

#include "cache/block_cache.h"
#include "fs/store/store.h"
#include "tools/cache_resize.h"
#include "tools/control.h"

namespace sluice {

struct CacheRequestSubjects {
  Store& store;
  BlockCache& cache;
  CacheResize& resize;
};
void answer_cache_request(const CacheRequestSubjects& subjects, const std::vector<std::string>& words,
                          const ControlReply& reply);

}  // namespace sluice
