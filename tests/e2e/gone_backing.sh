#!/bin/bash
# A backing that goes (its server is killed): everything fails that needs it, no directory is shown empty, nothing is
# written beneath, and nothing else that is mounted at its place is taken for it. When the same file system is there again, the
# gateway goes on with it.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root

# Every kind of access, each of which fails with ENOTCONN. What is cached can be read on by who has it open.
everything_fails() {  # WHEN
  run_python - "$WORK" "$1" <<'PYTHON' || fail "$1: see above"
import errno, os, sys
work, when = sys.argv[1:]
root = f"{work}/mount"
attempts = {
    "list": lambda: os.listdir(root),
    "list below": lambda: os.listdir(f"{root}/directory"),
    "list what is open": lambda: os.listdir(9),
    "stat": lambda: os.stat(f"{root}/cold"),
    "stat of nothing": lambda: os.stat(f"{root}/nothing"),
    "open": lambda: os.open(f"{root}/cold", os.O_RDONLY),
    "read": lambda: os.pread(8, 4096, 0),
    "create": lambda: os.open(f"{root}/new", os.O_CREAT | os.O_WRONLY),
    "mkdir": lambda: os.mkdir(f"{root}/made"),
    "write": lambda: os.pwrite(6, b"x", 0),
    "truncate": lambda: os.truncate(f"{root}/cold", 1),
    "unlink": lambda: os.unlink(f"{root}/cold"),
    "rename": lambda: os.rename(f"{root}/cold", f"{root}/other"),
    "fsync": lambda: os.fsync(6),
    "statvfs": lambda: os.statvfs(root),
}
for name, attempt in attempts.items():
    try:
        sys.exit(f"{when}: {name}: {attempt()!r}")
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED, errno.ESTALE):
            sys.exit(f"{when}: {name}: {error}")
if os.pread(7, 1 << 20, 0) != open(f"{work}/behind/hot", "rb").read():
    sys.exit(f"{when}: what is cached is not what was there")
PYTHON
  different "$1: status of a GET" "$(http_code "$HTTP/cold")" 200
  equal "$1: what is beneath" "$(ls -A "$WORK/beneath")" ""
}
log_says() { grep -q -e "$1" "${LOG_OF[$GATEWAY]}"; }
can_be_listed() { ls "$WORK/mount" >/dev/null 2>&1; }

mkdir -p "$WORK/behind/directory" "$WORK/mount" "$WORK/beneath" "$WORK/other"
head -c 1M /dev/urandom >"$WORK/behind/hot"
head -c 1M /dev/urandom >"$WORK/behind/cold"
echo "somebody else's" >"$WORK/other/cold"
touch "$WORK/behind/directory/"{a,b,c}
cp -a "$WORK/behind/hot" "$WORK/behind/kept"
start_backing
start_mount --cache-size 16M --attr-timeout 0 --entry-timeout 0 --http 127.0.0.1:0 --readahead 0 "$WORK/backing" "$WORK/mount"
exec 6<>"$WORK/mount/kept" 7<"$WORK/mount/hot" 8<"$WORK/mount/cold" 9<"$WORK/mount/directory"
cmp - "$WORK/behind/hot" <&7 || fail "the first read is wrong"

kill_backing
everything_fails "killed"
wait_until 5 log_says "error: the file system of .* has gone" || fail "the log does not say that the backing has gone"
umount -l "$WORK/backing"
mount --bind "$WORK/beneath" "$WORK/backing"  # shows what is written there
everything_fails "taken away"
umount "$WORK/backing"

# Of the same kind, but another one.
"$FAULTY_FS" "$WORK/other" "$WORK/backing" "$WORK/faults" </dev/null >>"$WORK/log.backing" 2>&1 6>&- 7>&- 8>&- 9>&- &
BACKING=$!
wait_until 10 is_mounted "$WORK/backing" || fail "the other one does not start"
wait_until 5 log_says "error: what is mounted .* is not what was there" || fail "the log does not say that another one is there"
everything_fails "another one in its place"
equal "the other one" "$(cat "$WORK/other/cold") $(ls "$WORK/other")" "somebody else's cold"
stop_backing

start_backing
wait_until 10 can_be_listed || fail "the gateway does not take the backing that is back"
log_says "warning: the file system of .* is back" || fail "the log does not say that the backing is back"
equal "the list" "$(ls "$WORK/mount" | tr '\n' ' ')" "cold directory hot kept "
cmp "$WORK/mount/cold" "$WORK/behind/cold" || fail "a file that was not cached"
cmp "$WORK/mount/hot" "$WORK/behind/hot" || fail "a file that was cached"
equal "status of a GET" "$(http_code "$HTTP/cold")" 200
echo new >"$WORK/mount/directory/new"
equal "a file made afterwards" "$(cat "$WORK/behind/directory/new")" new
(echo lost >&6) 2>/dev/null && fail "a file that was opened before can be written"
echo again >>"$WORK/mount/kept"
cmp "$WORK/mount/kept" "$WORK/behind/kept" || fail "a file that was opened again"
equal "what was written" "$(tail -c 6 "$WORK/behind/kept")" again
exec 6<&- 7<&- 8<&- 9<&-
stop_gateway
stop_backing
