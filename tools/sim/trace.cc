// The formats:
//
//   arc     text, as the traces of the ARC paper: first_block n_blocks 0 request; n_blocks requests each
//   lines   text, a block a line, by any name; blank lines and lines with a * are skipped, as in the LIRS paper's
//   oracle  libCacheSim's oracleGeneral, little-endian records of 24 bytes: u32 seconds, u64 object, u32 size in bytes,
//           i64 the request at which the object comes next (-1 or the largest: never)
//   vscsi   VMware's vscsiStats as libCacheSim reads it, little-endian records; the version's high byte tells which:
//           1, 32 bytes: u32 serial, u32 length, u32 segments, u16 command, u16 version, u64 LBN, u64 microseconds
//           2, 40 bytes: u16 command, u16 version, u32 serial, u32 length, u32 segments, u64 LBN, u64 microseconds, u64
//           response time. LBNs count sectors of 512 bytes, lengths count bytes
//   sluice  what `--trace-out` records, see cache/trace_format.h
#include "tools/sim/trace.h"

#include <xxhash.h>

#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "cache/result.h"
#include "tools/sim/key_numbers.h"
#include "tools/sim/trace_input.h"

namespace sluice {
namespace {

constexpr size_t kLineBytesMax = size_t{1} << 20;
constexpr uint64_t kBlocksPerRequestMax = uint64_t{1} << 24;  // more is no request but another format
constexpr uint64_t kSectorSize = 512;
constexpr size_t kOracleRecordBytes = 24;
constexpr size_t kVscsiRecordBytes[] = {0, 32, 40};  // by version

// Bytes in pieces of the reader's choice, each in one place.
class Pieces {
 public:
  explicit Pieces(std::unique_ptr<TraceInput> input) : input_(std::move(input)) {}

  bool is_torn() const { return input_->is_torn(); }

  // The next `bytes`, fewer at the end.
  Checked<std::string_view> peek(size_t bytes) {
    while (buffer_.size() - start_ < bytes && !ended_) TRY(fill());
    return std::string_view(buffer_).substr(start_, bytes);
  }
  void take(size_t bytes) { start_ += bytes; }

  // Up to and without the next '\n', which is taken too; nothing at the end.
  Checked<std::optional<std::string_view>> line() {
    size_t searched = start_;
    for (;;) {
      const size_t end = buffer_.find('\n', searched);
      if (end != std::string::npos) return cut(end, end + 1);
      if (ended_) return start_ == buffer_.size() ? std::nullopt : cut(buffer_.size(), buffer_.size());
      if (buffer_.size() - start_ > kLineBytesMax)
        return cut(buffer_.size(), buffer_.size());  // for its reader to refuse
      searched = buffer_.size() - start_;
      TRY(fill());
    }
  }

 private:
  std::optional<std::string_view> cut(size_t end, size_t next) {
    const std::string_view line = std::string_view(buffer_).substr(start_, end - start_);
    start_ = next;
    return line;
  }

  Checked<> fill() {
    buffer_.erase(0, start_);
    start_ = 0;
    const size_t kept = buffer_.size();
    buffer_.resize(kept + kChunkBytes);
    const size_t got = TRY(input_->read(std::span(buffer_).subspan(kept)));
    buffer_.resize(kept + got);
    ended_ = got == 0;
    return {};
  }

  static constexpr size_t kChunkBytes = size_t{256} << 10;
  const std::unique_ptr<TraceInput> input_;
  std::string buffer_;
  size_t start_ = 0;
  bool ended_ = false;
};

template <typename T>
T read_at(std::string_view record, size_t offset) {  // little-endian, as is every machine this runs on
  T value;
  std::memcpy(&value, record.data() + offset, sizeof value);
  return value;
}

std::string_view trim(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
}

// The numbers of a line that has four of them and nothing else.
std::optional<std::array<uint64_t, 4>> four_numbers(std::string_view line) {
  std::array<uint64_t, 4> numbers{};
  for (uint64_t& number : numbers) {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
    if (error != std::errc()) return std::nullopt;
    line.remove_prefix(static_cast<size_t>(end - line.data()));
    if (!line.empty() && line[0] != ' ' && line[0] != '\t') return std::nullopt;
  }
  if (!trim(line).empty()) return std::nullopt;
  return numbers;
}

// What a person can make out of a line that is not understood.
std::string shown(std::string_view line) {
  constexpr size_t length_max = 40;
  std::string text(line.substr(0, length_max));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return line.size() > length_max ? text + "..." : text;
}

class TraceReader {
 public:
  TraceReader(std::string name, const TraceOptions& options, std::unique_ptr<TraceInput> input)
      : name_(std::move(name)), options_(options), pieces_(std::move(input)) {}

