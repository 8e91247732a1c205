// How a session ends. There are three ways, and all leave nothing behind:
//
//   umount by anybody   the kernel closes the connection; the threads read ENODEV and libfuse's loop returns.
//   stop, not in use    the same: we unmount, the rest follows.
//   stop, in use        the mount is detached, but the connection lives as long as files are open. The pages that
//                       programs have dirtied by mmap are written while we can still serve that; the loop is told
//                       to end; what it has received is answered; closing the device fails the rest with ENOTCONN.
//
// libfuse's loop waits in sem_wait, and looks at fuse_session_exit only when that returns. Before 3.18 nothing wakes
// it, so stop() sends a signal with an empty handler to the thread of run(), again and again until the loop has ended
// (a signal that comes just before sem_wait is lost).
//
// A backing that hangs can keep any of these from coming to an end; abandon() is for that.
//
// fuse_session_unmount would unmount whatever is at that path by then, perhaps the source itself, when it was mounted
// over. It leaves a mount alone whose connection is dead, so we close the device and give libfuse a dead pipe.
#include "fs/fuse/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <utility>

#include "cache/assert.h"
#include "cache/log.h"
#include "cache/mutex.h"
#include "cache/unique_fd.h"
#include "fs/fuse/context.h"
#include "fs/fuse/device_io.h"
#include "fs/fuse/mount_options.h"
#include "fs/fuse/mount_point.h"
#include "fs/fuse/operations.h"
#include "fs/fuse/relief.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr uint32_t kWriteBytesMax = 1 << 20;
// Asynchronous direct reads and readahead in flight; libfuse leaves it at the kernel's 12.
constexpr unsigned kBackgroundRequestsMax = 256;
// An unmounted file system ends by itself at once, unless it is mounted a second time (a bind mount, another
// namespace).
constexpr auto kEndGrace = 200ms;
constexpr auto kWakeInterval = 10ms;

int wake_signal() {
  return SIGRTMIN;
}

// What libfuse says while it mounts goes into the caller's error line, all else into the log.
thread_local std::string* log_capture = nullptr;

LogLevel level_of(fuse_log_level level) {
  if (level >= FUSE_LOG_DEBUG) return LogLevel::debug;
  if (level >= FUSE_LOG_NOTICE) return LogLevel::info;
  return level == FUSE_LOG_WARNING ? LogLevel::warning : LogLevel::error;
}

void on_libfuse_log(fuse_log_level level, const char* format, va_list arguments) {
  char text[1024];
  ::vsnprintf(text, sizeof(text), format, arguments);
  if (log_capture != nullptr) {
    log_capture->append(text);
    return;
  }
  std::string_view line = text;
  while (line.ends_with('\n')) line.remove_suffix(1);
  log_line(level_of(level), line);
}

