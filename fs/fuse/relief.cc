#include "fs/fuse/relief.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "cache/log.h"

namespace sluice {

// The session's own threads are not counted on when one of them hangs: libfuse starts them as it needs them, and ends
// them when they are idle.
uint32_t ReliefThreads::wanted(uint32_t own_threads, uint32_t stuck, uint32_t stuck_before) {
  const uint32_t more = stuck > stuck_before ? stuck - stuck_before : 0;
  const uint32_t free_wanted = std::min(own_threads, kFreeThreads) + 2 * more;
  const uint32_t wanted = stuck + free_wanted;
  return wanted <= own_threads ? 0 : std::min(wanted - own_threads, kThreadsMax);
}

void ReliefThreads::tick(std::chrono::nanoseconds now, uint32_t stuck) {
  join_ended();
  const uint32_t needed = wanted(own_threads_, stuck, std::exchange(stuck_before_, stuck));
  if (needed >= threads_.size()) needed_at_ = now;
  while (threads_.size() < needed) {
    const size_t before = threads_.size();
    start_one();
    if (threads_.size() == before) return;
  }
  if (needed == 0 && now - needed_at_ >= kIdle) {
    for (Thread& thread : threads_) end(thread);
  }
}

void ReliefThreads::start_one() {
  Thread& started = threads_.emplace_back();
  try {
    started.thread = std::thread([this, &started] { serve(started); });
  } catch (const std::system_error&) {  // a limit of the system
    log(LogLevel::warning, "no more threads for requests while the backing hangs");
    threads_.pop_back();
  }
}

void ReliefThreads::serve(Thread& self) {
  ::pthread_setname_np(::pthread_self(), "sluice-relief");
  sigset_t wake;
  ::sigemptyset(&wake);
  ::sigaddset(&wake, wake_signal_);
  ::pthread_sigmask(SIG_UNBLOCK, &wake, nullptr);
  fuse_buf buffer{};
  while (!self.is_to_end.load(std::memory_order_relaxed) && fuse_session_exited(session_) == 0) {
    const int received = fuse_session_receive_buf(session_, &buffer);
    if (received == -EINTR) continue;
    if (received <= 0) break;
    fuse_session_process_buf(session_, &buffer);
  }
  ::free(buffer.mem);
  self.has_ended.store(true, std::memory_order_release);
}

void ReliefThreads::join_ended() {
  threads_.remove_if([](Thread& thread) {
    if (!thread.has_ended.load(std::memory_order_acquire)) return false;
    thread.thread.join();
    return true;
  });
}

// A signal that comes just before the thread waits is lost: said again in the next tick.
void ReliefThreads::end(Thread& thread) {
  thread.is_to_end.store(true, std::memory_order_relaxed);
  ::pthread_kill(thread.thread.native_handle(), wake_signal_);
}

void ReliefThreads::stop() {
  constexpr std::chrono::milliseconds kPause{10};
  for (join_ended(); !threads_.empty(); join_ended()) {
    for (Thread& thread : threads_) end(thread);
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace sluice
