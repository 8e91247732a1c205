#include "cache/trace_format.h"

#include <cstring>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr std::string_view kMagic = "SLUICETR";
constexpr uint32_t kVersion = 1;
constexpr size_t kVarintBytesMax = 10;
constexpr size_t kRecordBytesMax = 5 * kVarintBytesMax;

template <typename T>
void append_fixed(std::string& bytes, T value) {  // little-endian, as is every machine this runs on
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}
template <typename T>
T fixed_at(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

void append_varint(std::string& bytes, uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
}
// Small distances are small numbers, in both directions. Distances wrap, so any two numbers have one.
void append_distance(std::string& bytes, uint64_t from, uint64_t to) {
  const uint64_t distance = to - from;
  append_varint(bytes, distance << 1 ^ (0 - (distance >> 63)));
}

// Reads varints off the front; once one is no varint, `failed` and zeros.
struct VarintReader {
  std::string_view bytes;
  bool failed = false;

  uint64_t next() {
    uint64_t value = 0;
    for (size_t i = 0; i < std::min(kVarintBytesMax, bytes.size()); i++) {
      const auto byte = static_cast<uint8_t>(bytes[i]);
      value |= uint64_t{byte & 0x7fu} << (7 * i);
      if ((byte & 0x80) != 0) continue;
      bytes.remove_prefix(i + 1);
      return value;
    }
    failed = true;
    return 0;
  }
  uint64_t next_after(uint64_t from) {
    const uint64_t coded = next();
    return from + (coded >> 1 ^ (0 - (coded & 1)));
  }
};

uint64_t end_of(const TraceRecord& record) {
  return record.first_page + record.pages;
}
TraceRecord before_first(uint64_t time_us) {
  return {.time_ns = time_us * 1000, .pages = 0};
}

void append_record(std::string& bytes, const TraceRecord& before, const TraceRecord& record) {
  ASSERT(record.pages >= 1 && record.pages <= kTraceRecordPagesMax);
  const bool other_file = record.file != before.file || record.generation != before.generation;
  append_distance(bytes, before.time_ns / 1000, record.time_ns / 1000);
  append_varint(bytes, uint64_t{record.pages - 1u} << 3 | static_cast<uint64_t>(record.op) << 1 | uint64_t{other_file});
  if (other_file) {
    append_distance(bytes, before.file, record.file);
    append_varint(bytes, record.generation);
  }
  append_distance(bytes, end_of(before), record.first_page);
}

// False when what the varints say is no record.
bool read_record(VarintReader& varints, const TraceRecord& before, TraceRecord& record) {
  record = before;
  record.time_ns = varints.next_after(before.time_ns / 1000) * 1000;
  const uint64_t word = varints.next();
  const uint64_t pages = (word >> 3) + 1;
  const uint64_t op = word >> 1 & 3;
  if (pages > kTraceRecordPagesMax || op > static_cast<uint64_t>(TraceOp::write)) return false;
  record.pages = static_cast<uint16_t>(pages);
  record.op = static_cast<TraceOp>(op);
  if ((word & 1) != 0) {
    record.file = varints.next_after(before.file);
    const uint64_t generation = varints.next();
    if (generation > UINT32_MAX) return false;
    record.generation = static_cast<uint32_t>(generation);
  }
  record.first_page = varints.next_after(end_of(before));
  return !varints.failed && record.first_page <= UINT64_MAX - pages;
}

}  // namespace

std::string encode_trace_head() {
  std::string bytes(kMagic);
  append_fixed(bytes, kVersion);
  append_fixed(bytes, kPageSize);
  return bytes;
}

std::string_view trace_head_fault(std::string_view head) {
  if (!head.starts_with(kMagic)) return "it does not begin as one";
  if (fixed_at<uint32_t>(head, 8) != kVersion) return "it is of another version";
  if (fixed_at<uint32_t>(head, 12) != kPageSize) return "its pages are of another size";
  return {};
}

std::string encode_trace_block(std::span<const TraceRecord> records, const TraceDrops& dropped) {
  ASSERT(records.size() <= kTraceBlockRecordsMax);
  const uint64_t time_us = records.empty() ? 0 : records.front().time_ns / 1000;
  std::string coded;
  TraceRecord before = before_first(time_us);
  for (const TraceRecord& record : records) {
    append_record(coded, before, record);
    before = record;
  }
  std::string bytes;
  bytes.reserve(kTraceBlockHeadBytes + coded.size());
  append_fixed(bytes, static_cast<uint32_t>(coded.size()));
  append_fixed(bytes, static_cast<uint32_t>(records.size()));
  append_fixed(bytes, time_us);
  append_fixed(bytes, dropped.rate);
  append_fixed(bytes, dropped.memory);
  return bytes + coded;
}

std::optional<TraceBlockHead> decode_trace_block_head(std::string_view bytes) {
  const TraceBlockHead head = {
      .bytes = fixed_at<uint32_t>(bytes, 0),
      .records = fixed_at<uint32_t>(bytes, 4),
      .time_us = fixed_at<uint64_t>(bytes, 8),
      .dropped = {.rate = fixed_at<uint64_t>(bytes, 16), .memory = fixed_at<uint64_t>(bytes, 24)},
  };
  if (head.records > kTraceBlockRecordsMax || head.bytes > head.records * kRecordBytesMax) return std::nullopt;
  return head;
}

bool decode_trace_records(const TraceBlockHead& head, std::string_view bytes, std::vector<TraceRecord>& into) {
  VarintReader varints{bytes};
  TraceRecord before = before_first(head.time_us);
  for (uint32_t i = 0; i < head.records; i++) {
    TraceRecord record;
    if (!read_record(varints, before, record)) return false;
    into.push_back(record);
    before = record;
  }
  return varints.bytes.empty();
}

}  // namespace sluice
