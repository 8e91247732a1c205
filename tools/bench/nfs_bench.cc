#include "tools/bench/nfs_bench.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string_view>

#include "cache/result.h"
#include "tools/bench/bench_filter.h"
#include "tools/bench/nfs_connection.h"

namespace sluice {

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr uint32_t kGetattr = 1, kLookup = 3, kRead = 6, kWrite = 7, kCreate = 8, kRemove = 12, kReaddirplus = 17,
                   kFsinfo = 19, kCommit = 21;
constexpr uint32_t kMnt = 1;
constexpr uint32_t kDirectoryType = 2;
constexpr uint32_t kUnstable = 0, kFileSync = 2;
constexpr uint32_t kUnchecked = 0;
constexpr size_t kAttributesSize = 84, kBeforeSize = 24, kVerifierSize = 8;
constexpr uint32_t kLargeSize = 1 << 20, kSmallSize = 4096, kListingSize = 64 << 10;
constexpr uint64_t kWrittenLargeMost = uint64_t{256} << 20, kWrittenSmallMost = uint64_t{16} << 20;
constexpr const char* kExampleRow = "read-random";
constexpr const char* kWriteSequential = "write-sequential";
constexpr const char* kWriteSync = "write-sync";

struct File {
  std::string handle;
  uint32_t type = 0;
  uint64_t size = 0;
};

// One kind of call. `ask` queues the next; `take` reads the results of a reply, and adds to the row what they brought.
struct Load {
  std::string name;
  uint32_t depth = 1;
  std::function<void(NfsConnection&)> ask;
  std::function<Checked<>(NfsConnection&, NfsBenchRow&)> take;
  std::function<Checked<>(NfsConnection&)> finish = {};  // part of the time
  std::function<bool()> is_whole = {};                   // false: it cannot end yet
};

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

Checked<> expect_ok(NfsConnection& connection, std::string_view what) {
  const uint32_t status = TRY(connection.u32());
  if (status != 0) return complain("{}: the server answers with status {}", what, status);
  return {};
}

Checked<> skip_attributes(NfsConnection& connection) {
  if (TRY(connection.u32()) != 0) TRY(connection.skip(kAttributesSize));
  return {};
}

Checked<> skip_before_and_after(NfsConnection& connection) {
  if (TRY(connection.u32()) != 0) TRY(connection.skip(kBeforeSize));
  return skip_attributes(connection);
}

// --- one call at a time ---

Checked<std::string> mount_root(const NfsUrl& url) {
  NfsConnection connection = TRY(NfsConnection::connect(url.address, url.mount_port));
  connection.call(RpcProgram::mount, kMnt, XdrWriter().opaque("/"));
  TRY(connection.begin_reply());
  TRY(expect_ok(connection, "mount of /"));
  return connection.opaque();
}

Checked<std::string> look_up(NfsConnection& connection, const std::string& directory, std::string_view name) {
  connection.call(RpcProgram::nfs, kLookup, XdrWriter().opaque(directory).opaque(name));
  TRY(connection.begin_reply());
  TRY(expect_ok(connection, name));
  std::string handle = TRY(connection.opaque());
  TRY(skip_attributes(connection));
  TRY(skip_attributes(connection));
  TRY(connection.end_reply());
  return handle;
}

Checked<File> attributes_of(NfsConnection& connection, std::string handle) {
  connection.call(RpcProgram::nfs, kGetattr, XdrWriter().opaque(handle));
  TRY(connection.begin_reply());
  TRY(expect_ok(connection, "GETATTR"));
  File file{.handle = std::move(handle)};
  file.type = TRY(connection.u32());
  TRY(connection.skip(4 * sizeof(uint32_t)));  // mode, links, owner, group
  file.size = TRY(connection.u64());
  TRY(connection.skip(kAttributesSize - 7 * sizeof(uint32_t)));
  TRY(connection.end_reply());
  return file;
}

Checked<File> find(NfsConnection& connection, const NfsUrl& url) {
  std::string handle = TRY(mount_root(url));
  std::string_view rest = url.path;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('/'), rest.size());
    if (end > 0) handle = TRY(look_up(connection, handle, rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return attributes_of(connection, std::move(handle));
}

Checked<> expect_large_calls(NfsConnection& connection, const std::string& handle) {
  connection.call(RpcProgram::nfs, kFsinfo, XdrWriter().opaque(handle));
  TRY(connection.begin_reply());
  TRY(expect_ok(connection, "FSINFO"));
  TRY(skip_attributes(connection));
  const uint32_t read_most = TRY(connection.u32());
  TRY(connection.skip(2 * sizeof(uint32_t)));
  const uint32_t write_most = TRY(connection.u32());
  TRY(connection.skip(3 * sizeof(uint32_t) + sizeof(uint64_t) + 3 * sizeof(uint32_t)));
  TRY(connection.end_reply());
  if (std::min(read_most, write_most) < kLargeSize)
    return complain("the server takes calls of {} bytes at most, the rows ask for {}", std::min(read_most, write_most),
                    kLargeSize);
  return {};
}

Checked<std::string> create(NfsConnection& connection, const std::string& directory, std::string_view name) {
  XdrWriter arguments;
  arguments.opaque(directory).opaque(name).u32(kUnchecked).u32(1).u32(0600);
  arguments.u32(0).u32(0).u32(0).u32(0).u32(0);  // nothing else is set
  connection.call(RpcProgram::nfs, kCreate, arguments);
  TRY(connection.begin_reply());
  TRY(expect_ok(connection, "CREATE"));
  const bool has_handle = TRY(connection.u32()) != 0;
  std::string handle = has_handle ? TRY(connection.opaque()) : std::string();
  TRY(skip_attributes(connection));
  TRY(skip_before_and_after(connection));
  TRY(connection.end_reply());
  return has_handle ? handle : look_up(connection, directory, name);
}

Checked<> remove(NfsConnection& connection, const std::string& directory, std::string_view name) {
  connection.call(RpcProgram::nfs, kRemove, XdrWriter().opaque(directory).opaque(name));
  TRY(connection.begin_reply());
  TRY(expect_ok(connection, "REMOVE"));
  TRY(skip_before_and_after(connection));
  return connection.end_reply();
}

// --- loads ---

Checked<> take_read(NfsConnection& connection, NfsBenchRow& row, uint32_t wanted) {
  TRY(expect_ok(connection, "READ"));
  TRY(skip_attributes(connection));
  const uint32_t count = TRY(connection.u32());
  if (count != wanted) return complain("READ: {} bytes instead of {}", count, wanted);
  TRY(connection.skip(sizeof(uint32_t)));  // whether it is the end
  TRY(connection.skip_opaque());
  row.bytes += count;
  row.operations++;
  return {};
}

Load read_load(std::string name, const File& file, uint32_t size, uint32_t depth,
               std::function<uint64_t()> next_piece) {
  return {
      .name = std::move(name),
      .depth = depth,
      .ask =
          [handle = file.handle, size, next_piece](NfsConnection& connection) {
            connection.call(RpcProgram::nfs, kRead, XdrWriter().opaque(handle).u64(next_piece() * size).u32(size));
          },
      .take = [size](NfsConnection& connection, NfsBenchRow& row) { return take_read(connection, row, size); },
  };
}

std::function<uint64_t()> one_after_the_other(uint64_t count) {
  return [count, next = uint64_t{0}]() mutable { return next++ % count; };
}

std::function<uint64_t()> at_random(uint64_t count) {
  return [chosen = std::mt19937_64(1), any = std::uniform_int_distribution<uint64_t>(0, count - 1)]() mutable {
    return any(chosen);
  };
}

Load getattr_load(const File& file) {
  return {
      .name = "getattr",
      .depth = 32,
      .ask = [handle = file.handle](
                 NfsConnection& connection) { connection.call(RpcProgram::nfs, kGetattr, XdrWriter().opaque(handle)); },
      .take = [](NfsConnection& connection, NfsBenchRow& row) -> Checked<> {
        TRY(expect_ok(connection, "GETATTR"));
        row.operations++;
        return connection.skip(kAttributesSize);
      },
  };
}

// Where a listing is, and how many entries the last whole one had.
struct Listing {
  uint64_t verifier = 0;
  uint64_t cookie = 0;
  uint64_t seen = 0;
  uint64_t whole = 0;
};

Checked<> take_entries(NfsConnection& connection, NfsBenchRow& row, Listing& listing) {
  TRY(expect_ok(connection, "READDIRPLUS"));
  TRY(skip_attributes(connection));
  listing.verifier = TRY(connection.u64());
  const uint64_t before = listing.seen;
  while (TRY(connection.u32()) != 0) {
    TRY(connection.skip(sizeof(uint64_t)));  // the file's id
    row.bytes += TRY(connection.opaque()).size();
    listing.cookie = TRY(connection.u64());
    TRY(skip_attributes(connection));
    if (TRY(connection.u32()) != 0) TRY(connection.skip_opaque());
    listing.seen++;
  }
  row.operations += listing.seen - before;
  if (TRY(connection.u32()) != 0) {  // the end
    if (listing.whole != 0 && listing.whole != listing.seen)
      return complain("READDIRPLUS: {} entries, and {} the time before", listing.seen, listing.whole);
    listing = {.whole = listing.seen};
  } else if (listing.seen == before) {
    return complain("READDIRPLUS: neither entries nor the end");
  }
  return {};
}

Load listing_load(const File& directory) {
  auto listing = std::make_shared<Listing>();
  return {
      .name = "listing",
      .ask =
          [handle = directory.handle, listing](NfsConnection& connection) {
            XdrWriter arguments;
            arguments.opaque(handle).u64(listing->cookie).u64(listing->verifier).u32(kListingSize).u32(kListingSize);
            connection.call(RpcProgram::nfs, kReaddirplus, arguments);
          },
      .take = [listing](NfsConnection& connection,
                        NfsBenchRow& row) { return take_entries(connection, row, *listing); },
      .is_whole = [listing] { return listing->whole != 0 && listing->seen == 0; },
  };
}

Checked<> take_write(NfsConnection& connection, NfsBenchRow& row, uint32_t wanted, uint32_t level) {
  TRY(expect_ok(connection, "WRITE"));
  TRY(skip_before_and_after(connection));
  const uint32_t count = TRY(connection.u32());
  const uint32_t committed = TRY(connection.u32());
  if (count != wanted) return complain("WRITE: {} bytes instead of {}", count, wanted);
  if (committed < level) return complain("WRITE: level {} instead of {}", committed, level);
  row.bytes += count;
  row.operations++;
  return connection.skip(kVerifierSize);
}

Checked<> commit(NfsConnection& connection, const std::string& handle) {
  connection.call(RpcProgram::nfs, kCommit, XdrWriter().opaque(handle).u64(0).u32(0));
  TRY(connection.begin_reply());
  TRY(expect_ok(connection, "COMMIT"));
  TRY(skip_before_and_after(connection));
  TRY(connection.skip(kVerifierSize));
  return connection.end_reply();
}

Load write_load(std::string name, const std::string& handle, std::string_view data, uint32_t depth, uint32_t level,
                uint64_t most) {
  const auto size = static_cast<uint32_t>(data.size());
  Load load{
      .name = std::move(name),
      .depth = depth,
      .ask =
          [=, next_piece = one_after_the_other(most / size)](NfsConnection& connection) {
            XdrWriter arguments;
            arguments.opaque(handle).u64(next_piece() * size).u32(size).u32(level).u32(size);
            connection.call(RpcProgram::nfs, kWrite, arguments, data);
          },
      .take = [=](NfsConnection& connection, NfsBenchRow& row) { return take_write(connection, row, size, level); },
  };
  if (level == kUnstable) load.finish = [handle](NfsConnection& connection) { return commit(connection, handle); };
  return load;
}

// --- measuring ---

double percentile_us(std::vector<uint64_t>& nanoseconds, double part) {
  if (nanoseconds.empty()) return 0;
  const auto at = nanoseconds.begin() + static_cast<ptrdiff_t>(part * static_cast<double>(nanoseconds.size() - 1));
  std::nth_element(nanoseconds.begin(), at, nanoseconds.end());
  return static_cast<double>(*at) / 1e3;
}

// On a connection of its own, whose calls are numbered from 0.
Checked<NfsBenchRow> measure(const NfsUrl& url, const Load& load, double seconds) {
  NfsConnection connection = TRY(NfsConnection::connect(url.address, url.port));
  NfsBenchRow row{.workload = load.name};
  std::vector<uint64_t> nanoseconds;
  const double cpu_before = cpu_seconds();
  const SteadyClock::time_point begin = SteadyClock::now();
  const SteadyClock::time_point end =
      begin + std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
  std::vector<std::pair<uint32_t, SteadyClock::time_point>> under_way;
  uint32_t next = 0;
  const auto ask = [&] {
    load.ask(connection);
    under_way.emplace_back(next++, SteadyClock::now());
  };
  for (uint32_t i = 0; i < load.depth; i++) ask();
  while (!under_way.empty()) {
    const uint32_t number = TRY(connection.begin_reply());
    const auto answered =
        std::find_if(under_way.begin(), under_way.end(), [&](const auto& call) { return call.first == number; });
    if (answered == under_way.end()) return complain("the server answers a call that was not made");
    TRY(load.take(connection, row));
    TRY(connection.end_reply());
    const SteadyClock::time_point now = SteadyClock::now();
    nanoseconds.push_back(static_cast<uint64_t>(std::chrono::nanoseconds(now - answered->second).count()));
    under_way.erase(answered);
    if (now < end || (load.is_whole && !load.is_whole())) ask();
  }
  if (load.finish) TRY(load.finish(connection));
  row.seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  row.client_cpu_seconds = cpu_seconds() - cpu_before;
  row.p50_us = percentile_us(nanoseconds, 0.5);
  row.p99_us = percentile_us(nanoseconds, 0.99);
  return row;
}

using Rows = std::vector<NfsBenchRow>;

struct Measuring {
  const NfsBenchOptions& options;
  std::regex wanted;
  Rows rows = {};

  bool wants(const std::string& name) const { return std::regex_search(name, wanted); }
};

Checked<> measure_wanted(Measuring& measuring, const Load& load) {
  if (measuring.wants(load.name))
    measuring.rows.push_back(TRY(measure(measuring.options.url, load, measuring.options.seconds)));
  return {};
}

Checked<> read_file(Measuring& measuring, const File& file) {
  if (file.size < kLargeSize)
    return complain("{}: the file has less than {} bytes", measuring.options.url.path, kLargeSize);
  const auto pieces = one_after_the_other(file.size / kLargeSize);
  TRY(measure_wanted(measuring, read_load("read-sequential", file, kLargeSize, 8, pieces)));
  TRY(measure_wanted(measuring, read_load("read-random", file, kSmallSize, 32, at_random(file.size / kSmallSize))));
  return measure_wanted(measuring, getattr_load(file));
}

Checked<> write_file(Measuring& measuring, const std::string& handle) {
  std::string data(kLargeSize, '\0');
  std::mt19937_64 chosen(1);
  std::generate(data.begin(), data.end(), [&] { return static_cast<char>(chosen()); });
  const std::string_view small = std::string_view(data).substr(0, kSmallSize);
  TRY(measure_wanted(measuring, write_load(kWriteSequential, handle, data, 4, kUnstable, kWrittenLargeMost)));
  return measure_wanted(measuring, write_load(kWriteSync, handle, small, 1, kFileSync, kWrittenSmallMost));
}

Checked<> write_into(Measuring& measuring, NfsConnection& connection, const File& directory) {
  if (!measuring.wants(kWriteSequential) && !measuring.wants(kWriteSync)) return {};  // the directory stays as it is
  const std::string name = fmt::format("sluice-bench.{}", ::getpid());
  const std::string handle = TRY(create(connection, directory.handle, name));
  const Checked<> written = write_file(measuring, handle);
  TRY(remove(connection, directory.handle, name));
  return written;
}

Checked<uint16_t> parse_port(const std::string& text, std::string_view url) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0)
    return complain("{}: '{}' is no port", url, text);
  return port;
}

}  // namespace

