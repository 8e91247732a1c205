#!/bin/bash
# Delayed writes on a backing that fails, at the n-th write or fsync, once or for good: each program that has the file open
# is told once, none is told that all is well while bytes are missing, and the bytes get there when the fault is gone. What
# cannot be written is given up only by who says so, and says so at the end.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root
WRITE_MODE=through  # the options are said here

start() { start_mount --write-mode back --dirty-expire 10m --cache-size 16M --state-dir "$WORK/state" "$WORK/backing" "$WORK/mount"; }
mkdir -p "$WORK/behind" "$WORK/mount"
start_backing

start
run_python - "$WORK/mount" "$WORK/behind" "$WORK/faults" <<'PYTHON' || fail "see above"
import errno, itertools, os, sys
from lib_faults import SYNC, WRITE, Control
mount, behind, faults = sys.argv[1:]
control = Control(faults)
PIECE, PIECES = 4096, 3


def fsync(file):
    try:
        os.fsync(file)
        return 0
    except OSError as error:
        return error.errno


def check(name, kind, error, nth, for_good, openers):
    what = (name, "WRITE" if kind == WRITE else "SYNC", errno.errorcode[error], nth, for_good, openers)
    files = [os.open(f"{mount}/{name}", os.O_RDWR | os.O_CREAT) for _ in range(openers)]
    data = b""
    for piece in range(PIECES):  # with holes between them, so that they are written one by one
        data = data.ljust(piece * 3 * PIECE, b"\0") + os.urandom(PIECE)
        os.pwrite(files[0], data[-PIECE:], piece * 3 * PIECE)
    control.set(nth, error, for_good, kind)
    told = [fsync(file) for file in files]
    fired = control.calls() >= nth
    assert all(one in (0, error) for one in told), (what, told)
    if for_good and fired and kind == WRITE:
        assert told == [error] * openers, (what, told)
        assert [fsync(file) for file in files] == told, what  # still not there
    late = os.open(f"{mount}/{name}", os.O_RDWR)
    control.set()
    reports = sum(1 for one in told if one)
    for _ in range(2):
        reports += sum(1 for file in files if fsync(file))
    if fired and not for_good:
        assert reports == openers, (what, reports)
    if not fired:
        assert reports == 0, (what, reports)
    fsync(late)
    assert [fsync(file) for file in files + [late]] == [0] * (openers + 1), what
    with open(f"{behind}/{name}", "rb") as file:
        assert file.read() == data, (what, "the bytes are not there")
    for file in files + [late]:
        os.close(file)
    os.unlink(f"{mount}/{name}")


numbers = itertools.count()
for kind, nths in ((WRITE, range(1, PIECES + 2)), (SYNC, range(1, 4))):
    for error, nth, for_good in itertools.product((errno.EIO, errno.ENOSPC, errno.EDQUOT), nths, (False, True)):
        for openers in (1, 3):
            check(f"file{next(numbers)}", kind, error, nth, for_good, openers)
    check("many", kind, errno.EIO, 1, False, 64)
    check("many", kind, errno.ENOSPC, 1, True, 64)
PYTHON
equal "dirty after all that" "$(status write_back.files)" 0
at_least "errors counted" "$(status write_back.errors)" 0

# A file that the backing neither writes nor cuts stays as it is.
head -c 50000 /dev/urandom >"$WORK/data"
exec 5<>"$WORK/mount/uncut"
cat "$WORK/data" >&5
fail_all "WRITE CHANGE" EIO
truncate -s 0 "$WORK/mount/uncut" 2>/dev/null && fail "a file that the backing does not cut is cut"
fail_none
sync "$WORK/mount/uncut"
exec 5>&-
same_bytes "$WORK/data" "$WORK/mount/uncut"
same_bytes "$WORK/data" "$WORK/behind/uncut"

# Given up by who says so: that file's, not another's.
echo "other" >"$WORK/mount/other"
sync "$WORK/mount/other"
fail_all WRITE EIO
head -c 10000 /dev/urandom >"$WORK/mount/broken"
sync "$WORK/mount/broken" 2>/dev/null && fail "fsync says that all is well"
cmp -s <(head -c 10000 "$WORK/mount/broken" | wc -c) <(echo 10000) || fail "bytes that cannot be written cannot be read"
equal "what is dropped" "$("$SLUICE" cache drop --dirty "$WORK/mount")" "drop: 12288 delayed bytes that could not be written"
equal "counted" "$(status write_back.dropped_bytes)" 12288
equal "in the log" "$(grep -c "broken: 12288 delayed bytes that could not be written were dropped" "${LOG_OF[$GATEWAY]}")" 1
equal "the file afterwards" "$(stat -c %s "$WORK/mount/broken")" 0
equal "the other" "$(cat "$WORK/mount/other")" other
fail_none
stop_gateway

# What could not be written until the end is named, and the exit code says so.
start
fail_all WRITE ENOSPC
echo kept >"$WORK/mount/unwritten"
code=0
timeout 60 "$SLUICE" umount "$WORK/mount" 2>"$WORK/said" || code=$?
equal "exit code of sluice umount" "$code" 1
grep -q "/unwritten: .*: No space left" "$WORK/said" || fail "sluice umount says: $(cat "$WORK/said")"
code=0
await_end "$GATEWAY" 2>/dev/null || code=$?
equal "exit code of the gateway" "$code" 1
fail_none
stop_backing
refuses 2 "only 'cache drop' knows it" cache evict --dirty "$WORK/mount"
