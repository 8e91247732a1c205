#!/bin/bash
# What a backing accepted and then could not keep is told: to each program that has the file open, once, by fsync(2), and
# where the backing says so only then by close(2); and what nobody was told, by the gateway at its end: one line that
# names the file, and exit code 1.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root

start() { start_mount --cache-size 16M "$WORK/backing" "$WORK/mount"; }
log_of_gateway() { cat "${LOG_OF[$GATEWAY]}"; }
ends_well() {  # WHAT
  stop_gateway
  grep -q "could be kept" "${LOG_OF[$GATEWAY]}" && fail "$1: the log says that something was lost: $(log_of_gateway)"
  return 0
}
# The gateway has ended, or is ending.
says_what_was_lost() {  # WHAT FILE ERROR
  local code=0
  await_end "$GATEWAY" 2>/dev/null || code=$?
  equal "$1: exit code" "$code" 1
  equal "$1: lines that name the file" "$(grep -c "error: $WORK/backing/$2: .*: $3" "${LOG_OF[$GATEWAY]}")" 1
  equal "$1: error lines" "$(grep -c "error:" "${LOG_OF[$GATEWAY]}")" 1
  is_mounted "$WORK/mount" && fail "$1: still mounted"
  return 0
}
end_by() {  # SIGNAL
  kill "-$1" "$GATEWAY"
}
end_by_command() {  # which says what the gateway says
  local said code=0
  said=$(timeout 45 "$SLUICE" umount "$WORK/mount" 2>&1) || code=$?
  equal "sluice umount: exit code" "$code" 1
  [[ $said == *"$WORK/backing/mapped: "*": No space left"*"not everything that was written could be kept" ]] ||
    fail "sluice umount says: $said"
}

# Runs Python on the mount: `told(call)` is the name of the error that the call ends in.
program() {
  run_python - "$WORK/mount" "$@" <<PYTHON || fail "see above"
import errno, lib_faults, mmap, os, sys
root = sys.argv[1]
def told(call):
    try:
        call()
        return "OK"
    except OSError as error:
        return errno.errorcode[error.errno]
def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got}, expected {wanted}")
$(cat)
PYTHON
}

mkdir -p "$WORK/behind" "$WORK/mount"
start_backing
head -c 8K /dev/zero >"$WORK/behind/mapped"

# Nothing fails: a file that is open, one that was closed, one that was mapped.
start
exec 6>"$WORK/mount/open"
echo kept >&6
echo kept >"$WORK/mount/closed"
end_by TERM
await_end "$GATEWAY" || fail "without a fault: exit code"
exec 6>&-
equal "without a fault: error lines" "$(grep -c "error:" "${LOG_OF[$GATEWAY]}")" 0

# Everybody who has the file open is told, once.
start
fail_all SYNC EIO
program <<'PYTHON'
files = [os.open(f"{root}/told", os.O_CREAT | os.O_RDWR) for _ in range(3)]
os.write(files[0], b"lost")
for file in files[:2]:
    expect("fsync", told(lambda: os.fsync(file)), "EIO")
late = os.open(f"{root}/told", os.O_RDWR)
lib_faults.Control(f"{root}/../faults").set()
# The second of them asked when the first one's error was there: two errors, of which the first program knows one.
for file, wanted in zip(files + [late], ("EIO", "OK", "EIO", "OK")):
    expect("fsync when all is well again", told(lambda: os.fsync(file)), wanted)
    expect("one more", told(lambda: os.fsync(file)), "OK")
PYTHON
fail_none
ends_well "fsync told it"

# close(2) tells what the backing says at its close.
start
fail_all FLUSH EDQUOT
program <<'PYTHON'
file = os.open(f"{root}/told", os.O_CREAT | os.O_WRONLY)
os.write(file, b"lost")
expect("close", told(lambda: os.close(file)), "EDQUOT")
reader = os.open(f"{root}/told", os.O_RDONLY)
expect("close of a reader", told(lambda: os.close(reader)), "OK")
PYTHON
fail_none
ends_well "close told it"

# The gateway ends under who writes.
for kind in SYNC FLUSH; do
  start
  background "$PYTHON" -c '
import os, signal, sys
os.write(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), b"lost")
signal.pause()' "$WORK/mount/open_$kind"
  wait_until 10 test -s "$WORK/behind/open_$kind" || fail "$kind at the end: nobody writes"
  fail_all "$kind" ENOSPC
  end_by TERM
  says_what_was_lost "$kind at the end" "open_$kind" "No space left"
  fail_none
  kill "$JOB"
done

# Only what was not fsynced since.
start
exec 6>"$WORK/mount/open"
echo kept >&6
sync "$WORK/mount/open"
fail_all SYNC ENOSPC
end_by TERM
await_end "$GATEWAY" || fail "fsynced before: exit code"
fail_none
exec 6>&-

# Memory that was written to, and is written back when its program has ended.
for way in "end_by TERM" end_by_command; do
  start
  fail_all WRITE ENOSPC
  program <<'PYTHON'
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
file = os.open(f"{root}/mapped", os.O_RDWR)
memory = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, file, 0)
os.close(file)  # mmap.mmap would keep a copy, whose close is told
ctypes.memmove(memory, b"lost", 4)
PYTHON
  $way
  says_what_was_lost "a mapping, $way" mapped "No space left"
  fail_none
done
stop_backing

# A file system of this machine: more than its disk has room for, found while the page cache is written back.
mkdir "$WORK/small" "$WORK/disk"
mount -t tmpfs -o size=8M none "$WORK/small"
truncate -s 64M "$WORK/small/image"
mkfs.ext4 -q -b 4096 -O ^has_journal "$WORK/small/image" && mount -o loop "$WORK/small/image" "$WORK/disk" || skip "ext4 on a loop device cannot be had"
start_mount --cache-size 16M "$WORK/disk" "$WORK/mount"
echo more than fits >"$WORK/mount/unaligned"
sync -f "$WORK/disk"
dd if=/dev/zero of="$WORK/small/filler" bs=64K status=none 2>/dev/null || true
program <<'PYTHON'
files = [os.open(f"{root}/{name}", os.O_CREAT | os.O_RDWR) for name in ("told", "untold")]
for file in files:
    os.write(file, b"lost" * 100)
expect("fsync", told(lambda: os.fsync(files[0])) in ("EIO", "ENOSPC"), True)
expect("second fsync", told(lambda: os.fsync(files[0])), "OK")
PYTHON
end_by TERM
code=0
await_end "$GATEWAY" 2>/dev/null || code=$?
equal "a full disk: exit code" "$code" 1
equal "a full disk: lines" "$(grep "error:" "${LOG_OF[$GATEWAY]}" | grep -c "$WORK/disk/untold: ")" 1
grep -q "$WORK/disk/told: " "${LOG_OF[$GATEWAY]}" && fail "a full disk: the gateway says what a program was told"
umount "$WORK/disk"
umount "$WORK/small"
