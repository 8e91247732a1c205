// What the cache was asked for, and how a file holds it. `--trace-out` writes such files, `sluice sim` replays them.
//
//   file     zstd frames one after the other, each with a checksum, so `zstd -d` unpacks it. Unpacked it is a head and
//            then blocks; the head and every block have a frame of their own. Who was killed while writing leaves a
//            torn last frame, and all before it is whole.
//   head     8 bytes "SLUICETR", u32 version, u32 bytes per page
//   block    u32 bytes of its records, u32 records, u64 time, u64 requests dropped for the rate, u64 for want of
//            memory, both since the start; then the records. Fixed numbers are little-endian
//   record   varints (LEB128; signed ones zigzag): microseconds since the record before, signed, of the first since the
//            block's time; (pages - 1) << 3 | what << 1 | other file; if it is another file: its number minus the one
//            before, signed, and its generation; first page minus the end of the record before, signed.
//            The first record of a block follows one of file 0, generation 0, that ended at page 0.
//
// Times are since the recording began. A stream's record takes 4 bytes, a random one about 10, zstd halves that.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/block.h"

namespace sluice {

enum class TraceOp : uint8_t {
  read = 0,       // somebody asked for the pages
  readahead = 1,  // nobody yet: they were read ahead
  write = 2,      // they were written, and are in the cache by that
};

struct TraceRecord {
  uint64_t time_ns = 0;  // whole microseconds in a file
  uint64_t file = 0;
  uint64_t first_page = 0;
  uint32_t generation = 0;
  uint16_t pages = 1;
  TraceOp op = TraceOp::read;
  friend bool operator==(const TraceRecord&, const TraceRecord&) = default;
};
inline constexpr uint32_t kTraceRecordPagesMax = 512;

struct TraceDrops {
  uint64_t rate = 0;    // above the limit
  uint64_t memory = 0;  // came faster than they could be written
  uint64_t sum() const { return rate + memory; }
  friend bool operator==(const TraceDrops&, const TraceDrops&) = default;
};

inline constexpr size_t kTraceHeadBytes = 16;
std::string encode_trace_head();
// Why these kTraceHeadBytes begin no trace that can be read; empty when they do.
std::string_view trace_head_fault(std::string_view head);

inline constexpr size_t kTraceBlockHeadBytes = 32;
inline constexpr size_t kTraceBlockRecordsMax = 8192;
struct TraceBlockHead {
  uint32_t bytes = 0;
  uint32_t records = 0;
  uint64_t time_us = 0;
  TraceDrops dropped;
};
// At most kTraceBlockRecordsMax, each of 1 to kTraceRecordPagesMax pages.
std::string encode_trace_block(std::span<const TraceRecord> records, const TraceDrops& dropped);
// Nothing when these kTraceBlockHeadBytes are none.
std::optional<TraceBlockHead> decode_trace_block_head(std::string_view bytes);
// Appends the records of a block; false when these are none.
bool decode_trace_records(const TraceBlockHead& head, std::string_view bytes, std::vector<TraceRecord>& into);

}  // namespace sluice