Checked<NfsUrl> parse_nfs_url(const std::string& text) {
  static const std::regex kForm("nfs://([0-9.]+)(:([^/?]*))?(/[^?]*)?(\\?mountport=(.*))?");
  std::smatch found;
  if (!std::regex_match(text, found, kForm))
    return complain("{}: is no URL like nfs://127.0.0.1:2049/PATH or nfs://127.0.0.1:2049/PATH?mountport=20048", text);
  NfsUrl url{.address = found[1], .path = found[4]};
  if (found[2].matched) url.port = TRY(parse_port(found[3], text));
  url.mount_port = found[5].matched ? TRY(parse_port(found[6], text)) : url.port;
  return url;
}

Checked<std::vector<NfsBenchRow>> run_nfs_bench(const NfsBenchOptions& options) {
  Measuring measuring{.options = options, .wanted = TRY(parse_bench_filter(options.filter, kExampleRow))};
  NfsConnection connection = TRY(NfsConnection::connect(options.url.address, options.url.port));
  const File found = TRY(find(connection, options.url));
  TRY(expect_large_calls(connection, found.handle));
  if (found.type == kDirectoryType) {
    TRY(measure_wanted(measuring, listing_load(found)));
    TRY(write_into(measuring, connection, found));
  } else {
    TRY(read_file(measuring, found));
  }
  if (measuring.rows.empty()) return tl::unexpected(no_row_matches(options.filter, kExampleRow));
  return std::move(measuring.rows);
}

