#include "tools/bench/transfer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <new>
#include <type_traits>

#include "cache/log.h"
#include "tools/bench/loopback.h"
#include "tools/bench/receiver.h"
#include "tools/bench/work_folder.h"

namespace sluice {
namespace {

// What the two processes leave for the one that forked them.
struct Report {
  std::atomic<bool> counting_now{false};
  int sender_error = 0;
  bool is_made = false;  // the sender could be made: an error is one of sending
  bool has_calls = false;
  uint64_t calls = 0;
  bool has_own_calls = false;
  uint64_t own_calls = 0;
  bool has_waits = false;
  uint64_t waits = 0;
  uint64_t copied_bytes = 0;
  Usage sender;
  double began = 0;
  int receiver_error = 0;
  Received warm_up, received;
};

class SharedReport {
 public:
  static Checked<SharedReport> make() {
    void* const memory = ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return complain("no memory for a report: {}", error_text(errno));
    return SharedReport(new (memory) Report);
  }
  SharedReport(SharedReport&& other) noexcept : report_(std::exchange(other.report_, nullptr)) {}
  SharedReport& operator=(SharedReport&&) = delete;
  ~SharedReport() {
    if (report_ != nullptr) ::munmap(report_, sizeof(Report));
  }
  Report* operator->() const { return report_; }
  Report& operator*() const { return *report_; }

 private:
  static_assert(std::is_trivially_destructible_v<Report>);
  explicit SharedReport(Report* report) : report_(report) {}
  Report* report_;
};

struct Connections {
  LoopbackPair warm_up;  // none: the row is cold
  LoopbackPair measured;
};

void send_as_told(const SendWay& way, const TransferPlan& plan, const Connections& connections, Report& report) {
  log_open(LogLevel::error, false);  // what is missing here is said once, by the rows that need it
  CallCounter counter(plan.counting, &report.counting_now);
  Meter meter(&counter);
  auto sender = way.make(plan.file);
  report.is_made = sender.has_value();
  const auto sent =
      sender ? (*sender)->send(
                   {.warm_up = connections.warm_up.sender.get(), .measured = connections.measured.sender.get()}, meter)
             : tl::unexpected(sender.error());
  if (!sent) {
    report.sender_error = sent.error().number;
    return;
  }
  const std::optional<uint64_t> calls = counter.count();
  report.has_calls = calls.has_value();
  report.calls = calls.value_or(0);
  report.has_own_calls = sent->own_calls.has_value();
  report.own_calls = sent->own_calls.value_or(0);
  report.has_waits = sent->waits.has_value();
  report.waits = sent->waits.value_or(0);
  report.copied_bytes = sent->copied_bytes;
  report.sender = meter.usage();
  report.began = meter.began();
}

void receive_as_told(const Connections& connections, Report& report) {
  const auto take = [&report](int socket, Received* received) {
    const Result<Received> taken = receive(socket);
    if (taken) {
      *received = *taken;
    } else {
      report.receiver_error = taken.error().number;
    }
  };
  if (connections.warm_up.receiver) take(connections.warm_up.receiver.get(), &report.warm_up);
  if (report.receiver_error == 0) take(connections.measured.receiver.get(), &report.received);
}

// A child that ends with its parent, and by the signals that only tell the parent to clean up.
Checked<pid_t> fork_child(const std::function<void()>& run) {
  ::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return complain("no process for a transfer: {}", error_text(errno));
  if (child > 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  run();
  ::_exit(EXIT_SUCCESS);
}

int status_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// What a system says that does not have a method, or does not allow it here.
bool is_refusal(int error) {
  switch (error) {
    case ENOSYS:
    case EOPNOTSUPP:
    case EPERM:
    case EACCES:
    case EINVAL:
    case ENOBUFS:
    case ENOPROTOOPT: return true;
    default: return false;
  }
}

Checked<> check_bytes(const SendWay& way, const TransferPlan& plan, const Received& received) {
  if (received.bytes != plan.file.size)
    return complain("{}: the receiver got {} of {} bytes", way.name, received.bytes, plan.file.size);
  if (received.digest != plan.digest) return complain("{}: the receiver got other bytes than the file has", way.name);
  return {};
}

Checked<Transfer> judge(const SendWay& way, const TransferPlan& plan, const Report& report) {
  if (is_refusal(report.sender_error)) return Transfer{.refused = std::string(error_text(report.sender_error))};
  if (report.sender_error != 0)
    return complain("{}: cannot {}: {}", way.name, report.is_made ? "send" : "begin", error_text(report.sender_error));
  if (report.receiver_error != 0)
    return complain("{}: cannot receive: {}", way.name, error_text(report.receiver_error));
  if (plan.warm) TRY(check_bytes(way, plan, report.warm_up));
  TRY(check_bytes(way, plan, report.received));
  Transfer transfer;
  if (report.has_calls) transfer.calls = report.calls;
  if (report.has_own_calls) transfer.sent.own_calls = report.own_calls;
  if (report.has_waits) transfer.sent.waits = report.waits;
  transfer.sent.copied_bytes = report.copied_bytes;
  transfer.sender = report.sender;
  transfer.receiver_cpu_seconds = report.received.cpu_seconds;
  transfer.seconds = report.received.ended - report.began;
  return transfer;
}

}  // namespace

Checked<Transfer> run_transfer(const SendWay& way, const TransferPlan& plan) {
  const SharedReport report = TRY(SharedReport::make());
  Connections connections;
  if (plan.warm) connections.warm_up = TRY(connect_to_self());
  connections.measured = TRY(connect_to_self());
  // Each closes the other's ends, so that it sees when the other one is gone.
  const pid_t receiver = TRY(fork_child([&] {
    connections.warm_up.sender.reset();
    connections.measured.sender.reset();
    receive_as_told(connections, *report);
  }));
  const Checked<pid_t> sender = fork_child([&] {
    connections.warm_up.receiver.reset();
    connections.measured.receiver.reset();
    if (plan.counting == CallCounting::trace) let_trace();
    send_as_told(way, plan, connections, *report);
  });
  connections = {};
  TracedRun run;
  if (sender)
    run = plan.counting == CallCounting::trace ? trace_to_end(*sender, report->counting_now)
                                               : TracedRun{.status = status_of(*sender)};
  status_of(receiver);
  if (!sender) return tl::unexpected(sender.error());
  if (interrupted()) return complain("interrupted");
  if (WIFSIGNALED(run.status)) return complain("{}: the sender ended by signal {}", way.name, WTERMSIG(run.status));
  if (plan.counting == CallCounting::trace) {
    report->has_calls = true;
    report->calls = run.calls;
  }
  return judge(way, plan, *report);
}

}  // namespace sluice
