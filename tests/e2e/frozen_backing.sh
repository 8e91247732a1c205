#!/bin/bash
# A frozen ext4 (FIFREEZE), where changes hang and reads do not: what looks and reads goes on, through the mount and by
# HTTP; changes fail in time, never as a success, and what was under way is done when the file system thaws. The
# threads that hang here cannot even be killed: a gateway that is to end leaves its mount all the same.
source "$(dirname "$0")/lib.sh"
need_root
need fsfreeze mkfs.ext4

TIMEOUT=3  # --io-timeout, in seconds
FROZEN=

freeze() { fsfreeze -f "$WORK/disk" && FROZEN=yes; }
thaw() { fsfreeze -u "$WORK/disk" && FROZEN=; }
# Nothing here may end with a file system that is frozen.
thaw_and_clean_up() {
  local code=$?
  set +e
  [[ -z $FROZEN ]] || fsfreeze -u "$WORK/disk"
  (exit "$code")
  cleanup
}
trap thaw_and_clean_up EXIT

fails_in_time() {  # COMMAND...
  local begin=${EPOCHREALTIME/./}
  "$@" 2>"$WORK/err" && fail "$*: done on a frozen file system"
  at_most "milliseconds of $*" $(((${EPOCHREALTIME/./} - begin) / 1000)) $((TIMEOUT * 1000 + 1500))
  grep -q "Input/output error" "$WORK/err" || fail "$*: $(cat "$WORK/err")"
}
looks_and_reads() {  # WHEN
  equal "$1: the list" "$(ls "$WORK/mount" | tr '\n' ' ')" "directory file lost+found other "
  cmp "$WORK/mount/file" "$WORK/copy" || fail "$1: a read"
  curl -sS "$HTTP/other" | cmp - "$WORK/copy" || fail "$1: a GET"
}
nothing_waits() { [[ $(status backing.requests_waiting) == 0 && $(status backing.calls_waiting) == 0 ]]; }
counts_a_call() { (($(status backing.calls_waiting) > 0)); }
gone() { ! is_mounted "$WORK/mount"; }

own_disk "$WORK/disk" 64M
((${#OWN_DISKS[@]})) || skip "no loop device to be had"
mkdir "$WORK/mount" "$WORK/disk/directory"
chmod 755 "$WORK/disk"
head -c 2M /dev/urandom >"$WORK/copy"
cp "$WORK/copy" "$WORK/disk/file"
cp "$WORK/copy" "$WORK/disk/other"
sync -f "$WORK/disk"
start_mount --cache-size 16M --io-timeout "${TIMEOUT}s" --http 127.0.0.1:0 "$WORK/disk" "$WORK/mount"
looks_and_reads "before"
exec 8<>"$WORK/mount/file"

freeze
fails_in_time mkdir "$WORK/mount/made"
looks_and_reads "while a mkdir hangs"
fails_in_time dd if=/dev/zero of=/proc/self/fd/8 bs=4096 count=1 conv=notrunc status=none
fails_in_time mv "$WORK/mount/other" "$WORK/mount/directory/other"
looks_and_reads "while changes hang"
thaw
wait_until 10 nothing_waits || fail "something waits after the thaw"
[[ -d $WORK/disk/made ]] || fail "a mkdir that hung was lost"
cmp "$WORK/mount/file" "$WORK/disk/file" || fail "what is cached is not what is there"
rmdir "$WORK/mount/made" || fail "a change after the thaw"
exec 8<&-

freeze
mkdir "$WORK/mount/made" 2>/dev/null &
JOBS_OF_OURS+=("$!")
wait_until 5 counts_a_call || fail "the mkdir does not hang"
begin=$SECONDS
said=$(timeout 60 "$SLUICE" umount --lazy "$WORK/mount" 2>&1) && fail "sluice umount on a frozen file system: exit code 0"
at_most "seconds of sluice umount" $((SECONDS - begin)) 25
[[ $said == *"does not answer"* ]] || fail "sluice umount says: $said"
gone || fail "still mounted"
thaw
wait_until 10 has_ended "$GATEWAY" || fail "the process stays after the thaw"
await_end "$GATEWAY" 2>/dev/null && fail "exit code 0"
exit 0