std::string nfs_bench_table(const std::vector<NfsBenchRow>& rows) {
  std::string table =
      fmt::format("{:<18}{:>12}{:>12}{:>10}{:>10}{:>12}\n", "", "1/s", "MB/s", "p50 us", "p99 us", "own CPU us");
  for (const NfsBenchRow& row : rows) {
    const auto operations = static_cast<double>(row.operations);
    table += fmt::format("{:<18}{:>12.0f}{:>12.1f}{:>10.1f}{:>10.1f}{:>12.2f}\n", row.workload,
                         operations / row.seconds, static_cast<double>(row.bytes) / row.seconds / 1e6, row.p50_us,
                         row.p99_us, row.client_cpu_seconds / operations * 1e6);
  }
  return table;
}

nlohmann::ordered_json nfs_bench_json(const std::vector<NfsBenchRow>& rows) {
  nlohmann::ordered_json told = nlohmann::ordered_json::array();
  for (const NfsBenchRow& row : rows) {
    told.push_back({{"workload", row.workload},
                    {"seconds", row.seconds},
                    {"operations", row.operations},
                    {"bytes", row.bytes},
                    {"client_cpu_seconds", row.client_cpu_seconds},
                    {"p50_us", row.p50_us},
                    {"p99_us", row.p99_us}});
  }
  return told;
}

}  // namespace sluice
