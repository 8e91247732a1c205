// Counts the system calls of a sender's process, all threads together, while the sender is at work. The kernel counts,
// by one of two ways that were tried before on calls whose number is known:
//
//   perf    the tracepoint raw_syscalls:sys_enter, inherited by threads. Costs next to nothing, so the run that is
//           counted is the one that is timed. For root, and for others where kernel.perf_event_paranoid is -1.
//   trace   the parent stops the process at every call by ptrace(2). For everybody, also in most containers, but
//           several times slower: such a run is for counting only.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <optional>

#include "cache/result.h"
#include "cache/unique_fd.h"
#include "tools/bench/methods_report.h"

namespace sluice {

// What is allowed here, the best first. Forks; call before any thread exists.
CallCounting probe_call_counting();

// In the sender, made before its other threads.
class CallCounter {
 public:
  // `counting_now` is shared with the parent.
  CallCounter(CallCounting counting, std::atomic<bool>* counting_now);

  void begin();
  void end();
  // Of `perf`: calls between begin and end. The other ways are counted elsewhere.
  std::optional<uint64_t> count() const;

 private:
  std::atomic<bool>* const counting_now_;
  UniqueFd event_;
};

// In the parent, of `trace`: the child calls `let_trace` first of all; `trace_to_end` runs it to its end and returns
// how many calls it made while `counting_now`.
void let_trace();
struct TracedRun {
  int status = 0;  // of waitpid(2)
  uint64_t calls = 0;
};
TracedRun trace_to_end(pid_t child, const std::atomic<bool>& counting_now);

}  // namespace sluice
