#include "tools/sim/trace.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <cstring>
#include <random>

#include "tests/support/catch.h"
#include "tests/support/seed.h"
#include "tests/support/temporary_file.h"

namespace sluice {
namespace {

using Numbers = std::vector<BlockId>;
using Sizes = std::vector<uint32_t>;

Trace trace_of(std::string_view content, const TraceOptions& options) {
  const TemporaryFile file(content);
  Checked<Trace> trace = read_trace(file.path(), options);
  INFO((trace ? "" : trace.error().line));
  REQUIRE(trace);
  return std::move(*trace);
}

// Without the leading name of the file.
std::string complaint_of(std::string_view content, const std::string& format) {
  const TemporaryFile file(content);
  const Checked<Trace> trace = read_trace(file.path(), {.format = format});
  if (trace) return "";
  INFO(trace.error().line);
  const std::string name = "'" + file.path() + "'";
  REQUIRE(trace.error().line.starts_with(name));
  CHECK(trace.error().line.find('\n') == std::string::npos);
  return trace.error().line.substr(name.size());
}

template <typename... Fields>
std::string packed(Fields... fields) {
  std::string bytes;
  const auto add = [&](auto field) {
    char raw[sizeof field];
    std::memcpy(raw, &field, sizeof field);
    bytes.append(raw, sizeof field);
  };
  (add(fields), ...);
  return bytes;
}

std::string oracle_record(uint32_t seconds, uint64_t object, uint32_t size, int64_t next = -1) {
  return packed(seconds, object, size, next);
}
std::string vscsi1_record(uint64_t lbn, uint32_t length, uint64_t microseconds) {
  return packed(uint32_t{7}, length, uint32_t{1}, uint16_t{0x2a}, uint16_t{0x0100}, lbn, microseconds);
}
std::string vscsi2_record(uint64_t lbn, uint32_t length, uint64_t microseconds) {
  return packed(uint16_t{0x2a}, uint16_t{0x0200}, uint32_t{7}, length, uint32_t{1}, lbn, microseconds, uint64_t{99});
}

std::string gzipped(const std::string& bytes) {
  std::string out(::compressBound(bytes.size()) + 64, '\0');
  z_stream stream{};
  ::deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}
std::string xzed(const std::string& bytes) {
  std::string out(::lzma_stream_buffer_bound(bytes.size()), '\0');
  size_t size = 0;
  REQUIRE(::lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(bytes.data()),
                                    bytes.size(), reinterpret_cast<uint8_t*>(out.data()), &size,
                                    out.size()) == LZMA_OK);
  out.resize(size);
  return out;
}
std::string zstded(const std::string& bytes) {
  std::string out(::ZSTD_compressBound(bytes.size()), '\0');
  out.resize(::ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

TEST_CASE("trace: arc requests are expanded into blocks", "[tools][trace]") {
  CHECK(trace_of("5 3 0 0\n6 1 0 1\r\n\n  100\t2 0 2", {.format = "arc"}).blocks == Numbers{0, 1, 2, 1, 3, 4});
  CHECK(trace_of("1 0 0 0\n9 1 0 1\n", {.format = "arc"}).blocks == Numbers{0});
}

TEST_CASE("trace: lines are names, blank lines and those with an asterisk are skipped", "[tools][trace]") {
  const Trace trace = trace_of("1\n\n*\n/a path/with words\n 1 \r\n* * *\n01\n/a path/with words", {.format = "lines"});
  CHECK(trace.blocks == Numbers{0, 1, 0, 2, 1});
  CHECK(trace.blocks_max == 3);
  CHECK(trace.sizes.empty());
  CHECK(trace.times_ms.empty());
}

TEST_CASE("trace: oracle records have objects, sizes and times", "[tools][trace]") {
  const std::string records =
      oracle_record(10, 77, 4096, 3) + oracle_record(11, 1ULL << 63, 512) + oracle_record(13, 77, 4096, INT64_MAX);
  const Trace trace = trace_of(records, {.format = "oracle"});
  CHECK(trace.blocks == Numbers{0, 1, 0});
  CHECK(trace.sizes == Sizes{4096, 512, 4096});
  CHECK(trace.times_ms == Sizes{0, 1000, 3000});
}

TEST_CASE("trace: vscsi records of both versions are objects named by their LBN", "[tools][trace]") {
  for (const auto record : {vscsi1_record, vscsi2_record}) {
    const Trace trace = trace_of(record(8, 4096, 1'000'000) + record(16, 512, 1'500'000) + record(8, 4096, 3'000'000),
                                 {.format = "vscsi"});
    CHECK(trace.blocks == Numbers{0, 1, 0});
    CHECK(trace.sizes == Sizes{4096, 512, 4096});
    CHECK(trace.times_ms == Sizes{0, 500, 2000});
    CHECK(trace_of(record(1, 512, 0), {.format = "vscsi"}).blocks == Numbers{0});
  }
}

TEST_CASE("trace: vscsi requests are cut into blocks when a block size is given", "[tools][trace]") {
  // Sectors 7 and 8 lie in pages 0 and 1; sector 8 alone in page 1.
  const std::string records = vscsi2_record(7, 1024, 0) + vscsi2_record(8, 512, 0) + vscsi2_record(24, 0, 0);
  const Trace trace = trace_of(records, {.format = "vscsi", .block_size = 4096});
  CHECK(trace.blocks == Numbers{0, 1, 1});
  CHECK(trace.sizes == Sizes{4096, 4096, 4096});
}

TEST_CASE("trace: packed traces are told by their first bytes, and may have several parts", "[tools][trace]") {
  std::mt19937_64 random(test_seed());
  std::string first;
  std::string second;
  for (int i = 0; i < 200'000; i++) (i % 2 == 0 ? first : second) += std::to_string(random() % 5000) + "\n";
  const Trace plain = trace_of(first + second, {.format = "lines"});
  REQUIRE(plain.blocks.size() == 200'000);
  for (const auto pack : {gzipped, xzed, zstded}) {
    CHECK(trace_of(pack(first + second), {.format = "lines"}).blocks == plain.blocks);
    CHECK(trace_of(pack(first) + pack(second), {.format = "lines"}).blocks == plain.blocks);
    CHECK(trace_of(pack("") + pack(first + second), {.format = "lines"}).blocks == plain.blocks);
  }
}

TEST_CASE("trace: a packed trace that is cut short or damaged is refused", "[tools][trace]") {
  std::mt19937_64 random(test_seed());
  std::string text;
  for (int i = 0; i < 50'000; i++) text += std::to_string(random()) + "\n";
  for (const auto pack : {gzipped, xzed, zstded}) {
    const std::string whole = pack(text);
    CHECK(complaint_of(whole.substr(0, whole.size() / 2), "lines").find("damaged or cut short") != std::string::npos);
    CHECK(complaint_of(whole.substr(0, whole.size() - 1), "lines").find("damaged or cut short") != std::string::npos);
    CHECK(complaint_of(whole.substr(0, 12), "lines").find("damaged or cut short") != std::string::npos);
    std::string damaged = whole;
    for (size_t i = damaged.size() / 2; i < damaged.size() / 2 + 64; i++) damaged[i] = static_cast<char>(~damaged[i]);
    CHECK(complaint_of(damaged, "lines").find("damaged or cut short") != std::string::npos);
    CHECK(complaint_of(whole + "and more", "lines").find("damaged or cut short") != std::string::npos);
  }
}

TEST_CASE("trace: what is not of the format is named with its place and the remedy", "[tools][trace]") {
  CHECK(complaint_of("1 1 0 0\n2 1 0\n", "arc") ==
        ", line 2: '2 1 0', not 'first_block n_blocks 0 request'; this is no trace of format arc, give its --format of "
        "arc|oracle|vscsi|lines|sluice");
  CHECK(complaint_of("1 1 0 0 0\n", "arc").starts_with(", line 1: "));
  CHECK(complaint_of("1 x 0 0\n", "arc").starts_with(", line 1: "));
  CHECK(complaint_of("18446744073709551610 16 0 0\n", "arc").starts_with(", line 1: block 18446744073709551610 is "));
  CHECK(complaint_of("1 -1 0 0\n", "arc").starts_with(", line 1: "));
  CHECK(complaint_of("1 1 0 0\n1 4000000000 0 0\n", "arc").starts_with(", line 2: a request of 4000000000 blocks; "));
  CHECK(complaint_of("99999999999999999999 1 0 0\n", "arc").starts_with(", line 1: "));
  CHECK(complaint_of(oracle_record(1, 2, 3), "lines").starts_with(", line 1: no text; "));
  CHECK(complaint_of(std::string(3 << 20, 'x'), "lines").starts_with(", line 1: no text; "));
  CHECK(complaint_of(oracle_record(1, 2, 3) + "half", "oracle").starts_with(", record 2: is cut short, 4 bytes "));
  CHECK(complaint_of("1 1 0 0\n1 1 0 1\n1 1 0 2\n", "oracle").starts_with(", record 1: "));
  CHECK(complaint_of(vscsi2_record(1, 2, 3) + "half", "vscsi").starts_with(", record 2: is cut short, 4 bytes "));
  CHECK(complaint_of(std::string(80, 'x'), "vscsi").starts_with(", record 1: it is of neither version; "));
  CHECK(complaint_of(vscsi1_record(1, 2, 3) + vscsi1_record(1, 2, 3) + std::string(32, 'x'), "vscsi")
            .starts_with(", record 3: it is not of version 1 as the first one; "));
  CHECK(complaint_of("x", "vscsi").starts_with(", record 1: "));
}

TEST_CASE("trace: one without requests is refused", "[tools][trace]") {
  for (const char* format : {"arc", "oracle", "vscsi", "lines"}) {
    CHECK(complaint_of("", format).starts_with(" holds no request; "));
    CHECK(complaint_of(zstded(""), format).starts_with(" holds no request; "));
  }
  CHECK(complaint_of("*\n\n", "lines").starts_with(" holds no request; "));
}

TEST_CASE("trace: a file that cannot be read is named with the reason", "[tools][trace]") {
  const Checked<Trace> missing = read_trace("/nonexistent/trace", {.format = "lines"});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().line ==
        "cannot read '/nonexistent/trace': No such file or directory; give a file that holds a trace");
  const Checked<Trace> directory = read_trace("/tmp", {.format = "lines"});
  REQUIRE_FALSE(directory);
  CHECK(directory.error().line == "cannot read '/tmp': Is a directory; give a file that holds a trace");
}

}  // namespace
}  // namespace sluice
