#include "tools/bench/cache_bench.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <regex>
#include <thread>

#include "cache/block.h"
#include "cache/result.h"
#include "tools/bench/bench_filter.h"
#include "tools/bench/contender.h"

namespace sluice {
namespace {

constexpr uint64_t kBudgetBytes = uint64_t{64} << 20;
constexpr uint64_t kPagesHeld = kBudgetBytes / kPageSize * 3 / 4;  // fits in, whatever metadata and uneven shards take
constexpr uint64_t kPagesMixed = 4 * kBudgetBytes / kPageSize;
constexpr double kZipfExponent = 0.99;
constexpr size_t kDraws = size_t{1} << 17;
constexpr int kRepetitions = 15;
constexpr std::array kThreads = {1, 2};
constexpr uint64_t kSlowestNs = 1'000'000;         // what takes longer counts as that
constexpr uint64_t kNewPages = uint64_t{1} << 32;  // the first of those that only the workload `miss` asks for

// Pages below `count`, drawn by Zipf's law. The same for everyone.
std::vector<uint32_t> zipf_draws(uint64_t count) {
  std::mt19937_64 random(1);
  std::vector<uint32_t> page_of_rank(count);
  std::iota(page_of_rank.begin(), page_of_rank.end(), 0);
  std::shuffle(page_of_rank.begin(), page_of_rank.end(), random);
  std::vector<double> sums(count);
  double sum = 0;
  for (uint64_t rank = 0; rank < count; rank++) sums[rank] = sum += std::pow(rank + 1, -kZipfExponent);
  std::uniform_real_distribution<double> uniform(0, sum);
  std::vector<uint32_t> draws(kDraws);
  for (uint32_t& draw : draws) {
    const auto found = std::upper_bound(sums.begin(), sums.end() - 1, uniform(random));
    draw = page_of_rank[static_cast<size_t>(found - sums.begin())];
  }
  return draws;
}

using Loop = std::function<void(benchmark::State&)>;  // one thread of a row

// Counts hits as it calls read_one(n) for n = 0, 1, ... until the time is over.
template <typename ReadOne>
void read_on(benchmark::State& state, ReadOne read_one) {
  constexpr uint64_t batch = 64;
  uint64_t done = 0, hits = 0;
  while (state.KeepRunningBatch(batch)) {
    for (uint64_t i = 0; i < batch; i++) hits += read_one(done + i);
    done += batch;
  }
  state.counters["hits"] = static_cast<double>(hits);
}

void read_draws(benchmark::State& state, Contender& cache, const std::vector<uint32_t>& draws) {
  const size_t start = kDraws / static_cast<size_t>(state.threads()) * static_cast<size_t>(state.thread_index());
  read_on(state, [&](uint64_t n) { return cache.read(draws[(start + n) % kDraws]); });
}

void read_hottest(benchmark::State& state, Contender& cache) {
  read_on(state, [&](uint64_t) { return cache.read(0); });
}

// Times each hit; the counter says what 99 of 100 take at most. The first rank of a bucket's times is its number.
void read_timed(benchmark::State& state, Contender& cache, const std::vector<uint32_t>& draws) {
  using Clock = std::chrono::steady_clock;
  for (uint64_t i = 0; i < 4 * kPagesHeld; i++) cache.read(i % kPagesHeld);
  std::vector<uint64_t> hits_of_ns(kSlowestNs + 1);
  uint64_t hits = 0;
  size_t n = 0;
  for (auto _ : state) {  // NOLINT(clang-analyzer-deadcode.DeadStores): so the library counts
    const auto start = Clock::now();
    const bool hit = cache.read(draws[n++ % kDraws]);
    const auto taken = static_cast<uint64_t>((Clock::now() - start).count());
    if (!hit) continue;
    hits++;
    hits_of_ns[std::min(taken, kSlowestNs)]++;
  }
  uint64_t faster = 0, ns = 0;
  while (ns < kSlowestNs && (faster += hits_of_ns[ns]) < hits - hits / 100) ns++;
  state.counters["hits"] = static_cast<double>(hits);
  state.counters["ns"] = static_cast<double>(ns);
}

void read_new(benchmark::State& state, Contender& cache, std::atomic<uint64_t>& next) {
  uint64_t mine = 0;
  read_on(state, [&](uint64_t n) {
    constexpr uint64_t taken = 4096;
    if (n % taken == 0) mine = next.fetch_add(taken);
    return cache.read(mine + n % taken);
  });
}

void compute(benchmark::State& state) {
  uint64_t number = 1;
  for (auto _ : state) {  // NOLINT(clang-analyzer-deadcode.DeadStores): so the library counts
    for (int i = 0; i < 16; i++) benchmark::DoNotOptimize(number *= 0x9e3779b97f4a7c15);
  }
}

struct Row {
  std::string workload;
  std::string cache;
  Loop loop;
  int threads_max = kThreads.back();
};

// A contender under each workload. One cache serves both kinds of hits, another those that evict; each is made, and
// the first one filled, by the first of its rows that runs.
class Bench {
 public:
  Bench() {
    add_row("compute", "machine", compute);
    for (const ContenderKind& kind : contenders()) {
      auto& caches = caches_.emplace_back(std::make_unique<Caches>(kind));
      Caches* const of = caches.get();
      add_row("hit-zipf", kind.name, [this, of](auto& state) { read_draws(state, of->filled(), draws_held_); });
      add_row("hit-hot", kind.name, [of](auto& state) { read_hottest(state, of->filled()); });
      add_row("mixed", kind.name, [this, of](auto& state) { read_draws(state, of->evicting(), draws_mixed_); });
      add_row("miss", kind.name, [of](auto& state) { read_new(state, of->evicting(), of->next_new); });
    }
    rows_.push_back({"p99-still", "sluice",
                     [this](auto& state) { read_timed(state, *kSluiceContender.make(kBudgetBytes), draws_held_); }, 1});
    rows_.push_back({"p99-resize", "sluice",
                     [this](auto& state) { read_timed(state, *make_resizing_sluice(kBudgetBytes), draws_held_); }, 1});
    constexpr std::array order = {"compute", "hit-zipf", "hit-hot", "mixed", "miss", "p99-still", "p99-resize"};
    std::stable_sort(rows_.begin(), rows_.end(), [&](const Row& left, const Row& right) {
      return std::find(order.begin(), order.end(), left.workload) <
             std::find(order.begin(), order.end(), right.workload);
    });
  }

