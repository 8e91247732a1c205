// A Trace is a recorded sequence of requests for blocks (or objects), as the simulator replays it: names are replaced
// by dense numbers once, when it is read, so that every replay of it is array accesses only. 4 bytes per request, and 4
// more for each of sizes, times and pages where the format has them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/block.h"
#include "cache/trace_format.h"
#include "tools/complaint.h"

namespace sluice {

inline constexpr std::string_view kTraceFormats = "arc|oracle|vscsi|lines|sluice";

struct TraceOptions {
  std::string format;       // one of kTraceFormats
  uint64_t block_size = 0;  // vscsi: requests are cut into blocks of so many bytes; 0: each is one object
};

struct PagesAsked {
  uint16_t mask;  // a bit for each page of the block
  TraceOp op;
  bool goes_on = false;  // the next is of the same request
};

struct Trace {
  std::vector<BlockId> blocks;     // one per request
  std::vector<uint32_t> sizes;     // in bytes, as many; empty where the format has none
  std::vector<uint32_t> times_ms;  // since the first request, as many; empty where the format has none; wraps
  std::vector<PagesAsked> pages;   // as many; empty where the format has none
  uint32_t blocks_max = 0;         // numbers are below this
  std::vector<std::string> notes;  // what a person should know of what is missing, a line each
};

// Complaints say what is wrong with which line or record.
Checked<Trace> read_trace(const std::string& path, const TraceOptions& options);

}  // namespace sluice
