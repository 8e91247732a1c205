#include "tools/command_bench.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cache/log.h"
#include "cache/unique_fd.h"
#include "tools/bench/cache_bench.h"
#include "tools/bench/contender.h"
#include "tools/bench/fuse_bench.h"
#include "tools/bench/memory_fs.h"
#include "tools/bench/methods_bench.h"
#include "tools/bench/methods_svg.h"
#include "tools/bench/nfs_bench.h"
#include "tools/text_file.h"

namespace sluice {

namespace {

double seconds_of(const Options& options) {
  return std::chrono::duration<double>(options.bench_time).count();
}

int bench_fuse(const Options& options) {
  const auto rows = run_fuse_bench({.filter = options.bench_filter, .seconds = seconds_of(options)});
  if (!rows) {
    tell(rows.error());
    return EXIT_FAILURE;
  }
  fmt::print("{}", options.json ? fuse_bench_json(*rows).dump(2) + "\n" : fuse_bench_table(*rows));
  return EXIT_SUCCESS;
}

tl::unexpected<Complaint> cannot_draw(const std::string& path, int error) {
  return complain("--svg: cannot write '{}': {}; give a file in a directory that you may write", path,
                  error_text(error));
}

// Opens the picture's file before it measures, which takes a minute.
Checked<std::vector<MethodRow>> measure_and_draw(const Options& options) {
  const std::string& path = options.bench_svg;
  const UniqueFd file(path.empty() ? -1 : ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!path.empty() && !file) return cannot_draw(path, errno);
  std::vector<MethodRow> rows =
      TRY(run_methods_bench({.filter = options.bench_filter, .size_bytes = options.bench_size_bytes}));
  if (file) {
    const Result<void> written = write_all(file.get(), methods_svg(rows));
    if (!written) return cannot_draw(path, written.error().number);
  }
  return rows;
}

int bench_methods(const Options& options) {
  const auto rows = measure_and_draw(options);
  if (!rows) {
    tell(rows.error());
    return EXIT_FAILURE;
  }
  fmt::print("{}", options.json ? methods_json(*rows).dump(2) + "\n" : methods_table(*rows));
  return EXIT_SUCCESS;
}

int bench_nfs(const Options& options, const std::string& address) {
  const Checked<NfsUrl> url = parse_nfs_url(address);
  const auto rows = url ? run_nfs_bench({.url = *url, .filter = options.bench_filter, .seconds = seconds_of(options)})
                        : tl::unexpected(url.error());
  if (!rows) {
    tell(rows.error());
    return EXIT_FAILURE;
  }
  fmt::print("{}", options.json ? nfs_bench_json(*rows).dump(2) + "\n" : nfs_bench_table(*rows));
  return EXIT_SUCCESS;
}

int mount_ceiling(const std::string& path, const std::string& mountpoint) {
  const auto bytes = read_text_file(path);
  if (!bytes) {
    tell({fmt::format("{}: {}", path, error_text(bytes.error().number))});
    return EXIT_FAILURE;
  }
  return serve_from_memory(mountpoint, std::filesystem::path(path).filename().string(), *bytes);
}

int bench_cache(const Options& options) {
  const double seconds = seconds_of(options);
  const Checked<std::vector<BenchRow>> rows = run_cache_bench({.filter = options.bench_filter, .seconds = seconds});
  if (!rows) {
    tell(rows.error());
    return EXIT_FAILURE;
  }
  fmt::print("{}", options.json ? bench_json(*rows).dump(2) + "\n" : bench_table(*rows));
  if (rocksdb_contenders().empty())
    tell({"the rows of RocksDB are left out; install librocksdb-dev and build again to have them"});
  return EXIT_SUCCESS;
}

}  // namespace

int run_bench(const CommandLine& line) {
  if (line.action == "ceiling") return mount_ceiling(line.paths[0], line.paths[1]);
  if (line.action == "nfs") return bench_nfs(line.options, line.paths[0]);
  if (line.action == "methods") return bench_methods(line.options);
  return line.action == "fuse" ? bench_fuse(line.options) : bench_cache(line.options);
}

}  // namespace sluice
