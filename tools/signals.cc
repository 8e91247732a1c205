#include "tools/signals.h"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

namespace sluice {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, number);
  return set;
}

}  // namespace

void block_stop_signals() {
  const sigset_t set = stop_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  for (const int number : {SIGPIPE, SIGUSR1, SIGUSR2, SIGXFSZ}) ::signal(number, SIG_IGN);
}

int wait_for_stop_signal() {
  const sigset_t set = stop_signals();
  int number = 0;
  while (::sigwait(&set, &number) != 0) {
  }
  return number;
}

void request_stop() {
  ::kill(::getpid(), SIGTERM);
}

}  // namespace sluice
