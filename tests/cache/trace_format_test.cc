#include "cache/trace_format.h"

#include <random>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using Records = std::vector<TraceRecord>;

// Nothing when it is refused.
std::optional<Records> decoded(const std::string& block) {
  if (block.size() < kTraceBlockHeadBytes) return std::nullopt;
  const auto head = decode_trace_block_head(block);
  Records records;
  if (!head || !decode_trace_records(*head, std::string_view(block).substr(kTraceBlockHeadBytes), records)) {
    return std::nullopt;
  }
  return records;
}

Records random_records(size_t count, std::mt19937_64& random) {
  const auto up_to_bits = [&] { return random() >> (random() % 64); };  // small ones as well as large ones
  Records records(count);
  for (TraceRecord& record : records) {
    record.time_ns = up_to_bits() % (uint64_t{1} << 53) / 1000 * 1000;
    record.file = random() % 2 == 0 ? records.front().file : up_to_bits();
    record.first_page = up_to_bits() >> 1;
    record.generation = random() % 2 == 0 ? 0 : static_cast<uint32_t>(up_to_bits());
    record.pages = static_cast<uint16_t>(1 + random() % kTraceRecordPagesMax);
    record.op = static_cast<TraceOp>(random() % 3);
  }
  return records;
}

TEST_CASE("trace format: records come back as they were, whatever their numbers", "[cache][trace]") {
  std::mt19937_64 random(test_seed());
  for (int i = 0; i < 200; i++) {
    const Records records = random_records(random() % 100, random);
    const std::string block = encode_trace_block(records, {.rate = 3, .memory = 5});
    REQUIRE(decoded(block) == records);
    CHECK(decode_trace_block_head(block)->dropped == TraceDrops{.rate = 3, .memory = 5});
  }
}

TEST_CASE("trace format: a stream takes four bytes a record", "[cache][trace]") {
  Records records;
  for (uint64_t i = 0; i < 1000; i++) {
    records.push_back({.time_ns = i * 100'000, .file = 7, .first_page = i * 32, .generation = 1, .pages = 32});
  }
  CHECK(encode_trace_block(records, {}).size() <= kTraceBlockHeadBytes + 5 * 1000 + 8);
}

TEST_CASE("trace format: random bytes are refused or decoded, never trusted", "[cache][trace]") {
  std::mt19937_64 random(test_seed());
  for (int i = 0; i < 20'000; i++) {
    std::string block = encode_trace_block(random_records(1 + random() % 8, random), {});
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int change = 0; change < changes; change++) block[random() % block.size()] = static_cast<char>(random());
    const std::optional<Records> records = decoded(block);
    if (!records) continue;
    for (const TraceRecord& record : *records) {
      REQUIRE(record.pages >= 1);
      REQUIRE(record.pages <= kTraceRecordPagesMax);
      REQUIRE(record.op <= TraceOp::write);
      REQUIRE(record.first_page + record.pages > record.first_page);
    }
  }
}

TEST_CASE("trace format: the head says what it is", "[cache][trace]") {
  const std::string head = encode_trace_head();
  REQUIRE(head.size() == kTraceHeadBytes);
  CHECK(trace_head_fault(head).empty());
  for (const size_t byte : {0, 8, 12}) {
    std::string other = head;
    other[byte]++;
    CHECK_FALSE(trace_head_fault(other).empty());
  }
}

}  // namespace
}  // namespace sluice
