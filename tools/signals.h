// All ways to end a gateway are one: a SIGTERM that the main thread waits for. Ctrl-C, systemd, `sluice umount` and an
// unmount from outside arrive there.
#pragma once

namespace sluice {

// For the whole process: call before any thread exists. SIGPIPE and the user signals are ignored.
void block_stop_signals();
// Returns the signal. The caller blocked them.
int wait_for_stop_signal();
// Any thread.
void request_stop();

}  // namespace sluice