void init(void* userdata, fuse_conn_info* connection) noexcept {
  FuseContext& context = *static_cast<FuseContext*>(userdata);
  for (uint64_t capability : {FUSE_CAP_ASYNC_READ, FUSE_CAP_ASYNC_DIO, FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS,
                              FUSE_CAP_READDIRPLUS_AUTO, FUSE_CAP_AUTO_INVAL_DATA, FUSE_CAP_EXPORT_SUPPORT,
                              FUSE_CAP_POSIX_ACL, FUSE_CAP_DONT_MASK, FUSE_CAP_HANDLE_KILLPRIV}) {
    want(*connection, capability);
  }
  // Access lists of the backing say nothing about the owners and modes that are shown.
  if (shows_other_identity(context.options)) do_not_want(*connection, FUSE_CAP_POSIX_ACL);
  // The kernel would own sizes and times under a writeback cache; O_TRUNC comes as a truncation of its own.
  for (uint64_t capability : {FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_ATOMIC_O_TRUNC, FUSE_CAP_SPLICE_READ,
                              FUSE_CAP_SPLICE_WRITE, FUSE_CAP_SPLICE_MOVE}) {
    do_not_want(*connection, capability);
  }
  connection->max_write = kWriteBytesMax;
  connection->max_background = kBackgroundRequestsMax;
  connection->congestion_threshold = kBackgroundRequestsMax * 3 / 4;
#ifdef SLUICE_PATCHES_INIT_REPLY
  const bool can_map = (context.init_reply.offered() & kInitDirectIoAllowMmap) != 0;
#else
  const bool can_map = is_capable(*connection, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
  want(*connection, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
#endif
  context.direct_io = can_map;
  if (!can_map) log(LogLevel::warning, "this kernel cannot map files that bypass its cache: files are cached twice");
}

fuse_lowlevel_ops all_operations() {
  fuse_lowlevel_ops operations{};
  operations.init = init;
  add_meta_operations(operations);
  add_directory_operations(operations);
  add_data_operations(operations);
  return operations;
}

// The absolute path of a directory on which one can mount.
Result<std::string> resolve_mountpoint(const std::string& path, std::string* error_line) {
  auto refuse = [&](int error, std::string_view hint) {
    *error_line = fmt::format("{}: {}{}", path, error_text(error), hint);
    return fail(error);
  };
  std::unique_ptr<char, decltype(&::free)> resolved(::realpath(path.c_str(), nullptr), &::free);
  if (resolved == nullptr)
    return refuse(errno, errno == ENOTCONN ? " (a dead mount is in the way: umount it first)" : "");
  struct stat attributes;
  if (::stat(resolved.get(), &attributes) == -1) return refuse(errno, "");
  if (!S_ISDIR(attributes.st_mode)) return refuse(ENOTDIR, "");
  return std::string(resolved.get());
}

// "fuse: failed to open /dev/fuse: Permission denied\n" without the ends.
std::string tidy_error(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.starts_with("fuse: ")) text.erase(0, 6);
  return text;
}

class FuseSessionImpl final : public FuseSession {
 public:
  FuseSessionImpl(Store& store, FuseOptions options)
      : context_(std::make_shared<FuseContext>(store, std::move(options))) {}
  ~FuseSessionImpl() override;

  Result<void> open(std::string* error_line);

  Result<void> run() override;
  void stop() override;
  void abandon() override;
  Result<void> unmount() override { return mount_point_->unmount(MountPoint::Manner::if_unused); }
  const std::string& mountpoint() const override { return context_->options.mountpoint; }
  FuseStats stats() const override;

 private:
  enum class State { ready, running, ended };

  int serve();
  int run_loop();
  bool unmount_for_stop();
  void end_loop(std::chrono::milliseconds grace);
  void finish();
  bool claim_device();
  void close_device();
  bool replace_device();

  const std::shared_ptr<FuseContext> context_;
  std::optional<MountPoint> mount_point_;
  uint64_t pending_listener_ = 0;  // 0: none
  Mutex mutex_;
  CondVar state_changed_;
  State state_ GUARDED_BY(mutex_) = State::ready;
  bool is_stopping_ GUARDED_BY(mutex_) = false;
  bool device_is_claimed_ GUARDED_BY(mutex_) = false;
  pthread_t runner_ GUARDED_BY(mutex_){};
};

Result<void> FuseSessionImpl::open(std::string* error_line) {
  struct sigaction nothing {};
  nothing.sa_handler = [](int) {};
  ::sigaction(wake_signal(), &nothing, nullptr);
  fuse_set_log_func(on_libfuse_log);
  std::string said;
  log_capture = &said;
  const std::string options = mount_option_string(context_->options);
  char* arguments[] = {const_cast<char*>("sluice"), const_cast<char*>("-o"), const_cast<char*>(options.c_str()),
                       nullptr};
  fuse_args parsed = FUSE_ARGS_INIT(3, arguments);
  const fuse_lowlevel_ops operations = all_operations();
  context_->session = fuse_session_new(&parsed, &operations, sizeof(operations), context_.get());
  fuse_opt_free_args(&parsed);
  const bool is_mounted =
      context_->session != nullptr && fuse_session_mount(context_->session, mountpoint().c_str()) == 0;
  log_capture = nullptr;

  *error_line = tidy_error(std::move(said));
  if (context_->session == nullptr) return fail(EINVAL);
  if (!is_mounted) {
    if (error_line->empty()) *error_line = fmt::format("{}: fusermount3 refused the mount", mountpoint());
    return fail(::access("/dev/fuse", F_OK) == 0 ? EPERM : ENODEV);
  }
  auto found = MountPoint::find(mountpoint());
  if (!found) {  // another mount namespace, or unmounted already
    *error_line = fmt::format("{}: the new mount is not in /proc/self/mountinfo", mountpoint());
    return fail(found.error().number);
  }
  mount_point_.emplace(std::move(*found));
#ifdef SLUICE_PATCHES_INIT_REPLY
  if (!install_device_io(context_->session)) return fail(ENOMEM);
#endif
  return {};
}

FuseSessionImpl::~FuseSessionImpl() {
  if (context_->session == nullptr) return;
  bool was_run;
  {
    MutexLock lock(&mutex_);
    was_run = state_ == State::ended;
  }
  if (!was_run) {
    if (mount_point_) static_cast<void>(mount_point_->unmount(MountPoint::Manner::lazily));
    finish();
  }
  fuse_session_destroy(context_->session);
}

Result<void> FuseSessionImpl::run() {
  bool may_serve;
  {
    MutexLock lock(&mutex_);
    ASSERT(state_ == State::ready);
    may_serve = !is_stopping_;
    if (may_serve) state_ = State::running;
    runner_ = ::pthread_self();
  }
  const int error = may_serve ? serve() : 0;
  {
    MutexLock lock(&mutex_);
    state_ = State::ended;
    state_changed_.notify_all();
  }
  finish();
  if (error != 0) return fail(error < 0 ? -error : EIO);
  return {};
}

// libfuse's loop. Returns its error, negative.
int FuseSessionImpl::serve() {
  sigset_t wake, before;
  ::sigemptyset(&wake);
  ::sigaddset(&wake, wake_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &wake, &before);

  context_->attributes.start();
  context_->pages.start();
  // A thread of another front end may be inside the listener when the session goes.
  context_->store.on_outside_change([context = context_](InodeNumber number) {
    if (!OutsideChangeWatch::notice(number)) context->attributes.invalidate(number);
    context->pages.invalidate(number);
  });
  context_->store.on_outside_name([context = context_](InodeNumber directory, const std::string& name) {
    context->pages.invalidate_name(directory, name);
  });
  context_->store.on_announcement([context = context_](std::vector<Announcement> changes, Callback<void()> done) {
    for (Announcement& change : changes) {
      const bool is_last = &change == &changes.back();
      auto then = is_last ? std::move(done) : Callback<void()>([] {});
      context->pages.invalidate_then(change.number, std::move(change.name), std::move(then));
    }
  });
  pending_listener_ = context_->health.add_listener([context = context_.get()](std::chrono::nanoseconds now) {
    context->pending.tick(now, context->health.io_timeout());
  });
  const int result = run_loop();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result;
}

// With more threads beside libfuse's own while these hang.
int FuseSessionImpl::run_loop() {
  BackingHealth& health = context_->health;
  ReliefThreads relief(context_->session, context_->options.threads_max, wake_signal());
  const uint64_t listener = health.add_listener([&relief, &health, this](std::chrono::nanoseconds now) {
    const uint32_t stuck = health.stuck_calls(BackingUser::fuse);
    if (FuseRing* ring = context_->ring_in_use()) return ring->tick(stuck);
    relief.tick(now, stuck);
  });
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, context_->options.clone_fd);
  fuse_loop_cfg_set_max_threads(config, context_->options.threads_max);
  fuse_loop_cfg_set_idle_threads(config, context_->options.threads_idle_max);
  const int result = fuse_session_loop_mt(context_->session, config);
  fuse_loop_cfg_destroy(config);
  // While calls hang, the tick brings the threads that serve what waits behind them.
  if (FuseRing* ring = context_->ring_in_use()) ring->drain();
  health.remove_listener(listener);
  return result;
}

