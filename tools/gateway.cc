#include "tools/gateway.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "cache/block_cache.h"
#include "cache/clock.h"
#include "cache/descriptor_limit.h"
#include "cache/disk.h"
#include "cache/log.h"
#include "cache/mutex.h"
#include "cache/result.h"
#include "cache/scrubber.h"
#include "cache/trace_recorder.h"
#include "fs/fuse/session.h"
#include "fs/store/backing_health.h"
#include "fs/store/identity.h"
#include "fs/store/store.h"
#include "fs/store/watched_disk.h"
#include "net/http/text.h"
#include "tools/cache_request.h"
#include "tools/control.h"
#include "tools/exports.h"
#include "tools/metrics.h"
#include "tools/service_manager.h"
#include "tools/signals.h"
#include "tools/state_dir.h"
#include "tools/status.h"
#include "tools/stop_guard.h"
#include "tools/version.h"
#include "tools/warm_restart.h"

namespace sluice {
namespace {

constexpr size_t kUnwrittenNamed = 10;

double seconds_of(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

Checked<ReleaseProof> choose_release_proof(const std::string& wanted) {
  if (wanted == "replace") return ReleaseProof::replace;
  const ReleaseProof proven = probe_release_proof();
  if (wanted == "collapse" && proven != ReleaseProof::collapse) {
    return complain("--release-proof: collapse gives no proof on this system; use auto");
  }
  return proven;
}

std::string_view name_of(ReleaseProof proof) {
  return proof == ReleaseProof::collapse ? "collapse" : "replace";
}

ChecksumMode checksum_mode(const std::string& wanted) {
  if (wanted == "scrub") return ChecksumMode::scrub;
  return wanted == "always" ? ChecksumMode::always : ChecksumMode::off;
}

// None without --trace-out.
Checked<std::unique_ptr<TraceRecorder>> make_recorder(const Options& options) {
  if (options.trace_out.empty()) return nullptr;
  auto recorder = TraceRecorder::open({.path = options.trace_out, .records_per_second_max = options.trace_rate});
  if (recorder) return std::move(*recorder);
  switch (recorder.error().number) {
    case EEXIST:
      return complain("--trace-out: '{}' exists and is no empty file of yours; give another name or remove it",
                      options.trace_out);
    case ELOOP: return complain("--trace-out: '{}' is a symbolic link; give the name of the file", options.trace_out);
    default:
      return complain("--trace-out: cannot write '{}': {}; give a file in a directory that you may write",
                      options.trace_out, error_text(recorder.error().number));
  }
}

Checked<std::unique_ptr<BlockCache>> make_cache(const Options& options, ReleaseProof proof, TraceRecorder* recorder) {
  auto cache = BlockCache::create({.size_bytes = options.cache_size_bytes,
                                   .size_max_bytes = cache_size_max(),
                                   .policy = options.cache_policy,
                                   .large_file_bytes = options.large_file_bytes,
                                   .proof = proof,
                                   .recorder = recorder,
                                   .checksum = checksum_mode(options.checksum)});
  if (!cache) {
    return complain("--cache-size: cannot have {} of memory: {}; choose less", format_size(options.cache_size_bytes),
                    error_text(cache.error().number));
  }
  return std::move(*cache);
}

Checked<std::unique_ptr<Disk>> make_disk(const Options& options) {
  const DiskOptions disk_options = {.io_depth = options.io_depth};
  if (options.disk_engine == "threads") return open_thread_disk(disk_options);
  if (options.disk_engine == "auto") return open_disk(disk_options);
  auto disk = open_ring_disk(disk_options);
  if (!disk) {
    return complain("--disk-engine: io_uring is refused here: {}; use auto or threads",
                    error_text(disk.error().number));
  }
  return std::move(*disk);
}

// Two windows per stream are on their way: some tens of streams must fit beside what is cached.
uint64_t readahead_window(const Options& options, uint64_t cache_size_bytes) {
  return std::min(options.readahead_bytes, cache_size_bytes / 32);
}

// What the kernel reads by one request when it reads ahead.
constexpr uint64_t kSmallFileMax = 128 << 10;

StoreOptions without_watch(StoreOptions options) {
  options.watch = false;
  return options;
}

// Of delayed writes; 0: none.
uint64_t dirty_max(const Options& options) {
  if (options.write_mode != "back") return 0;
  return options.dirty_max_bytes.value_or(options.cache_size_bytes / 4);
}

Checked<std::unique_ptr<Store>> make_store(const GatewayPlan& plan, BlockCache* cache, Disk* disk,
                                           BackingHealth* health) {
  const StoreOptions options = {
      .source = plan.source,
      .read_only = plan.options.read_only,
      .direct_io = plan.options.direct_io,
      .readahead = {.window_max_bytes = readahead_window(plan.options, plan.options.cache_size_bytes)},
      .attr_timeout = plan.options.attr_timeout,
      .entry_timeout = plan.options.entry_timeout,
      .negative_timeout = plan.options.negative_timeout,
      .open_cache = plan.options.open_cache,
      .metadata_cache_bytes = plan.options.metadata_cache_bytes,
      .watch = plan.options.watch,
      .place_table = plan.options.nfs ? place_table_path(state_dir_of(plan.options), plan.source) : std::string(),
      .dirty_max_bytes = dirty_max(plan.options),
      .dirty_expire = plan.options.dirty_expire,
      .dirty_record = dirty_record_path(state_dir_of(plan.options), plan.source),
      .dirty_patience = plan.options.io_timeout,
      .health = health,
  };
  auto store = Store::open(options, cache, disk, &system_clock());
  if (!store && options.watch) {
    if (auto without = Store::open(without_watch(options), cache, disk, &system_clock())) {
      return complain(
          "--watch: '{}' cannot be watched here ({}): that takes root, Linux 5.17 and a local file system; "
          "use --open-cache",
          plan.source, error_text(store.error().number));
    }
  }
  if (!store) return complain("SOURCE '{}': {}", plan.source, error_text(store.error().number));
  return std::move(*store);
}

std::vector<std::string> mount_flags(const Options& options) {
  std::vector<std::string> flags;
  if (options.suid) flags.push_back("suid");
  if (options.dev) flags.push_back("dev");
  if (!options.exec) flags.push_back("noexec");
  if (!options.atime) flags.push_back("noatime");
  if (options.subtype != "sluice") flags.push_back("subtype=" + options.subtype);
  return flags;
}

Checked<std::unique_ptr<FuseSession>> make_fuse(const GatewayPlan& plan, Store* store, BackingHealth* health) {
  const Options& options = plan.options;
  const FuseOptions fuse_options = {
      .mountpoint = plan.mountpoint,
      .fsname = options.fsname.value_or(plan.source),
      .allow_other = options.allow_other.value_or(::geteuid() == 0),
      .read_only = options.read_only,
      .uid = options.uid,
      .gid = options.gid,
      .umask = options.umask,
      .entry_timeout = seconds_of(options.entry_timeout),
      .attr_timeout = seconds_of(options.attr_timeout),
      .negative_timeout = seconds_of(options.negative_timeout),
      .kernel_cache_max_bytes = options.kernel_cache == "auto" ? kSmallFileMax : 0,
      .threads_max = options.fuse_threads,
      .clone_fd = options.clone_fd,
      .io_uring = options.fuse_io_uring == "auto",
      .health = health,
      .debug = options.debug,
      .extra = mount_flags(options),
  };
  std::string reason;
  auto session = FuseSession::mount(store, fuse_options, &reason);
  if (session) return std::move(*session);
  const std::string prefix = plan.mountpoint + ": ";
  if (reason.starts_with(prefix)) reason.erase(0, prefix.size());
  if (session.error().number == EPERM && ::geteuid() == 0) {
    return complain(
        "cannot mount at '{}': {}; in a container give it --cap-add SYS_ADMIN, or export without a mount: "
        "'sluice serve'",
        plan.mountpoint, reason);
  }
  return complain("cannot mount at '{}': {}", plan.mountpoint, reason);
}

// What must hold for the whole process before the first thread starts.
void prepare_process() {
  block_stop_signals();
  ::umask(0);  // callers bring their own
  raise_descriptor_limit();
  drop_capabilities();
}

LogLevel log_level_of(const Options& options) {
  if (options.debug || options.log_level == "debug") return LogLevel::debug;
  if (options.log_level == "warning") return LogLevel::warning;
  if (options.log_level == "error") return LogLevel::error;
  return LogLevel::info;
}

class Gateway {
 public:
  explicit Gateway(const GatewayPlan& plan)
      : plan_(plan), started_(system_clock().monotonic()), health_({.io_timeout = plan.options.io_timeout}) {}
  ~Gateway() { stop(); }
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // On a complaint, what was built is taken down by the destructor.
  Checked<> start() {
    proof_ = TRY(choose_release_proof(plan_.options.release_proof));
    recorder_ = TRY(make_recorder(plan_.options));
    cache_ = TRY(make_cache(plan_.options, proof_, recorder_.get()));
    start_scrubber();
    health_.start();
    disk_ = watch_disk(TRY(make_disk(plan_.options)), &health_);
    store_ = TRY(make_store(plan_, cache_.get(), disk_.get(), &health_));
    if (!plan_.options.warm_restart.empty()) warm_restart_ = TRY(make_warm_restart());
    if (plan_.options.http) {
      access_log_ = TRY(make_access_log(plan_.options.access_log));
      http_ = TRY(make_http(plan_, store_.get(), &health_, access_log_.get()));
    }
    if (plan_.options.nfs) nfs_ = TRY(make_nfs(plan_, store_.get(), &health_));
    if (!plan_.mountpoint.empty()) fuse_ = TRY(make_fuse(plan_, store_.get(), &health_));
    resize_ = std::make_unique<CacheResize>(cache_.get(), [this](uint64_t size_bytes) { follow_size(size_bytes); });
    if (plan_.options.metrics)
      metrics_ = TRY(make_metrics(*plan_.options.metrics, [this] { return metrics_text(status_json(status())); }));
    control_ = TRY(ControlServer::open(plan_.options.control,
                                       {.status = [this] { return status_json(whole_status()); },
                                        .unmount = [this] { return unmount(); },
                                        .stop = request_stop,
                                        .cache =
                                            [this](const auto& words, const auto& reply) {
                                              answer_cache_request({*store_, *cache_, *resize_}, words, reply);
                                            }}));
    if (fuse_) fuse_thread_ = std::thread([this] { serve_mount(); });
    return {};
  }

  // Drains, flushes, unmounts; the control socket answers to the end. Returns the exit code.
  int stop() {
    if (http_) http_->stop(plan_.options.drain_timeout);
    if (nfs_) nfs_->stop(plan_.options.drain_timeout);
    if (fuse_) fuse_->stop();
    if (fuse_thread_.joinable()) fuse_thread_.join();
    if (store_) store_->finish_delayed();  // which may take minutes, and the status tells how far it is
    {
      MutexLock lock(&quiet_mutex_);  // never again when we are given up
      is_quiet_ = true;
    }
    const Farewell farewell = control_ ? control_->end() : Farewell();
    control_.reset();
    metrics_.reset();
    resize_.reset();
    fuse_.reset();
    http_.reset();
    nfs_.reset();
    access_log_.reset();
    scrubber_.reset();
    warm_restart_.reset();
    disk_.reset();  // waits for what is under way
    const bool all_written = !store_ || tell_unwritten(store_->finish(), farewell);
    store_.reset();
    cache_.reset();
    recorder_.reset();
    farewell.ended();
    return all_written ? EXIT_SUCCESS : EXIT_FAILURE;
  }

  // False: there is none.
  bool reopen_logs() {
    const bool has_file = access_log_ != nullptr && access_log_->is_file();
    if (has_file) access_log_->reopen();
    return has_file;
  }

  bool is_hung() const { return health_.stats().hung; }

  // Ends the process while stop() waits for a backing that hangs. Nobody shall wait for us any more, even if threads
  // that hang keep the process from going.
  [[noreturn]] void give_up() {
    const BackingStats backing = health_.stats();
    log(LogLevel::error,
        "{}: the backing has not answered for {:.0f} s: ending without it; {} calls, {} reads and {} writes were not "
        "finished, and what they were to change may be changed or not",
        plan_.source, seconds_of(backing.hung_for), backing.calls, backing.reads, backing.writes);
    MutexLock lock(&quiet_mutex_);
    if (!is_quiet_) {
      if (control_) control_->abandon();
      if (fuse_) fuse_->abandon();
    }
    ::_exit(EXIT_FAILURE);
  }

  std::string greeting() const {
    std::string text = plan_.source;
    const char* joint = " is";
    const auto add = [&](const std::string& what) { text += fmt::format("{} {}", std::exchange(joint, " and"), what); };
    if (fuse_) add(fmt::format("mounted at {}", plan_.mountpoint));
    if (http_) add("exported at " + http_url());
    if (nfs_) add(fmt::format("exported by NFS at {}", nfs_address()));
    return text;
  }

 private:
  Checked<std::unique_ptr<WarmRestart>> make_warm_restart() {
    const CacheStats stats = cache_->stats();
    return WarmRestart::start(store_.get(),
                              {.path = plan_.options.warm_restart, .room_bytes = stats.arena.frames_max * kPageSize});
  }

  // What was not set by option is a share of the cache.
  void follow_size(uint64_t cache_size_bytes) {
    store_->set_readahead_window(readahead_window(plan_.options, cache_size_bytes));
    if (http_) http_->set_pinned_max(send_pinned_max(plan_.options, cache_size_bytes));
    if (nfs_) nfs_->set_pinned_max(send_pinned_max(plan_.options, cache_size_bytes));
  }

  void start_scrubber() {
    if (checksum_mode(plan_.options.checksum) != ChecksumMode::scrub) return;
    scrubber_ = std::make_unique<Scrubber>(cache_.get(), ScrubberOptions{.period = plan_.options.checksum_period});
    scrubber_->start();
  }

  // True: there are none.
  bool tell_unwritten(const std::vector<UnwrittenFile>& files, const Farewell& farewell) const {
    const auto tell_one = [&farewell](const std::string& line) {
      log(LogLevel::error, "{}", line);
      farewell.complain(line);
    };
    for (size_t i = 0; i < std::min(files.size(), kUnwrittenNamed); ++i) {
      tell_one(fmt::format("{}/{}: not everything that was written to it could be kept: {}; {}", plan_.source,
                           files[i].path.empty() ? "(a file whose name is not known)" : files[i].path,
                           error_text(files[i].error), "check what SOURCE is on, and write the file again"));
    }
    if (files.size() > kUnwrittenNamed)
      tell_one(fmt::format("{}: the same of {} more files", plan_.source, files.size() - kUnwrittenNamed));
    return files.empty();
  }

  void serve_mount() {
    const Result<void> served = fuse_->run();
    if (!served) log(LogLevel::error, "{}: {}", plan_.mountpoint, error_text(served.error().number));
    request_stop();  // somebody may have unmounted us
  }

  Result<void> unmount() {
    if (!fuse_) return {};
    return fuse_->unmount();
  }

  GatewayStatus status() const {
    GatewayStatus status;
    status.pid = ::getpid();
    status.version = kVersion;
    status.source = plan_.source;
    status.mountpoint = plan_.mountpoint;
    status.uptime = system_clock().monotonic() - started_;
    status.cache = cache_->stats();
    status.policy = cache_->policy_name();
    status.checksum = plan_.options.checksum;
    status.release_proof = name_of(proof_);
    status.disk = disk_->stats();
    status.disk_engine = disk_->name();
    status.store = store_->stats();
    status.backing = health_.stats();
    status.send_method = plan_.options.send_method;
    if (recorder_) {
      status.trace = recorder_->stats();
      status.trace_file = plan_.options.trace_out;
    }
    if (fuse_) status.fuse = fuse_->stats();
    if (http_) {
      status.http = http_->stats();
      status.http_address = http_address();
      if (access_log_) status.access_log = access_log_->stats();
    }
    if (nfs_) {
      status.nfs = nfs_->stats();
      status.nfs_address = nfs_address();
    }
    return status;
  }

  // For who asks the control socket, which opens when all else is there.
  GatewayStatus whole_status() const {
    GatewayStatus whole = status();
    if (metrics_) whole.metrics_address = bound_address(*plan_.options.metrics, metrics_->port());
    return whole;
  }

  std::string nfs_address() const { return bound_address(*plan_.options.nfs, nfs_->port()); }
  std::string http_address() const { return bound_address(*plan_.options.http, http_->port()); }
  std::string http_url() const {
    std::string url = fmt::format("http://{}/", http_address());
    append_percent_encoded(plan_.options.http_prefix, true, url);
    return url;
  }

  const GatewayPlan plan_;
  const std::chrono::nanoseconds started_;
  ReleaseProof proof_ = ReleaseProof::replace;
  BackingHealth health_;
  // Each uses those above it; the disk goes before the store, since its last completions still refer to files.
  std::unique_ptr<TraceRecorder> recorder_;
  std::unique_ptr<BlockCache> cache_;
  std::unique_ptr<Scrubber> scrubber_;  // none: --checksum is not scrub
  std::unique_ptr<Store> store_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<WarmRestart> warm_restart_;
  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<NfsServer> nfs_;
  std::unique_ptr<FuseSession> fuse_;
  std::unique_ptr<CacheResize> resize_;
  std::unique_ptr<PageServer> metrics_;
  std::unique_ptr<ControlServer> control_;
  std::thread fuse_thread_;
  Mutex quiet_mutex_;
  bool is_quiet_ GUARDED_BY(quiet_mutex_) = false;  // nobody is served any more: what serves may be taken down
};

}  // namespace

int run_gateway(const GatewayPlan& plan, StartReport& report) {
  const ServiceManager manager = ServiceManager::from_environment();
  if (::chdir("/") != 0) return EXIT_FAILURE;  // never stand inside a mount of our own
  prepare_process();
  log_open(log_level_of(plan.options), plan.background);

  Gateway gateway(plan);
  const Checked<> started = gateway.start();
  if (!started) {
    report.failed(started.error());
    return EXIT_FAILURE;
  }
  if (!report.ready()) return EXIT_FAILURE;  // interrupted meanwhile
  manager.ready(gateway.greeting());
  log(LogLevel::info, "{}", gateway.greeting());
  int signal = wait_for_stop_signal();
  // It does not end a service either, so that `systemctl reload` is harmless whatever is configured.
  while (signal == SIGHUP && (gateway.reopen_logs() || manager.is_there())) signal = wait_for_stop_signal();
  log(LogLevel::info, "{}: stopping ({})", plan.source, ::strsignal(signal));
  manager.stopping("replies under way are finished");
  const StopGuard guard(
      {.is_hung = [&gateway] { return gateway.is_hung(); }, .give_up = [&gateway] { gateway.give_up(); }});
  return gateway.stop();
}

}  // namespace sluice
