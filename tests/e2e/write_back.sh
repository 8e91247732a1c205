#!/bin/bash
# --write-mode back: a write is seen by everybody before the backing has it; what makes it durable, what sends it on its
# way, and what must never happen to it.
source "$(dirname "$0")/lib.sh"
need_fuse
WRITE_MODE=through  # the options are said here

start() {  # [OPTION...]
  start_mount --write-mode back --dirty-expire 10m --state-dir "$WORK/state" --http 127.0.0.1:0 "$@" "$WORK/source" "$WORK/mount"
}
of_backing() { cat "$WORK/source/$1"; }
get() { curl -sS --fail "$HTTP/$1"; }
is_written() { [[ $(status write_back.dirty_bytes) == 0 ]]; }
mkdir "$WORK/source" "$WORK/mount"

# Seen at once, on the backing later; its size and time are those of the write throughout.
start
printf 'new content' >"$WORK/mount/file"
equal "backing after a write" "$(of_backing file)" ""
equal "HTTP after a write" "$(get file)" "new content"
equal "size shown" "$(stat -c %s "$WORK/mount/file")" 11
shown=$(stat -c %y "$WORK/mount/file")
equal "listing" "$(curl -sS -H 'Accept: application/json' "$HTTP/" | field '' | "$PYTHON" -c '
import json, sys
print(json.load(sys.stdin)[0]["size"])')" 11
sync "$WORK/mount/file"
equal "backing after fsync" "$(of_backing file)" "new content"
equal "its time on the backing" "$(stat -c %y "$WORK/source/file")" "$shown"
equal "its time through the mount" "$(stat -c %y "$WORK/mount/file")" "$shown"
equal "dirty after fsync" "$(status write_back.files)" 0

# Times that somebody sets stay, whenever the bytes get there; so do rights.
echo data >"$WORK/mount/dated"
touch -d '2001-02-03 04:05:06.789 UTC' "$WORK/mount/dated"
chmod 4755 "$WORK/mount/dated"
sync "$WORK/mount/dated"
equal "a time that was set" "$(TZ=UTC stat -c %y "$WORK/source/dated")" "2001-02-03 04:05:06.789000000 +0000"
equal "rights" "$(stat -c %a "$WORK/source/dated")" 4755

# O_SYNC and O_DSYNC: when write returns.
for flag in sync dsync; do
  head -c 70000 /dev/urandom >"$WORK/data"
  dd if="$WORK/data" of="$WORK/mount/$flag" bs=70000 iflag=fullblock oflag=$flag status=none
  same_bytes "$WORK/data" "$WORK/source/$flag"
done

# msync.
truncate -s 8192 "$WORK/mount/mapped"
run_python - "$WORK/mount/mapped" <<'PYTHON'
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 8192) as pages:
    pages[4000:4010] = b"0123456789"
    pages.flush()
PYTHON
equal "backing after msync" "$(dd if="$WORK/source/mapped" bs=1 skip=4000 count=10 status=none)" 0123456789

# A name never leads to a file that lacks what the one that it replaces had.
echo old >"$WORK/source/config"
echo new >"$WORK/mount/config.tmp"
mv "$WORK/mount/config.tmp" "$WORK/mount/config"
equal "backing after a rename over a file" "$(of_backing config)" new

# Truncating and extending.
seq 1 20000 >"$WORK/numbers"
cp "$WORK/numbers" "$WORK/mount/cut"
truncate -s 5000 "$WORK/mount/cut"
truncate -s 9000 "$WORK/mount/cut"
printf tail >>"$WORK/mount/cut"
{ head -c 5000 "$WORK/numbers"; head -c 4000 /dev/zero; printf tail; } >"$WORK/expected"
same_bytes "$WORK/expected" "$WORK/mount/cut"
sync "$WORK/mount/cut"
same_bytes "$WORK/expected" "$WORK/source/cut"

# A file that is gone is not written.
before=$(status write_back.written_bytes)
head -c 1M /dev/urandom >"$WORK/mount/short_lived"
rm "$WORK/mount/short_lived"
wait_until 5 is_written || fail "a file that is gone stays dirty"
equal "bytes written of a file that is gone" "$(status write_back.written_bytes)" "$before"

# Unmounting writes all, and SIGTERM does.
seq 1 100000 >"$WORK/mount/late"
different "dirty before unmounting" "$(status write_back.dirty_bytes)" 0
stop_gateway
equal "backing after unmounting" "$(md5sum <"$WORK/source/late")" "$(seq 1 100000 | md5sum)"
start
seq 1 200000 >"$WORK/mount/late"
kill -TERM "$GATEWAY"
await_end "$GATEWAY" || fail "exit code after SIGTERM"
equal "backing after SIGTERM" "$(md5sum <"$WORK/source/late")" "$(seq 1 200000 | md5sum)"

