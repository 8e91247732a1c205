#!/bin/bash
# A gateway whose backing hangs ends in bounded time, by SIGTERM and by `sluice umount`: it says what was not finished,
# exits with 1, the mount is gone and nobody waits in it any more. And the backing that is back can be mounted again.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root

BOUND=25  # seconds

hang_some() {  # two calls, a read and a write that nobody can cancel
  freeze_backing
  stat "$WORK/mount/no" >"$WORK/hung.out" 2>&1 &
  HUNG=("$!")
  dd if=/dev/zero of=/proc/self/fd/8 bs=4k count=1 conv=notrunc status=none 2>>"$WORK/hung.out" &
  HUNG+=("$!")
  cat <&7 >/dev/null 2>>"$WORK/hung.out" &
  HUNG+=("$!")
  JOBS_OF_OURS+=("${HUNG[@]}")
  wait_until 10 some_wait || fail "nothing waits"
}
some_wait() { (($(status backing.requests_waiting) >= 2)); }
gone() { ! is_mounted "$WORK/mount"; }
# Dead, but for descriptors on the backing, which the kernel waits to close: it has no memory any more.
ended_or_undead() { has_ended "$GATEWAY" || [[ -z $(tr -d '\0' <"/proc/$GATEWAY/cmdline") ]]; }

nothing_hangs_on() {  # HOW
  local process
  is_mounted "$WORK/mount" && fail "$1: still mounted"
  for process in "${HUNG[@]}"; do
    wait_until 5 has_ended "$process" || fail "$1: a client still waits"
    wait "$process" && fail "$1: a client was told of success: $(cat "$WORK/hung.out")"
  done
  grep -q "error: .*has not answered.*not finished" "${LOG_OF[$GATEWAY]}" || fail "$1: the log does not say why: $(cat "${LOG_OF[$GATEWAY]}")"
  [[ ! -e /run/sluice/$GATEWAY.sock ]] || fail "$1: the control socket is left"
  exec 7<&- 8<&-
  thaw_backing
  wait_until 10 has_ended "$GATEWAY" || fail "$1: the process stays when the backing is back"
  await_end "$GATEWAY" 2>/dev/null && fail "$1: exit code 0"
  return 0
}

start() {
  start_mount --cache-size 16M --io-timeout "$1" "$WORK/backing" "$WORK/mount"
  exec 7<"$WORK/mount/file" 8<>"$WORK/mount/written"
}

mkdir -p "$WORK/behind" "$WORK/mount"
head -c 1M /dev/urandom >"$WORK/behind/file"
head -c 1M /dev/urandom >"$WORK/behind/written"
start_backing

start 100s
hang_some
begin=$SECONDS
kill -TERM "$GATEWAY"
wait_until "$BOUND" ended_or_undead || fail "SIGTERM: does not end"
at_most "SIGTERM: seconds" $((SECONDS - begin)) "$BOUND"
nothing_hangs_on SIGTERM

start 0
hang_some
begin=$SECONDS
said=$(timeout 60 "$SLUICE" umount --lazy "$WORK/mount" 2>&1) && fail "sluice umount: exit code 0"
at_most "sluice umount: seconds" $((SECONDS - begin)) "$BOUND"
[[ $said == *"does not answer"* ]] || fail "sluice umount says: $said"
nothing_hangs_on "sluice umount"

start 60s
cmp - "$WORK/behind/file" <&7 || fail "mounted again: the file is wrong"
exec 7<&- 8<&-
stop_gateway
stop_backing
