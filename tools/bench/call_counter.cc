#include "tools/bench/call_counter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr const char* kTracepoint = "events/raw_syscalls/sys_enter/id";
constexpr uint64_t kTriedCalls = 10;

// A tracefs that is mounted nowhere: where nobody has mounted it, we leave the machine as it is.
UniqueFd detached_tracefs() {
  const UniqueFd context(static_cast<int>(::syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC)));
  if (!context || ::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return {};
  return UniqueFd(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
}

std::optional<uint64_t> tracepoint_id_in(int directory) {
  const UniqueFd file(::openat(directory, kTracepoint, O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::array<char, 32> text{};
  const ssize_t length = ::read(file.get(), text.data(), text.size());
  uint64_t id = 0;
  if (length <= 0 || std::from_chars(text.data(), text.data() + length, id).ec != std::errc()) return std::nullopt;
  return id;
}

std::optional<uint64_t> tracepoint_id() {
  const UniqueFd mounted(::open("/sys/kernel/tracing", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (mounted) {
    if (const auto id = tracepoint_id_in(mounted.get())) return id;
  }
  const UniqueFd detached = detached_tracefs();
  return detached ? tracepoint_id_in(detached.get()) : std::nullopt;
}

// Of the calling thread and those that it starts, off until it is enabled.
UniqueFd open_event() {
  const std::optional<uint64_t> id = tracepoint_id();
  if (!id) return {};
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.size = sizeof attributes;
  attributes.config = *id;
  attributes.disabled = 1;
  attributes.inherit = 1;
  return UniqueFd(static_cast<int>(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

void make_known_calls() {
  for (uint64_t i = 0; i < kTriedCalls; ++i) ::syscall(SYS_getppid);
}

bool perf_counts() {
  std::atomic<bool> counting_now{false};
  CallCounter counter(CallCounting::perf, &counting_now);
  counter.begin();
  make_known_calls();
  counter.end();
  return counter.count() == kTriedCalls;
}

bool trace_counts() {
  void* const shared =
      ::mmap(nullptr, sizeof(std::atomic<bool>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return false;
  auto* const counting_now = new (shared) std::atomic<bool>(false);
  ::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    let_trace();
    CallCounter counter(CallCounting::trace, counting_now);
    counter.begin();
    make_known_calls();
    counter.end();
    ::_exit(EXIT_SUCCESS);
  }
  const TracedRun run = child > 0 ? trace_to_end(child, *counting_now) : TracedRun{.status = -1};
  ::munmap(shared, sizeof(std::atomic<bool>));
  return run.status == 0 && run.calls == kTriedCalls;
}

bool enters_call(pid_t thread) {
  __ptrace_syscall_info info{};
  const long size = ::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info);
  return size > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

// What the stopped thread is to be given when it goes on: a signal, unless tracing itself made it.
int signal_to_give(int status) {
  const int signal = WSTOPSIG(status);
  const bool from_tracing = (status >> 16) != 0 || signal == SIGSTOP || (signal & 0x7f) == SIGTRAP;
  return from_tracing ? 0 : signal;
}

}  // namespace

CallCounting probe_call_counting() {
  if (perf_counts()) return CallCounting::perf;
  return trace_counts() ? CallCounting::trace : CallCounting::own;
}

CallCounter::CallCounter(CallCounting counting, std::atomic<bool>* counting_now) : counting_now_(counting_now) {
  if (counting == CallCounting::perf) event_ = open_event();
}

void CallCounter::begin() {
  counting_now_->store(true);
  if (event_) ::ioctl(event_.get(), PERF_EVENT_IOC_ENABLE, 0);
}

void CallCounter::end() {
  if (event_) ::ioctl(event_.get(), PERF_EVENT_IOC_DISABLE, 0);
  counting_now_->store(false);
}

std::optional<uint64_t> CallCounter::count() const {
  uint64_t calls = 0;
  if (!event_ || ::read(event_.get(), &calls, sizeof calls) != sizeof calls || calls == 0) return std::nullopt;
  return calls - 1;  // the call that ended the counting
}

// In a group of its own, so that the parent can wait for its threads and for nobody else.
void let_trace() {
  ::setpgid(0, 0);
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0) ::raise(SIGSTOP);
}

TracedRun trace_to_end(pid_t child, const std::atomic<bool>& counting_now) {
  TracedRun run;
  const auto wait_for = [&run](pid_t who) {
    pid_t stopped;
    do stopped = ::waitpid(who, &run.status, __WALL);
    while (stopped < 0 && errno == EINTR);
    return stopped;
  };
  pid_t stopped = wait_for(child);
  if (stopped != child || !WIFSTOPPED(run.status)) return run;  // tracing is refused
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
  while (true) {
    if (WIFSTOPPED(run.status)) {
      const bool is_call = WSTOPSIG(run.status) == (SIGTRAP | 0x80);
      if (is_call && counting_now && enters_call(stopped)) run.calls++;
      ::ptrace(PTRACE_SYSCALL, stopped, nullptr, signal_to_give(run.status));
    } else if (stopped == child) {
      return run;
    }
    stopped = wait_for(-child);
    if (stopped < 0) {
      run.status = -1;
      return run;
    }
  }
}

}  // namespace sluice