# What somebody else writes meanwhile stays, and what was delayed is beside it.
start --attr-timeout 0
run_python - "$WORK/mount/shared" "$WORK/source/shared" <<'PYTHON' || fail "a file that somebody else changed"
import errno, os, sys
mounted, backing = sys.argv[1:]
file = os.open(mounted, os.O_RDWR | os.O_CREAT)
os.write(file, b"first\n")
os.fsync(file)
os.pwrite(file, b"through the mount\n", 0)
with open(backing, "w") as other:
    other.write("somebody else's, longer\n")
with open(mounted) as again:
    seen = again.read()
    assert seen == "somebody else's, longer\n", seen
try:
    os.fsync(file)
    raise SystemExit("fsync says nothing")
except OSError as error:
    assert error.errno == errno.ESTALE, error
os.fsync(file)
PYTHON
stop_gateway
equal "the file afterwards" "$(of_backing shared)" "somebody else's, longer"
equal "what was delayed" "$(cat "$WORK/source/shared.sluice-conflict-"*)" "through the mount"
grep -q "shared was changed by somebody else .* in ./shared.sluice-conflict-" "${LOG_OF[$GATEWAY]}" ||
  fail "the log does not say where what was delayed is"

# A reader of more than the bound sees what it wrote, and never more than the bound is kept.
start --cache-size 64M --dirty-max 4M
head -c 40M /dev/urandom >"$WORK/data"
run_python - "$WORK/data" "$WORK/mount/large" "$SLUICE" "$WORK/mount" <<'PYTHON' || fail "a writer beyond the bound"
import json, os, subprocess, sys
data = open(sys.argv[1], "rb").read()
file = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
most = 0
for offset in range(0, len(data), 1 << 20):
    os.pwrite(file, data[offset:offset + (1 << 20)], offset)
    status = json.loads(subprocess.run([sys.argv[3], "status", "--json", sys.argv[4]], stdout=subprocess.PIPE).stdout)
    most = max(most, status["write_back"]["dirty_bytes"] + status["write_back"]["unsynced_bytes"])
assert 0 < most <= 4 << 20, most
assert status["write_back"]["waits"] > 0
PYTHON
same_bytes "$WORK/data" "$WORK/mount/large"
stop_gateway
same_bytes "$WORK/data" "$WORK/source/large"

# A full disk says so to who writes.
if [[ $EUID == 0 ]]; then
  mkdir "$WORK/small"
  mount -t tmpfs -o size=8M tmpfs "$WORK/small"
  OWN_DISKS+=("$WORK/small")
  start_mount --write-mode back --dirty-expire 10m "$WORK/small" "$WORK/mount"
  code=0
  said=$(dd if=/dev/zero of="$WORK/mount/full" bs=64K count=200 2>&1) || code=$?
  equal "dd onto a full disk" "$code" 1
  [[ $said == *"No space left on device"* ]] || fail "dd onto a full disk says: $said"
  rm "$WORK/mount/full"
  fits() { echo fits 2>/dev/null >"$WORK/mount/after"; }
  wait_until 5 fits || fail "the space of a file that is gone does not come back"
  stop_gateway
  equal "after there was room again" "$(cat "$WORK/small/after")" fits
fi

# What an fsync promised is there after a SIGKILL.
start
head -c 3M /dev/urandom >"$WORK/data"
cp "$WORK/data" "$WORK/mount/promised"
sync "$WORK/mount/promised"
kill -KILL "$GATEWAY"
await_end "$GATEWAY" 2>/dev/null || true
"$SLUICE" umount "$WORK/mount" 2>/dev/null || true
same_bytes "$WORK/data" "$WORK/source/promised"

# The next start says how much was not.
start
head -c 100K /dev/urandom >"$WORK/mount/lost"
kill -KILL "$GATEWAY"
await_end "$GATEWAY" 2>/dev/null || true
"$SLUICE" umount "$WORK/mount" 2>/dev/null || true
start
grep -q "up to 102400 bytes of delayed writes .* were lost" "${LOG_OF[$GATEWAY]}" || fail "the next start says nothing"
stop_gateway
start
grep -q "were lost" "${LOG_OF[$GATEWAY]}" && fail "a start after a good end says that something was lost"
stop_gateway

refuses 1 "dirty-max: 40M is more than half of --cache-size" mount --write-mode back --cache-size 64M --dirty-max 40M "$WORK/source" "$WORK/mount"