// After the loop: no new requests. Those received are answered, by whoever has them, then everything is closed.
void FuseSessionImpl::finish() {
  context_->store.on_outside_change(nullptr);
  context_->store.on_outside_name(nullptr);
  context_->store.on_announcement(nullptr);
  for (uint64_t left = context_->in_flight; left != 0; left = context_->in_flight) context_->in_flight.wait(left);
  if (pending_listener_ != 0) context_->health.remove_listener(pending_listener_);
  if (FuseRing* ring = context_->ring_in_use()) ring->end();
  context_->attributes.stop();
  context_->pages.stop();
  context_->store.sync_open_files();
  context_->files.clear();
  context_->directories.clear();
  close_device();
}

// Either the session's end closes the device or abandon() does.
bool FuseSessionImpl::claim_device() {
  MutexLock lock(&mutex_);
  return !std::exchange(device_is_claimed_, true);
}

void FuseSessionImpl::close_device() {
  if (claim_device() && replace_device()) fuse_session_unmount(context_->session);
}

// Closes the device, with a dead pipe in its place.
bool FuseSessionImpl::replace_device() {
  const int device = fuse_session_fd(context_->session);
  if (device == -1) return false;  // the mount failed
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) == -1) {
    log(LogLevel::error, "pipe2: {}", error_text(errno));
    return false;
  }
  const UniqueFd write_end(ends[1]);
  ::close(ends[0]);
  ::dup3(write_end.get(), device, O_CLOEXEC);
  return true;
}

