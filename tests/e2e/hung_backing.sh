#!/bin/bash
# A backing that hangs: what is cached is read on, through the mount, while many more calls hang than there are
# threads; what needs the backing can be interrupted, fails in time, and never as a success; and all is as before when the
# backing is back. By reads, writes and calls of every kind.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root

TIMEOUT=4  # --io-timeout, in seconds

# One operation, in a process of its own. Prints what became of it, and after how many tenths of a second.
attempt() {  # PYTHON-EXPRESSION
  run_python - "$1" <<'PYTHON'
import errno, os, sys, time
begin = time.monotonic()
try:
    eval(sys.argv[1])
    outcome = "done"
except OSError as error:
    outcome = errno.errorcode[error.errno]
print(outcome, int((time.monotonic() - begin) * 10))
PYTHON
}

# 100 threads whose calls hang, of all kinds. Prints what became of each, and after how many tenths of a second.
attempt_many() {
  run_python - "$WORK/mount" <<'PYTHON'
import errno, os, sys, threading, time
root = sys.argv[1]
calls = [
    lambda i: os.stat(f"{root}/no{i}"),
    lambda i: os.mkdir(f"{root}/made{i}"),
    lambda i: os.listdir(f"{root}/directory{i}"),
    lambda i: os.rename(f"{root}/directory{i}/renamed", f"{root}/directory{i}/to"),
    lambda i: os.unlink(f"{root}/directory{i}/file"),
    lambda i: os.open(f"{root}/small", os.O_RDONLY),
    lambda i: os.pread(8, 4096, 4096 * i),
    lambda i: os.pwrite(9, b"n" * 4096, 4096 * i),
    lambda i: os.fsync(9),
    lambda i: os.truncate(f"{root}/directory{i}/file", 5),
]
def attempt(i):
    begin = time.monotonic()
    try:
        calls[i % len(calls)](i)
        outcome = "done"
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    os.write(1, b"%s %d %d\n" % (outcome.encode(), (time.monotonic() - begin) * 10, i))
threads = [threading.Thread(target=attempt, args=(i,)) for i in range(100)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
PYTHON
}

interrupted_by() {  # SIGNAL
  attempt 'os.stat("'"$WORK"'/mount/interrupted")' >"$WORK/outcome" 2>/dev/null &
  local process=$!
  JOBS_OF_OURS+=("$process")
  wait_until 5 waits_in_fuse "$process" || fail "$1: the call does not hang"
  local begin=${EPOCHREALTIME/./}
  kill "-$1" "$(pgrep -P "$process" || echo "$process")"
  wait "$process" 2>/dev/null && fail "$1: the process went on"
  at_most "$1: milliseconds until the process ended" $(((${EPOCHREALTIME/./} - begin) / 1000)) 1500
}
waits_in_fuse() {  # PROCESS: it, or its child
  grep -q -s -e fuse -e request_wait "/proc/$1/wchan" || grep -q -s -e fuse -e request_wait "/proc/$(pgrep -P "$1")/wchan"
}
counts() { [[ $(status "backing.$1") == "$2" ]]; }  # FIELD VALUE
many_waiting() { (($(status backing.requests_waiting) >= 40)); }  # not all: the kernel lets changes of a directory in one by one

outcomes_are_errors() {
  local outcome tenths i lines=0
  while read -r outcome tenths i; do
    equal "outcome of call $i" "$outcome" EIO
    at_most "tenths of a second of call $i" "$tenths" $((TIMEOUT * 10 + 25))
    lines=$((lines + 1))
  done <"$WORK/outcomes"
  equal "calls with an outcome" "$lines" 100
}

mkdir -p "$WORK/behind" "$WORK/mount"
head -c 1M /dev/urandom >"$WORK/behind/hot"
head -c 4M /dev/urandom >"$WORK/behind/cold"
head -c 4M /dev/zero >"$WORK/behind/written"
echo small >"$WORK/behind/small"
for ((i = 0; i < 100; i++)); do
  mkdir "$WORK/behind/directory$i"
  touch "$WORK/behind/directory$i/renamed" "$WORK/behind/directory$i/file"
done
start_backing
start_mount --cache-size 32M --io-timeout "${TIMEOUT}s" --readahead 0 "$WORK/backing" "$WORK/mount"
exec 7<"$WORK/mount/hot" 8<"$WORK/mount/cold" 9<>"$WORK/mount/written"
cmp - "$WORK/behind/hot" <&7 || fail "the first read is wrong"
ls "$WORK"/mount/directory* >/dev/null
[[ $(status backing.hung) == false ]] || fail "a backing that answers is said to hang"

freeze_backing
interrupted_by KILL
interrupted_by INT
interrupted_by TERM
equal "requests interrupted" "$(status backing.interrupted)" 3
attempt_many >"$WORK/outcomes" &
MANY=$!
JOBS_OF_OURS+=("$MANY")
wait_until 3 many_waiting || fail "only $(status backing.requests_waiting) requests wait"
read -r longest count < <(read_cached 0.001)
at_most "milliseconds of the slowest hit while 100 calls hang" "$longest" 1000  # more threads come a tick late
at_least "hits in 2 seconds while 100 calls hang" "$count" 500
at_most "threads" "$(find "/proc/$GATEWAY/task" -mindepth 1 -maxdepth 1 | wc -l)" 200
wait "$MANY"
outcomes_are_errors
equal "status" "$(status backing.hung)" true
at_least "requests that timed out" "$(status backing.timed_out)" 40
"$SLUICE" status "$TARGET" | grep -q "^backing *has not answered for" || fail "the status for people does not say that it hangs"
grep -q "warning: the backing has not answered" "${LOG_OF[$GATEWAY]}" || fail "the log says nothing"
# By now it is known: what comes next does not wait.
attempt 'os.stat("'"$WORK"'/mount/first")' >/dev/null
read -r outcome tenths < <(attempt 'os.stat("'"$WORK"'/mount/second")')
equal "outcome when the backing is known to hang" "$outcome" EIO
at_most "tenths of a second until then" "$tenths" 5
at_least "requests refused" "$(status backing.refused)" 1
at_most "milliseconds of the slowest hit" "$(read_cached 0.001 | cut -d ' ' -f 1)" 400

thaw_backing
wait_until 10 counts hung false || fail "the status still says that it hangs"
wait_until 10 counts requests_waiting 0 || fail "requests still wait"
wait_until 10 counts writes_waiting 0 || fail "writes still wait"
grep -q "warning: the backing answers again" "${LOG_OF[$GATEWAY]}" || fail "the log does not say that it is back"
equal "a name looked up" "$(stat -c %s "$WORK/mount/small")" 6
exec 8<"$WORK/mount/cold"
cmp - "$WORK/behind/cold" <&8 || fail "a read afterwards is wrong"
echo more >>"$WORK/mount/small"
equal "a write afterwards" "$(cat "$WORK/behind/small")" $'small\nmore'
cmp "$WORK/mount/written" "$WORK/behind/written" || fail "what is cached of a file with writes that timed out is not what it is"
exec 7<&- 8<&- 9>&-
few_threads() { (($(find "/proc/$GATEWAY/task" -mindepth 1 -maxdepth 1 | wc -l) < 40)); }
wait_until 15 few_threads || fail "the threads that helped out stay"
stop_gateway
stop_backing
