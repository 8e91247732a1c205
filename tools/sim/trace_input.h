// TraceInput is the bytes of a trace, whatever it is packed in: plain, gzip, xz or zstd, told by the first bytes and
// never by the name, and unpacked while it is read. Several packed streams one after the other are one trace, as their
// tools have it.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "tools/complaint.h"

namespace sluice {

class TraceInput {
 public:
  virtual ~TraceInput() = default;
  // Up to as many bytes as there is room for; 0 at the end. Complaints name the trace.
  virtual Checked<size_t> read(std::span<char> room) = 0;
  // At the end: it came in the middle of a zstd frame.
  virtual bool is_torn() const { return false; }
};

struct TraceInputOptions {
  bool may_be_torn = false;  // no complaint about zstd data that ends in the middle of a frame
};

// "-" is standard input.
Checked<std::unique_ptr<TraceInput>> open_trace(const std::string& path, const TraceInputOptions& options);

}  // namespace sluice