  Checked<Trace> read() {
    if (options_.format == "arc") {
      TRY(read_text(&TraceReader::arc_line));
    } else if (options_.format == "lines") {
      TRY(read_text(&TraceReader::name_line));
    } else if (options_.format == "oracle") {
      TRY(read_oracle());
    } else if (options_.format == "vscsi") {
      TRY(read_vscsi());
    } else {
      TRY(read_sluice());
    }
    if (trace_.blocks.empty())
      return complain("'{}' holds no request; give a trace of format {}", name_, options_.format);
    trace_.blocks_max = keys_.count();
    return std::move(trace_);
  }

 private:
  using LineReader = Checked<> (TraceReader::*)(std::string_view line);

  Checked<> read_text(LineReader reader) {
    for (place_ = 1;; place_++) {
      const std::optional<std::string_view> line = TRY(pieces_.line());
      if (!line) return {};
      if (line->size() > kLineBytesMax || line->find('\0') != std::string_view::npos) return wrong("line", "no text");
      const std::string_view text = trim(*line);
      if (!text.empty()) TRY((this->*reader)(text));
    }
  }

  Checked<> arc_line(std::string_view line) {
    const std::optional<std::array<uint64_t, 4>> numbers = four_numbers(line);
    if (!numbers) return wrong("line", fmt::format("'{}', not 'first_block n_blocks 0 request'", shown(line)));
    const auto [first, count, unused, request] = *numbers;
    if (count > kBlocksPerRequestMax) return wrong("line", fmt::format("a request of {} blocks", count));
    if (first > UINT64_MAX - count) return wrong("line", fmt::format("block {} is too far", first));
    for (uint64_t block = first; block < first + count; block++) TRY(add(block));
    return {};
  }

  Checked<> name_line(std::string_view line) {
    if (line.find('*') != std::string_view::npos) return {};
    return add(XXH3_64bits(line.data(), line.size()));
  }

  Checked<> read_oracle() {
    for (place_ = 1;; place_++) {
      const std::string_view record = TRY(whole_record(kOracleRecordBytes));
      if (record.empty()) return {};
      const auto next = read_at<int64_t>(record, 16);
      constexpr int64_t next_max = int64_t{1} << 48;
      if (next < -1 || (next > next_max && next != INT64_MAX)) {
        return wrong("record", fmt::format("its object comes next at request {}", next));
      }
      TRY(add(read_at<uint64_t>(record, 4)));
      trace_.sizes.push_back(read_at<uint32_t>(record, 12));
      add_time(uint64_t{read_at<uint32_t>(record, 0)} * 1000);
      pieces_.take(record.size());
    }
  }

  Checked<> read_vscsi() {
    place_ = 1;
    const uint32_t version = TRY(vscsi_version());
    for (;; place_++) {
      const std::string_view record = TRY(whole_record(kVscsiRecordBytes[version]));
      if (record.empty()) return {};
      if (vscsi_version_of(record, version) != version) {
        return wrong("record", fmt::format("it is not of version {} as the first one", version));
      }
      const size_t lengths = version == 1 ? 4 : 8;
      const auto length = read_at<uint32_t>(record, lengths);
      TRY(add_extent(read_at<uint64_t>(record, 16), length, read_at<uint64_t>(record, 24) / 1000));
      pieces_.take(record.size());
    }
  }
  static uint32_t vscsi_version_of(std::string_view record, uint32_t supposed) {
    return read_at<uint16_t>(record, supposed == 1 ? 14 : 2) >> 8;
  }
  // Of both records at the start, as in one the other version's field could look right by chance.
  Checked<uint32_t> vscsi_version() {
    for (const uint32_t version : {2u, 1u}) {
      const size_t bytes = kVscsiRecordBytes[version];
      const std::string_view start = TRY(pieces_.peek(2 * bytes));
      if (start.size() < bytes || vscsi_version_of(start, version) != version) continue;
      if (start.size() == 2 * bytes && vscsi_version_of(start.substr(bytes), version) != version) continue;
      return version;
    }
    if (TRY(pieces_.peek(1)).empty()) return 1;  // no record is of any version
    return wrong("record", "it is of neither version");
  }

  Checked<> add_extent(uint64_t sector, uint32_t length, uint64_t time_ms) {
    if (options_.block_size == 0) {
      TRY(add(sector));
      trace_.sizes.push_back(length);
      add_time(time_ms);
      return {};
    }
    if (length == 0) return {};
    if (sector > UINT64_MAX / kSectorSize - length) return wrong("record", fmt::format("its LBN is {}", sector));
    const uint64_t first = sector * kSectorSize / options_.block_size;
    const uint64_t last = (sector * kSectorSize + length - 1) / options_.block_size;
    for (uint64_t block = first; block <= last; block++) {
      TRY(add(block));
      trace_.sizes.push_back(static_cast<uint32_t>(options_.block_size));
      add_time(time_ms);
    }
    return {};
  }