  const std::vector<Row>& rows() const { return rows_; }

 private:
  struct Caches {
    explicit Caches(const ContenderKind& of) : kind(of) {}

    const ContenderKind kind;
    std::once_flag fill_once, make_once;
    std::unique_ptr<Contender> held, turned_over;
    std::atomic<uint64_t> next_new{kNewPages};

    Contender& filled() {
      std::call_once(fill_once, [this] {
        held = kind.make(kBudgetBytes);
        for (uint64_t i = 0; i < 4 * kPagesHeld; i++) held->read(i % kPagesHeld);
      });
      return *held;
    }
    Contender& evicting() {
      std::call_once(make_once, [this] {
        turned_over = kind.make(kBudgetBytes);
        for (uint64_t i = 0; i < kPagesMixed; i++) turned_over->read(i);
      });
      return *turned_over;
    }
  };

  void add_row(std::string_view workload, std::string_view cache, Loop loop) {
    rows_.push_back({std::string(workload), std::string(cache), std::move(loop), kThreads.back()});
  }

  const std::vector<uint32_t> draws_held_ = zipf_draws(kPagesHeld);
  const std::vector<uint32_t> draws_mixed_ = zipf_draws(kPagesMixed);
  std::vector<std::unique_ptr<Caches>> caches_;
  std::vector<Row> rows_;
};

// In a process that never had a second thread the C library leaves the atomic operations of locks and shared pointers
// out, so in turns that come at random some rows would be measured without. No cache of a server has that luck.
class SecondThread {
 public:
  SecondThread() : thread_([this] { ended_.get_future().wait(); }) {}
  ~SecondThread() {
    ended_.set_value();
    thread_.join();
  }

