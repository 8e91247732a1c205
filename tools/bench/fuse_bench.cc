#include "tools/bench/fuse_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>

#include "cache/log.h"
#include "cache/result.h"
#include "cache/unique_fd.h"
#include "tools/bench/bench_filter.h"
#include "tools/bench/fuse_daemon.h"
#include "tools/bench/memory_fs.h"
#include "tools/bench/work_folder.h"

namespace sluice {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kFileSize = size_t{256} << 20;
constexpr const char* kFileName = "file";
constexpr const char* kCacheSize = "400M";  // holds the file, whatever metadata takes
constexpr int kRounds = 9;
constexpr unsigned kDepth = 32;

// ---- readers: reads until the time is over; 0 on an error ----

class Reader {
 public:
  Reader(std::string path, std::chrono::duration<double> time) : path_(std::move(path)), time_(time) {}

  double random_4k() {
    std::mt19937_64 random(2);
    return read_one_by_one(4096, [&](uint64_t) { return random() % (kFileSize / 4096) * 4096; });
  }
  double sequential_1m() {
    constexpr size_t size = 1 << 20;
    return read_one_by_one(size, [&](uint64_t n) { return n % (kFileSize / size) * size; });
  }
  double random_4k_deep();

 private:
  bool time_is_over() const { return interrupted() || SteadyClock::now() - begin_ > time_; }
  double rate(uint64_t reads) const {
    return static_cast<double>(reads) / std::chrono::duration<double>(SteadyClock::now() - begin_).count();
  }

  template <typename Offset>
  double read_one_by_one(size_t size, Offset offset) {
    const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    const AlignedBuffer buffer(size);
    begin_ = SteadyClock::now();
    uint64_t reads = 0;
    while (!time_is_over()) {
      if (::pread(fd.get(), buffer.get(), size, static_cast<off_t>(offset(reads))) != static_cast<ssize_t>(size))
        return 0;
      reads++;
    }
    return rate(reads);
  }

  const std::string path_;
  const std::chrono::duration<double> time_;
  SteadyClock::time_point begin_;
};

double Reader::random_4k_deep() {
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  struct io_uring ring;
  if (!fd || ::io_uring_queue_init(kDepth, &ring, 0) != 0) return 0;
  const AlignedBuffer buffer(size_t{4096} * kDepth);
  std::mt19937_64 random(2);
  const auto submit = [&](uint64_t slot) {
    io_uring_sqe* const entry = ::io_uring_get_sqe(&ring);
    ::io_uring_prep_read(entry, fd.get(), buffer.get() + slot * 4096, 4096, random() % (kFileSize / 4096) * 4096);
    ::io_uring_sqe_set_data(entry, reinterpret_cast<void*>(slot));
  };
  for (uint64_t slot = 0; slot < kDepth; slot++) submit(slot);
  begin_ = SteadyClock::now();
  uint64_t reads = 0;
  bool failed = false;
  for (unsigned under_way = kDepth; under_way > 0;) {
    const bool last = failed || time_is_over();
    io_uring_cqe* completion = nullptr;
    if (::io_uring_submit_and_wait(&ring, 1) < 0) break;
    while (::io_uring_peek_cqe(&ring, &completion) == 0) {
      failed = failed || completion->res != 4096;
      const auto slot = reinterpret_cast<uint64_t>(::io_uring_cqe_get_data(completion));
      ::io_uring_cqe_seen(&ring, completion);
      if (!last) reads++;
      last ? static_cast<void>(under_way--) : submit(slot);
    }
  }
  const double result = rate(reads);
  ::io_uring_queue_exit(&ring);
  return failed ? 0 : result;
}

// ---- rows ----

enum class Placement { apart, shared, anywhere };

struct Workload {
  const char* name;
  Placement placement;
  size_t read_size;
  double (Reader::*read)();
};

constexpr std::array kWorkloads = {
    Workload{"random-4k", Placement::apart, 4096, &Reader::random_4k},
    Workload{"random-4k-shared", Placement::shared, 4096, &Reader::random_4k},
    Workload{"random-4k-deep", Placement::anywhere, 4096, &Reader::random_4k_deep},
    Workload{"sequential-1m", Placement::anywhere, size_t{1} << 20, &Reader::sequential_1m},
};

void place(const FuseDaemon& daemon, Placement placement) {
  const std::vector<int>& all = usable_processors();
  const std::vector<int> first = {all.front()}, last = {all.back()};
  daemon.run_on(placement == Placement::anywhere ? all : placement == Placement::shared ? first : last);
  run_on(placement == Placement::anywhere ? all : first);
}

double median(std::vector<double> numbers) {
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

struct Samples {
  std::vector<double> rates, cpu_us;

  FuseBenchSide side(size_t read_size) const {
    const double rate = median(rates);
    return {rate, median(cpu_us), rate * static_cast<double>(read_size) / 1e6};
  }
};

Checked<> measure(const FuseDaemon& daemon, const Workload& workload, double seconds, Samples& samples) {
  place(daemon, workload.placement);
  Reader reader(daemon.mountpoint() + "/" + kFileName, std::chrono::duration<double>(seconds));
  const double cpu_before = daemon.cpu_seconds();
  const auto begin = SteadyClock::now();
  const double rate = (reader.*workload.read)();
  const double reads = rate * std::chrono::duration<double>(SteadyClock::now() - begin).count();
  if (interrupted()) return complain("interrupted");
  if (rate <= 0) return complain("{}: a read failed: {}", daemon.mountpoint(), error_text(errno));
  samples.rates.push_back(rate);
  samples.cpu_us.push_back((daemon.cpu_seconds() - cpu_before) / reads * 1e6);
  return {};
}

Checked<FuseBenchRow> measure_row(const FuseDaemon& sluice, const FuseDaemon& ceiling, const Workload& workload,
                                  double seconds) {
  Samples ours, theirs;
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; round++) {
    TRY(measure(sluice, workload, seconds / kRounds / 2, ours));
    TRY(measure(ceiling, workload, seconds / kRounds / 2, theirs));
    ratios.push_back(ours.rates.back() / theirs.rates.back());
  }
  return FuseBenchRow{workload.name, ours.side(workload.read_size), theirs.side(workload.read_size), median(ratios)};
}

// Reads the whole file, so that it is warm; both must show the same.
Checked<> prove(const FuseDaemon& daemon, std::string_view bytes) {
  std::ifstream file(daemon.mountpoint() + "/" + kFileName, std::ios::binary);
  std::string piece(size_t{1} << 20, '\0');
  for (size_t at = 0; at < bytes.size() && !interrupted(); at += piece.size()) {
    if (!file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || bytes.substr(at, piece.size()) != piece)
      return complain("{}: shows other bytes", daemon.mountpoint());
  }
  return {};
}

}  // namespace