  Checked<> read_sluice() {
    const std::string_view head = TRY(pieces_.peek(kTraceHeadBytes));
    if (head.empty()) return {};
    if (head.size() < kTraceHeadBytes) return wrong("byte", "it ends within its head");
    if (const std::string_view fault = trace_head_fault(head); !fault.empty()) return wrong("byte", fault);
    pieces_.take(kTraceHeadBytes);
    TraceDrops dropped;
    for (place_ = 1; TRY(read_block(dropped)); place_++) {
    }
    const bool is_torn = pieces_.is_torn() || !TRY(pieces_.peek(1)).empty();
    if (is_torn) note("the end is torn, as when the gateway was killed; {} whole blocks were read", place_ - 1);
    if (dropped.sum() > 0) {
      note("{} requests were not recorded: {} above --trace-rate, {} faster than they could be written", dropped.sum(),
           dropped.rate, dropped.memory);
    }
    return {};
  }
  // False at the end and before a torn block.
  Checked<bool> read_block(TraceDrops& dropped) {
    const std::string_view start = TRY(pieces_.peek(kTraceBlockHeadBytes));
    if (start.size() < kTraceBlockHeadBytes) return false;
    const std::optional<TraceBlockHead> head = decode_trace_block_head(start);
    if (!head) return wrong("block", "its sizes are none");
    const std::string_view block = TRY(pieces_.peek(kTraceBlockHeadBytes + head->bytes));
    if (block.size() < kTraceBlockHeadBytes + head->bytes) return false;
    records_.clear();
    if (!decode_trace_records(*head, block.substr(kTraceBlockHeadBytes), records_)) {
      return wrong("block", "its records are none");
    }
    pieces_.take(block.size());
    for (const TraceRecord& record : records_) TRY(add_pages(record));
    dropped = head->dropped;
    return true;
  }
  Checked<> add_pages(const TraceRecord& record) {
    const uint64_t end = record.first_page + record.pages;
    for (uint64_t page = record.first_page; page < end;) {
      const uint64_t block = page / kPagesPerBlock;
      const uint64_t key[] = {record.file, record.generation, block};
      TRY(add(XXH3_64bits(key, sizeof key)));
      const uint64_t first_in_block = page % kPagesPerBlock;
      const uint64_t count = std::min(end - page, kPagesPerBlock - first_in_block);
      const auto mask = static_cast<uint16_t>(((1u << count) - 1) << first_in_block);
      page += count;
      trace_.pages.push_back({.mask = mask, .op = record.op, .goes_on = page < end});
      add_time(record.time_ns / 1'000'000);
    }
    return {};
  }

  // Stays available until taken; empty at the end.
  Checked<std::string_view> whole_record(size_t bytes) {
    const std::string_view record = TRY(pieces_.peek(bytes));
    if (record.empty() || record.size() == bytes) return record;
    return complain(
        "'{}', record {}: is cut short, {} bytes instead of {}; get a whole copy, or give its --format of {}", name_,
        place_, record.size(), bytes, kTraceFormats);
  }

  Checked<> add(uint64_t key) {
    const BlockId block = keys_.number_of(key);
    if (block == kNoBlock) return wrong("request", "there are more than 4294967295 different blocks");
    trace_.blocks.push_back(block);
    return {};
  }
  void add_time(uint64_t time_ms) {
    if (trace_.times_ms.empty()) start_ms_ = time_ms;
    trace_.times_ms.push_back(static_cast<uint32_t>(time_ms - start_ms_));
  }

  template <typename... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    trace_.notes.push_back(fmt::format("'{}': {}", name_, fmt::format(format, std::forward<Args>(args)...)));
  }
  tl::unexpected<Complaint> wrong(std::string_view what, std::string_view why) const {
    return complain("'{}', {} {}: {}; this is no trace of format {}, give its --format of {}", name_, what, place_, why,
                    options_.format, kTraceFormats);
  }

  const std::string name_;
  const TraceOptions& options_;
  Pieces pieces_;
  Trace trace_;
  KeyNumbers keys_;
  std::vector<TraceRecord> records_;  // of one block
  uint64_t place_ = 0;                // line or record, from 1
  uint64_t start_ms_ = 0;
};

}  // namespace

Checked<Trace> read_trace(const std::string& path, const TraceOptions& options) {
  std::unique_ptr<TraceInput> input = TRY(open_trace(path, {.may_be_torn = options.format == "sluice"}));
  return TraceReader(path == "-" ? "standard input" : path, options, std::move(input)).read();
}

}  // namespace sluice
