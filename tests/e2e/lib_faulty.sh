# shellcheck shell=bash
# A backing that hangs, goes or fails: tests/support/faulty_fs on a directory.
#
#   start_backing                       # $WORK/behind is shown at $WORK/backing
#   freeze_backing; thaw_backing; kill_backing; stop_backing
#   fail_all SYNC ENOSPC                # every such call from now on: LOOK CHANGE READ WRITE SYNC FLUSH, or several
#   fail_none
: "${FAULTY_FS:?the path of tests/support/faulty_fs}"
BACKING=  # its process

start_backing() {
  need_fuse
  mkdir -p "$WORK/behind" "$WORK/backing"
  "$FAULTY_FS" "$WORK/behind" "$WORK/backing" "$WORK/faults" </dev/null >>"$WORK/log.backing" 2>&1 6>&- 7>&- 8>&- 9>&- &  # it shall hold no file of ours
  BACKING=$!
  JOBS_OF_OURS+=("$BACKING")
  echo "$BACKING" >>"$WORK/pids"
  wait_until 10 is_mounted "$WORK/backing" || fail "the backing does not start: $(cat "$WORK/log.backing")"
}
freeze_backing() { kill -STOP "$BACKING"; }
thaw_backing() { kill -CONT "$BACKING"; }
kill_backing() {
  kill -KILL "$BACKING"
  wait "$BACKING" 2>/dev/null || true
}
stop_backing() {
  umount "$WORK/backing"
  wait "$BACKING" || true
}
fail_all() {  # "KIND..." ERROR
  run_python -c '
import errno, sys, lib_faults
path, kinds, error = sys.argv[1:]
lib_faults.Control(path).set(1, getattr(errno, error), 1, sum(getattr(lib_faults, kind) for kind in kinds.split()))' "$WORK/faults" "$1" "$2"
}
fail_none() { run_python -c 'import sys, lib_faults; lib_faults.Control(sys.argv[1]).set()' "$WORK/faults"; }
# Reads the file at descriptor 7, 200 pages that are cached, for two seconds. Prints the longest that one read took, in
# milliseconds, and how many there were.
read_cached() {  # PAUSE, in seconds
  run_python - "$1" <<'PYTHON'
import os, sys, time
pause = float(sys.argv[1])
longest, count, end = 0, 0, time.monotonic() + 2
while time.monotonic() < end:
    begin = time.monotonic()
    assert len(os.pread(7, 4096, 4096 * (count % 200))) == 4096
    longest = max(longest, time.monotonic() - begin)
    count += 1
    if pause:
        time.sleep(pause)
print(int(longest * 1000), count)
PYTHON
}
# However the script ends nothing may wait for a process that was stopped.
let_go_of_backing() {
  local code=$?
  set +e
  [[ -z $BACKING ]] || kill -KILL "$BACKING" 2>/dev/null
  umount -l "$WORK/backing" 2>/dev/null
  (exit "$code")
  cleanup
}
trap let_go_of_backing EXIT
