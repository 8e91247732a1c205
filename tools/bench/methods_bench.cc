#include "tools/bench/methods_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <regex>

#include "cache/log.h"
#include "tools/bench/bench_filter.h"
#include "tools/bench/page_cache.h"
#include "tools/bench/transfer.h"
#include "tools/bench/work_folder.h"

namespace sluice {
namespace {

constexpr int kRounds = 3;
constexpr uint64_t kWrittenSize = 1 << 20;
constexpr const char* kExampleRow = "sluice-vmsplice/warm";

struct Row {
  const SendWay* way;
  bool warm;

  std::string name() const { return way->name + (warm ? "/warm" : "/cold"); }
};

// Random bytes on the disk, so that no page is dirty; returns their digest.
Checked<uint64_t> write_file(const SentFile& file) {
  const auto refused = [&] {
    return complain("{}: cannot have a file of {} MiB: {}; set TMPDIR to a directory with room", file.folder,
                    file.size >> 20, error_text(errno));
  };
  const UniqueFd fd(::open(file.path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return refused();
  const std::unique_ptr<XXH3_state_t, decltype(&::XXH3_freeState)> digest(::XXH3_createState(), ::XXH3_freeState);
  ::XXH3_64bits_reset(digest.get());
  for (uint64_t at = 0; at < file.size && !interrupted();) {
    const std::string piece = random_bytes(std::min(kWrittenSize, file.size - at), at);
    if (::write(fd.get(), piece.data(), piece.size()) != static_cast<ssize_t>(piece.size())) return refused();
    ::XXH3_64bits_update(digest.get(), piece.data(), piece.size());
    at += piece.size();
  }
  if (::fsync(fd.get()) != 0) return refused();
  return ::XXH3_64bits_digest(digest.get());
}

Checked<MethodRow> measure_once(const Row& row, const TransferPlan& plan) {
  TRY(empty_page_cache(plan.file.path()));
  const Transfer transfer = TRY(run_transfer(*row.way, plan));
  return MethodRow{.method = row.way->name,
                   .title = row.way->title,
                   .warm = row.warm,
                   .bytes = plan.file.size,
                   .refused = transfer.refused,
                   .calls = transfer.calls,
                   .own_calls = transfer.sent.own_calls,
                   .counting = plan.counting,
                   .context_switches = transfer.sender.context_switches,
                   .copied_bytes = transfer.sent.copied_bytes,
                   .waits = transfer.sent.waits,
                   .seconds = transfer.seconds,
                   .sender_cpu_seconds = transfer.sender.cpu_seconds,
                   .receiver_cpu_seconds = transfer.receiver_cpu_seconds,
                   .page_cache_pages = TRY(page_cache_pages(plan.file.path()))};
}

// The calls that the run of `timed` would have needed, by a run of its own. Waits belong to the calls.
Checked<> count_by_trace(const Row& row, TransferPlan plan, MethodRow& timed) {
  plan.counting = CallCounting::trace;
  const MethodRow traced = TRY(measure_once(row, plan));
  timed.calls = traced.calls;
  timed.own_calls = traced.own_calls;
  timed.waits = traced.waits;
  return {};
}

Checked<MethodRow> measure(const Row& row, const TransferPlan& plan) {
  TransferPlan timed = plan;
  timed.counting = plan.counting == CallCounting::perf ? CallCounting::perf : CallCounting::own;
  std::vector<MethodRow> rounds;
  for (int round = 0; round < kRounds; ++round) {
    rounds.push_back(TRY(measure_once(row, timed)));
    if (!rounds.back().refused.empty()) return rounds.back();
  }
  const auto middle = rounds.begin() + kRounds / 2;
  std::nth_element(rounds.begin(), middle, rounds.end(),
                   [](const MethodRow& a, const MethodRow& b) { return a.seconds < b.seconds; });
  MethodRow median = *middle;
  median.counting = plan.counting;
  if (plan.counting == CallCounting::trace) TRY(count_by_trace(row, plan, median));
  if (plan.counting == CallCounting::own) median.calls = median.own_calls;
  return median;
}

}  // namespace

Checked<std::vector<MethodRow>> run_methods_bench(const MethodsBenchOptions& options) {
  const std::regex filter = TRY(parse_bench_filter(options.filter, kExampleRow));
  const std::vector<SendWay> ways = send_ways();
  std::vector<Row> wanted;
  for (const SendWay& way : ways) {
    for (const bool warm : {false, true}) {
      const Row row{&way, warm};
      if (std::regex_search(row.name(), filter)) wanted.push_back(row);
    }
  }
  if (wanted.empty()) return tl::unexpected(no_row_matches(options.filter, kExampleRow));
  const InterruptGuard guard;
  const WorkFolder folder = TRY(WorkFolder::make());
  TransferPlan plan{.file = {.folder = folder.path(), .name = "file", .size = options.size_bytes},
                    .counting = probe_call_counting()};
  plan.digest = TRY(write_file(plan.file));
  std::vector<MethodRow> rows;
  for (const Row& row : wanted) {
    plan.warm = row.warm;
    rows.push_back(TRY(measure(row, plan)));
  }
  return rows;
}

}  // namespace sluice