 private:
  std::promise<void> ended_;
  std::thread thread_;
};

std::string name_of(const Row& row, int threads) {
  return fmt::format("{}/{}/{}", row.workload, row.cache, threads);
}

// Keeps the repetitions of each row.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      Found& found = found_[run.run_name.function_name];
      const auto measured = run.counters.find("ns");
      found.nanoseconds.push_back(measured == run.counters.end() ? run.GetAdjustedRealTime() : measured->second.value);
      found.reads += static_cast<double>(run.iterations);
      const auto hits = run.counters.find("hits");
      if (hits != run.counters.end()) found.hits = found.hits.value_or(0) + hits->second.value;
    }
  }

  std::optional<BenchRow> row(const Row& row, int threads) const {
    const auto entry = found_.find(name_of(row, threads));
    if (entry == found_.end()) return std::nullopt;
    Found found = entry->second;
    const auto middle = found.nanoseconds.begin() + static_cast<std::ptrdiff_t>(found.nanoseconds.size() / 2);
    std::nth_element(found.nanoseconds.begin(), middle, found.nanoseconds.end());
    BenchRow result{.workload = row.workload,
                    .cache = row.cache,
                    .threads = static_cast<uint32_t>(threads),
                    .nanoseconds = *middle,
                    .least_nanoseconds = *std::min_element(found.nanoseconds.begin(), found.nanoseconds.end()),
                    .hit_ratio = {}};
    if (found.hits) result.hit_ratio = *found.hits / found.reads;
    return result;
  }

 private:
  struct Found {
    std::vector<double> nanoseconds;
    double reads = 0;
    std::optional<double> hits;
  };
  std::map<std::string, Found> found_;
};

// Registers what the filter lets through; returns how many rows.
size_t register_rows(const Bench& bench, const std::regex& filter, [[maybe_unused]] double seconds) {
  size_t count = 0;
  for (const Row& row : bench.rows()) {
    for (const int threads : kThreads) {
      if (threads > row.threads_max || !std::regex_search(name_of(row, threads), filter)) continue;
#ifndef __clang_analyzer__  // which takes what the library keeps for a leak
      benchmark::RegisterBenchmark(name_of(row, threads).c_str(), row.loop)
          ->Threads(threads)
          ->Repetitions(kRepetitions)
          ->MinTime(seconds / kRepetitions)
          ->UseRealTime();
#endif
      count++;
    }
  }
  return count;
}

void set_up_library() {
  static std::string program = "sluice", interleaving = "--benchmark_enable_random_interleaving=true";
  std::array<char*, 3> arguments = {program.data(), interleaving.data(), nullptr};
  int count = 2;
  benchmark::Initialize(&count, arguments.data());
}

}  // namespace

Checked<std::vector<BenchRow>> run_cache_bench(const CacheBenchOptions& options) {
  const std::regex filter = TRY(parse_bench_filter(options.filter, "hit-.*/sluice"));
  const Bench bench;
  if (register_rows(bench, filter, options.seconds) == 0) {
    return tl::unexpected(no_row_matches(options.filter, "hit-zipf/sluice/1"));
  }
  set_up_library();
  Collector collector;
  const SecondThread second_thread;
  benchmark::RunSpecifiedBenchmarks(&collector);
  benchmark::ClearRegisteredBenchmarks();
  std::vector<BenchRow> rows;
  for (const Row& row : bench.rows()) {
    for (const int threads : kThreads) {
      if (auto found = collector.row(row, threads)) rows.push_back(std::move(*found));
    }
  }
  return rows;
}

}  // namespace sluice
