#!/bin/bash
# The end of a gateway that has delayed writes: a backing that is slow gets them all, however long that takes; one that
# hangs is waited for no longer than without them.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root
WRITE_MODE=through  # the options are said here

start() { start_mount --write-mode back --dirty-expire "$1" --cache-size 512M --dirty-max 256M "$WORK/backing" "$WORK/mount"; }
delay_writes() {  # MICROSECONDS
  run_python - "$WORK/faults" "$1" <<'PYTHON'
import struct, sys
WRITE = 8
with open(sys.argv[1], "r+b") as control:
    control.write(struct.pack("6Q", 0, 0, 0, 0, WRITE, int(sys.argv[2])))
PYTHON
}
mkdir -p "$WORK/behind" "$WORK/mount"
start_backing

start 10m
head -c 56M /dev/urandom >"$WORK/data"
cp "$WORK/data" "$WORK/mount/file"
delay_writes 600000
begin=$SECONDS
timeout 90 "$SLUICE" umount "$WORK/mount" || fail "slow: the exit code of sluice umount"
await_end "$GATEWAY" || fail "slow: the exit code"
delay_writes 0
at_least "seconds, or it would have lost its patience" $((SECONDS - begin)) 32
same_bytes "$WORK/data" "$WORK/behind/file"

# Only the writer waits, nobody else does.
says_why() { grep -q "error: .*has not answered.*not finished" "${LOG_OF[$GATEWAY]}"; }
knows_that_it_hangs() { [[ $(status backing.hung) == true ]]; }
start 1s
echo some >"$WORK/mount/file"
freeze_backing
wait_until 15 knows_that_it_hangs || fail "hung: the status does not say so"
begin=$SECONDS
said=$(timeout 60 "$SLUICE" umount "$WORK/mount" 2>&1) && fail "hung: exit code 0 of sluice umount"
wait_until 25 says_why || fail "hung: the log does not say why; sluice umount says: $said"
at_most "hung: seconds" $((SECONDS - begin)) 25
is_mounted "$WORK/mount" && fail "hung: still mounted"
thaw_backing
wait_until 10 has_ended "$GATEWAY" || fail "hung: the process stays when the backing is back"
await_end "$GATEWAY" 2>/dev/null && fail "hung: exit code 0"
stop_backing
