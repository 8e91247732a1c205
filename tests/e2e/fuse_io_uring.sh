#!/bin/bash
# Requests over io_uring: everything is as without; hits on a processor go on while more requests of the same processor
# hang than a queue had places at first; a signal ends who waits; and the mount ends in time, however it ends.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root
need_fuse
need taskset

PARAMETER=/sys/module/fuse/parameters/enable_uring
[[ -w $PARAMETER ]] || skip "this kernel has no requests over io_uring (Linux 6.14)"
BEFORE=$(cat "$PARAMETER")
put_back() {
  local code=$?
  set +e
  echo "$BEFORE" >"$PARAMETER"
  (exit "$code")
  let_go_of_backing
}
trap put_back EXIT
echo Y >"$PARAMETER" 2>/dev/null || skip "$PARAMETER cannot be written"

CPU=$(taskset -pc $$ | sed 's/.*: *//; s/[-,].*//')  # one that we may use

over_the_ring() { [[ $(status fuse.io_uring) == true ]]; }
start_over_ring() {
  start_mount --fuse-io-uring auto "$@"
  wait_until 5 over_the_ring || skip "io_uring is refused here"
}

# --- data and names ---
mkdir -p "$WORK/source/many" "$WORK/mount" "$WORK/behind"
head -c 64M /dev/urandom >"$WORK/source/big"
head -c 300 /dev/urandom >"$WORK/source/small"
run_python -c 'import sys; [open(f"{sys.argv[1]}/{i:05}", "w").close() for i in range(10000)]' "$WORK/source/many"
start_over_ring --cache-size 96M "$WORK/source" "$WORK/mount"
for round in cold warm; do
  same_bytes "$WORK/mount/big" "$WORK/source/big"
  same_bytes "$WORK/mount/small" "$WORK/source/small"
done
dd if="$WORK/mount/big" iflag=direct bs=1M status=none | cmp - "$WORK/source/big" || fail "direct reads of 1 MiB are wrong"
equal "names" "$(find "$WORK/mount/many" -type f | wc -l)" 10000
cp "$WORK/source/big" "$WORK/mount/copied"
dd if="$WORK/source/big" of="$WORK/mount/odd" bs=99999 status=none
same_bytes "$WORK/source/copied" "$WORK/source/big"
same_bytes "$WORK/source/odd" "$WORK/source/big"
echo appended >>"$WORK/mount/small"
equal "the end of a file that was appended to" "$(tail -n 1 "$WORK/source/small" | tail -c 9)" appended
mkdir "$WORK/mount/directory" && mv "$WORK/mount/small" "$WORK/mount/directory/moved" && ln -s target "$WORK/mount/link"
equal "a link's target" "$(readlink "$WORK/mount/link")" target
[[ -e $WORK/source/directory/moved ]] || fail "a rename did not arrive"
setfattr -n user.name -v value "$WORK/mount/odd" && equal "an attribute" "$(getfattr --only-values -n user.name "$WORK/source/odd" 2>/dev/null)" value
equal "owner of what another user makes" "$(chmod 777 "$WORK/mount" && setpriv --reuid 1000 --clear-groups touch "$WORK/mount/his" && stat -c %u "$WORK/source/his")" 1000
at_least "requests over io_uring" "$(status fuse.io_uring_requests)" 1000
idle_memory_is_given_back() { (($(status fuse.io_uring_touched_bytes) <= 1 << 20)); }
wait_until 10 idle_memory_is_given_back || fail "an idle mount keeps $(status fuse.io_uring_touched_bytes) bytes for requests"
stop_gateway

start_mount "$WORK/source" "$WORK/mount"
same_bytes "$WORK/mount/odd" "$WORK/source/odd"
equal "the ring of a mount that was told not to" "$(status fuse.io_uring)" false
stop_gateway

# --- in the background, and gone while in use ---
TARGET=$WORK/mount
"$SLUICE" mount --fuse-io-uring auto "$WORK/source" "$WORK/mount"
GATEWAY=$(pgrep -f "mount --fuse-io-uring auto $WORK/source $WORK/mount")
echo "$GATEWAY" >>"$WORK/pids"
wait_until 5 over_the_ring || fail "a mount in the background does without the ring"
exec 7<"$WORK/mount/big"
head -c 1M <&7 >/dev/null
kill -TERM "$GATEWAY"
wait_until 10 has_ended "$GATEWAY" || fail "SIGTERM does not end a mount that is in use"
cat <&7 >/dev/null 2>&1 && fail "a file of a mount that is gone can be read"
exec 7<&-

start_over_ring --cache-size 32M "$WORK/source" "$WORK/mount"
exec 7<"$WORK/mount/big"
kill -KILL "$GATEWAY"
await_end "$GATEWAY" 2>/dev/null || true
wait_until 5 eval '! head -c 1 <&7 >/dev/null 2>&1' || fail "a killed gateway seems to answer"
exec 7<&-
"$SLUICE" umount "$WORK/mount" || fail "a dead mount cannot be unmounted"

# --- a backing that hangs ---
head -c 1M /dev/urandom >"$WORK/behind/hot"
head -c 4M /dev/urandom >"$WORK/behind/cold"
start_backing
start_over_ring --cache-size 32M --io-timeout 20s --readahead 0 "$WORK/backing" "$WORK/mount"
exec 7<"$WORK/mount/hot" 8<"$WORK/mount/cold"
cmp - "$WORK/behind/hot" <&7 || fail "the first read is wrong"
freeze_backing

# 200 reads that miss and 40 calls, all of one processor. Ends when all came back, and tells how many were right.
taskset -c "$CPU" "$PYTHON" - "$WORK" >"$WORK/right" <<'PYTHON' &
import os, sys, threading
work = sys.argv[1]
behind = open(f"{work}/behind/cold", "rb").read()
right = []
def read(i):
    if os.pread(8, 4096, 16384 * i) == behind[16384 * i:16384 * i + 4096]:
        right.append(i)
def look(i):
    if not os.path.exists(f"{work}/mount/no{i}"):
        right.append(i)
threads = [threading.Thread(target=read, args=(i,)) for i in range(200)]
threads += [threading.Thread(target=look, args=(i,)) for i in range(40)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(right))
PYTHON
MANY=$!
JOBS_OF_OURS+=("$MANY")
many_wait() { (($(status backing.requests_waiting) >= 180)); }
wait_until 10 many_wait || fail "only $(status backing.requests_waiting) requests wait"
read -r longest count < <(taskset -pc "$CPU" "$BASHPID" >/dev/null && read_cached 0)
at_most "milliseconds of the slowest hit on a processor whose requests hang" "$longest" 1000
at_least "hits in 2 seconds" "$count" 2000

# Who waits can be ended.
taskset -c "$CPU" stat "$WORK/mount/interrupted" >/dev/null 2>&1 &
WAITING=$!
waits() { grep -q -s -e fuse -e request_wait "/proc/$WAITING/wchan"; }
wait_until 5 waits || fail "a call does not hang"
begin=${EPOCHREALTIME/./}
kill -INT "$WAITING" && kill -KILL "$WAITING"
wait "$WAITING" 2>/dev/null && fail "a process that was killed went on"
at_most "milliseconds until it ended" $(((${EPOCHREALTIME/./} - begin) / 1000)) 1500

thaw_backing
wait "$MANY" || fail "reads and calls that had hung failed"
equal "answers that were right afterwards" "$(cat "$WORK/right")" 240
exec 7<&- 8<&-
stop_gateway
stop_backing
