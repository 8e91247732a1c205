#!/bin/bash
# The gateway is killed while eight processes write. `sluice umount` clears up, a new mount works, and every write() that
# had returned is there, byte for byte.
source "$(dirname "$0")/lib.sh"

# Each writer tells its journal before and after each write(); the journal is outside the mount. It ends when the
# gateway does.
write_until_killed() {  # append|scatter NUMBER
  run_python - "$1" "$2" "$WORK/mount" "$WORK/journal" <<'PYTHON'
import os, random, sys
kind, number, mount, journals = sys.argv[1:]
chosen = random.Random(int(number))
journal = os.open(f"{journals}/{kind}{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
name = "shared_log" if kind == "append" else f"scatter{number}"
flags = os.O_WRONLY | (os.O_APPEND if kind == "append" else 0)
file = os.open(f"{mount}/{name}", flags)
step = 0
try:
    while True:
        step += 1
        if kind == "append":
            # Records of one length by several writers: none may be lost, torn or overwritten.
            record = f"{number}:{step:020}".encode().ljust(99) + b"\n"
            done = os.write(file, record)
            os.write(journal, b"%d\n" % step)
        else:
            offset, length = chosen.randrange(4 << 20), chosen.choice([1, 100, 4096, 5000, 20000, 65536])
            if chosen.random() < 0.5:
                offset = offset // 4096 * 4096
            seed = chosen.randrange(1 << 30)
            os.write(journal, b"start %d %d %d\n" % (offset, length, seed))
            done = os.pwrite(file, random.Random(seed).randbytes(length), offset)
            os.write(journal, b"end %d\n" % done)
except OSError as error:
    if error.errno not in (107, 103, 5, 19):  # ENOTCONN, ECONNABORTED, EIO, ENODEV
        raise
PYTHON
}

check_appended() {  # FILE
  run_python - "$1" "$WORK/journal" <<'PYTHON'
import collections, glob, sys
path, journals = sys.argv[1:]
data = open(path, "rb").read()
if len(data) % 100:
    sys.exit(f"{path}: {len(data)} bytes are not whole records")
found = collections.Counter(data[i:i + 100] for i in range(0, len(data), 100))
total = 0
for journal in glob.glob(f"{journals}/append*"):
    number = journal.rsplit("append", 1)[1]
    for line in open(journal):
        record = f"{number}:{int(line):020}".encode().ljust(99) + b"\n"
        total += 1
        if found[record] != 1:
            sys.exit(f"{path}: record {int(line)} of writer {number} is there {found[record]} times")
for record in found:
    if not record.endswith(b" \n"):
        sys.exit(f"{path}: a record that nobody wrote: {record}")
if total < 100:
    sys.exit(f"only {total} records were written before the kill")
PYTHON
}

check_scattered() {  # FILE NUMBER
  run_python - "$1" "$WORK/journal/scatter$2" <<'PYTHON'
import random, sys
path, journal = sys.argv[1:]
shadow, under_way, count = bytearray(5 << 20), None, 0
for line in open(journal):
    word, *numbers = line.split()
    if word == "start":
        under_way = [int(number) for number in numbers]
    else:
        offset, length, seed = under_way
        done = int(numbers[0])
        shadow[offset:offset + done] = random.Random(seed).randbytes(length)[:done]
        under_way, count = None, count + 1
got = open(path, "rb").read()
if len(got) != len(shadow):
    sys.exit(f"{path}: {len(got)} bytes")
maybe = (0, 0, b"")
if under_way:
    offset, length, seed = under_way
    maybe = (offset, offset + length, random.Random(seed).randbytes(length))
if got[:maybe[0]] != shadow[:maybe[0]] or got[maybe[1]:] != shadow[maybe[1]:]:
    at = next(i for i in range(len(got)) if got[i] != shadow[i] and not maybe[0] <= i < maybe[1])
    sys.exit(f"{path}: byte {at} is not what the last write() put there, after {count} writes")
for i in range(maybe[0], maybe[1]):
    if got[i] not in (shadow[i], maybe[2][i - maybe[0]]):
        sys.exit(f"{path}: byte {i} is neither old nor new")
if count < 100:
    sys.exit(f"{path}: only {count} writes before the kill")
PYTHON
}

check_all() {  # DIRECTORY
  check_appended "$1/shared_log" || fail "$1: appended records were lost"
  for i in 1 2 3 4; do check_scattered "$1/scatter$i" "$i" || fail "$1: written bytes were lost"; done
}
journals_are_long() {  # that of each writer: on a busy machine one may not even have begun when others are far
  local i
  for i in 1 2 3 4; do
    (($(lines "$WORK/journal/append$i") > 500 && $(lines "$WORK/journal/scatter$i") > 1000)) || return 1
  done
}
lines() { cat "$1" 2>/dev/null | wc -l; }

mkdir "$WORK/source" "$WORK/mount" "$WORK/journal"
: >"$WORK/source/shared_log"
for i in 1 2 3 4; do truncate -s 5M "$WORK/source/scatter$i"; done
start_mount --cache-size 16M "$WORK/source" "$WORK/mount"
writers=()
for i in 1 2 3 4; do
  background write_until_killed append "$i"
  writers+=("$JOB")
  background write_until_killed scatter "$i"
  writers+=("$JOB")
done
wait_until 20 journals_are_long || fail "the writers are too slow"
kill -KILL "$GATEWAY"
await_end "$GATEWAY" 2>/dev/null || true
for writer in "${writers[@]}"; do wait "$writer" || fail "a writer saw something else than the end of the gateway"; done

is_mounted "$WORK/mount" || fail "the dead mount is gone by itself"
# It looks dead, not empty: else backups and mirrors would take it for deletion.
said=$(timeout 20 ls "$WORK/mount" 2>&1) && fail "the dead mount can be listed"
[[ $said == *"Transport endpoint is not connected"* ]] || fail "the dead mount says: $said"
refuses 1 "already mounted; 'sluice umount $WORK/mount'" mount "$WORK/source" "$WORK/mount"
timeout 20 "$SLUICE" umount "$WORK/mount" || fail "sluice umount does not clear up after a kill"
is_mounted "$WORK/mount" && fail "still mounted after sluice umount"
start_mount --cache-size 16M "$WORK/source" "$WORK/mount"
check_all "$WORK/mount"
stop_gateway
check_all "$WORK/source"
