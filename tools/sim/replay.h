// Replays a trace through one policy, as the cache would call it, and counts. LRU is exact: every hit is reported.
#pragma once

#include <cstdint>

#include "cache/policy.h"
#include "tools/sim/trace.h"

namespace sluice {

enum class CacheUnit { blocks, bytes };

struct ReplayOptions {
  const PolicyKind* policy = nullptr;
  CacheUnit unit = CacheUnit::blocks;  // every block takes one, or its size
  uint64_t capacity = 0;               // in these; not 0
};

struct ReplayCounts {
  uint64_t requests = 0;
  uint64_t hits = 0;
  uint64_t requested_bytes = 0;  // of requests that have a size
  uint64_t missed_bytes = 0;
  double seconds = 0;
};

// With CacheUnit::bytes the trace must have sizes. An object keeps the size it had when it entered, one larger than the
// cache does not enter, and requests of no bytes are left out: the rules of libCacheSim, whose counts these are.
//
// A trace with pages is replayed as the cache serves: requests and hits are pages, a block enters and grows by the
// pages that are missing, and what was read ahead or written enters as well but is no request.
ReplayCounts replay(const Trace& trace, const ReplayOptions& options);

}  // namespace sluice
