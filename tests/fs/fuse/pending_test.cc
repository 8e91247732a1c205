#include "fs/fuse/pending.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/fuse/relief.h"
#include "tests/support/catch.h"

using namespace sluice;

namespace {

// A child that blocks this signal, so that it stays pending.
class Child {
 public:
  explicit Child(int signal) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    pid = ::fork();
    if (pid == 0) {
      sigset_t all;
      ::sigfillset(&all);
      ::sigprocmask(SIG_BLOCK, &all, nullptr);
      (void)!::write(ready[1], "r", 1);
      for (;;) ::pause();
    }
    char byte;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::close(ready[0]);
    ::close(ready[1]);
    if (signal != 0) REQUIRE(::kill(pid, signal) == 0);
  }
  ~Child() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  pid_t pid;
};

}  // namespace

TEST_CASE("pending: a caller is being ended by signals that end, not by those of runtimes", "[fuse][pending]") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM}) CHECK(is_being_ended(Child(signal).pid));
  for (const int signal : {0, SIGURG, SIGPROF, SIGCHLD, SIGWINCH, SIGRTMIN})
    CHECK_FALSE(is_being_ended(Child(signal).pid));
}

TEST_CASE("pending: a caller of whom nothing is known is taken to be ended", "[fuse][pending]") {
  CHECK(is_being_ended(0));
  pid_t gone;
  {
    const Child child(0);
    gone = child.pid;
  }
  CHECK(is_being_ended(gone));
}

TEST_CASE("relief threads: as many as keep some free, none in normal times", "[fuse][pending]") {
  CHECK(ReliefThreads::wanted(10, 0, 0) == 0);
  CHECK(ReliefThreads::wanted(10, 6, 6) == 0);
  CHECK(ReliefThreads::wanted(10, 7, 7) == 1);
  CHECK(ReliefThreads::wanted(10, 10, 10) == 4);
  CHECK(ReliefThreads::wanted(10, 10, 0) == 24);
  CHECK(ReliefThreads::wanted(10, 30, 40) == 24);
  CHECK(ReliefThreads::wanted(1, 0, 0) == 0);
  CHECK(ReliefThreads::wanted(1, 1, 1) == 1);
  CHECK(ReliefThreads::wanted(10, 100000, 0) == ReliefThreads::kThreadsMax);
}