// A thread that hangs keeps the process' descriptors open, however dead the process is. So the device is not left to
// its end.
void FuseSessionImpl::abandon() {
  if (!claim_device()) return;  // the session ends after all, and its mount has gone
  // First, and only while the connection lives: its number is given to another mount as soon as it has gone.
  pollfd device{.fd = fuse_session_fd(context_->session), .events = 0, .revents = 0};
  if (::poll(&device, 1, 0) == 0) static_cast<void>(mount_point_->abort_connection());
  if (auto detached = mount_point_->unmount(MountPoint::Manner::by_force); !detached)
    log(LogLevel::warning, "{}: umount: {}", mountpoint(), error_text(detached.error().number));
  if (FuseRing* ring = context_->ring_in_use()) ring->abandon();
  replace_device();
}

void FuseSessionImpl::stop() {
  {
    MutexLock lock(&mutex_);
    is_stopping_ = true;
  }
  const bool ends_by_itself = unmount_for_stop();
  // The page notifier may be waiting for requests that only a running loop answers.
  context_->attributes.stop();
  context_->pages.stop();
  end_loop(ends_by_itself ? kEndGrace : 0ms);
}

// True when nobody used the mount.
bool FuseSessionImpl::unmount_for_stop() {
  if (mount_point_->unmount(MountPoint::Manner::if_unused)) return true;
  bool is_running;
  {
    MutexLock lock(&mutex_);
    is_running = state_ == State::running;
  }
  if (is_running) {
    const UniqueFd root(::open(mountpoint().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!root || ::syncfs(root.get()) == -1) log(LogLevel::warning, "{}: sync: {}", mountpoint(), error_text(errno));
  }
  const auto detached = mount_point_->unmount(MountPoint::Manner::lazily);
  if (!detached) log(LogLevel::warning, "{}: umount: {}", mountpoint(), error_text(detached.error().number));
  return false;
}

void FuseSessionImpl::end_loop(std::chrono::milliseconds grace) {
  MutexLock lock(&mutex_);
  if (state_ == State::running && grace > 0ms) state_changed_.wait_for(mutex_, grace);
  while (state_ == State::running) {
    fuse_session_exit(context_->session);
    ::pthread_kill(runner_, wake_signal());
    state_changed_.wait_for(mutex_, kWakeInterval);
  }
}

FuseStats FuseSessionImpl::stats() const {
  const FuseCounters& counters = context_->counters;
  const FuseRing* ring = context_->ring_in_use();
  return {
      .requests = counters.requests,
      .reads = counters.reads,
      .read_bytes = counters.read_bytes,
      .writes = counters.writes,
      .write_bytes = counters.write_bytes,
      .errors = counters.errors,
      .in_flight = context_->in_flight,
      .waiting = context_->pending.waiting(),
      .open_files = context_->files.size(),
      .open_directories = context_->directories.size(),
      .invalidations = context_->attributes.sent() + context_->pages.sent(),
      .invalidations_dropped = context_->attributes.dropped() + context_->pages.dropped(),
      .io_uring = ring != nullptr && ring->is_in_use(),
      .io_uring_requests = ring != nullptr ? ring->requests() : 0,
      .io_uring_touched_bytes = ring != nullptr ? ring->touched_bytes() : 0,
      .direct_io = context_->direct_io,
  };
}

}  // namespace

std::string libfuse_features() {
#ifdef SLUICE_HAS_TMPFILE
  constexpr char kTmpfile = '+';
#else
  constexpr char kTmpfile = '-';
#endif
#ifdef SLUICE_HAS_STATX
  constexpr char kStatx = '+';
#else
  constexpr char kStatx = '-';
#endif
  return fmt::format("libfuse {} {}tmpfile {}statx", fuse_pkgversion(), kTmpfile, kStatx);
}

Result<std::unique_ptr<FuseSession>> FuseSession::mount(Store* store, FuseOptions options, std::string* error_line) {
  ASSERT(options.health != nullptr);
  auto mountpoint = resolve_mountpoint(options.mountpoint, error_line);
  if (!mountpoint) return tl::unexpected(mountpoint.error());
  options.mountpoint = std::move(*mountpoint);
  auto session = std::make_unique<FuseSessionImpl>(*store, std::move(options));
  const auto opened = session->open(error_line);
  if (!opened) return tl::unexpected(opened.error());
  return session;
}

}  // namespace sluice