Checked<std::vector<FuseBenchRow>> run_fuse_bench(const FuseBenchOptions& options) {
  const std::regex filter = TRY(parse_bench_filter(options.filter, kWorkloads.front().name));
  std::vector<Workload> workloads;
  for (const Workload& workload : kWorkloads) {
    if (std::regex_search(workload.name, filter)) workloads.push_back(workload);
  }
  if (workloads.empty()) return tl::unexpected(no_row_matches(options.filter, kWorkloads.front().name));
  const InterruptGuard guard;
  const WorkFolder folder = TRY(WorkFolder::make());
  const std::string bytes = random_bytes(kFileSize, 1), source = folder / "source";
  std::filesystem::create_directory(source);
  if (!std::ofstream(source + "/" + kFileName, std::ios::binary).write(bytes.data(), kFileSize).flush())
    return complain("{}: no room for {} MiB", source, kFileSize >> 20);

  const FuseDaemon ceiling =
      TRY(FuseDaemon::start(folder / "memory", [&] { return serve_from_memory(folder / "memory", kFileName, bytes); }));
  const FuseDaemon sluice = TRY(FuseDaemon::start(folder / "sluice", [&] {
    const std::string mountpoint = folder / "sluice";
    ::execl("/proc/self/exe", "sluice", "mount", "--foreground", "--log-level", "warning", "--cache-size", kCacheSize,
            source.c_str(), mountpoint.c_str(), nullptr);
    return EXIT_FAILURE;
  }));
  TRY(prove(ceiling, bytes));
  TRY(prove(sluice, bytes));
  std::vector<FuseBenchRow> rows;
  for (const Workload& workload : workloads) {
    rows.push_back(TRY(measure_row(sluice, ceiling, workload, options.seconds)));
  }
  run_on(usable_processors());
  return rows;
}

std::string fuse_bench_table(const std::vector<FuseBenchRow>& rows) {
  std::string table = fmt::format("{:<17} {:>12} {:>12} {:>8} {:>10} {:>10} {:>12} {:>12}\n", "workload", "sluice 1/s",
                                  "ceiling 1/s", "ratio", "MB/s", "ceiling", "CPU us/read", "ceiling");
  for (const FuseBenchRow& row : rows) {
    table += fmt::format("{:<17} {:>12.0f} {:>12.0f} {:>8.2f} {:>10.0f} {:>10.0f} {:>12.1f} {:>12.1f}\n", row.workload,
                         row.sluice.reads_per_second, row.ceiling.reads_per_second, row.ratio,
                         row.sluice.megabytes_per_second, row.ceiling.megabytes_per_second, row.sluice.cpu_us_per_read,
                         row.ceiling.cpu_us_per_read);
  }
  return table;
}

nlohmann::ordered_json fuse_bench_json(const std::vector<FuseBenchRow>& rows) {
  const auto side = [](const FuseBenchSide& from) {
    return nlohmann::ordered_json{{"reads_per_second", from.reads_per_second},
                                  {"megabytes_per_second", from.megabytes_per_second},
                                  {"cpu_us_per_read", from.cpu_us_per_read}};
  };
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const FuseBenchRow& row : rows) {
    list.push_back({{"workload", row.workload},
                    {"sluice", side(row.sluice)},
                    {"ceiling", side(row.ceiling)},
                    {"ratio", row.ratio}});
  }
  return list;
}

}  // namespace sluice
