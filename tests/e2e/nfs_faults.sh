#!/bin/bash
# What NFS clients hear of a backing that fails: COMMIT and stable WRITEs tell an error, and afterwards the write verifier
# is another one for every client, so that nobody takes for kept what is lost, whoever it was that the kernel told. A full
# disk can be gone on with; a frozen one hurts nobody who only looks; a restart changes the verifier and no handle.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_root
need strace fsfreeze mkfs.ext4

FROZEN=
thaw_and_clean_up() {  # nothing here may end with a file system that is frozen
  local code=$?
  set +e
  [[ -z $FROZEN ]] || fsfreeze -u "$WORK/disk"
  (exit "$code")
  cleanup
}
trap thaw_and_clean_up EXIT

# Runs Python, with a client of the gateway started last. In `with failing("fsync:error=EIO")` its system calls fail so,
# see strace(1).
program() {  # [ARGUMENT...]
  run_python - "$NFS_PORT" "$WORK" "$GATEWAY" "$@" <<PYTHON || fail "$WHAT: see above"
import contextlib, glob, os, subprocess, sys, threading, time
from lib_nfs import *
port, work, gateway = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def client():
    return Client(port)
one = client()
root = expect(one.mount("/"), "OK").handle
def make(name):
    return expect(one.create(root, name.encode(), UNCHECKED, mode=0o644), "OK").handle
def wait_until(what, condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after 20 s"
        time.sleep(0.02)
def tracers():
    return {line.split()[1] for task in glob.glob(f"/proc/{gateway}/task/*/status") for line in open(task)
            if line.startswith("TracerPid:")}
@contextlib.contextmanager
def failing(*calls):
    names = ",".join(call.split(":")[0] for call in calls)
    tracer = subprocess.Popen(["strace", "-q", "-f", "-p", gateway, "-o", f"{work}/trace", f"--trace={names}",
                               *(f"--inject={call}" for call in calls)], stderr=subprocess.DEVNULL)
    try:
        wait_until("strace", lambda: tracers() == {str(tracer.pid)} or tracer.poll() is not None)
        yield
    finally:
        tracer.terminate()
        tracer.wait()
        wait_until("the end of strace", lambda: tracers() == {"0"})
def seen(text):
    return text in open(f"{work}/trace").read()
$(cat)
PYTHON
}

mkdir "$WORK/source"
choose_nfs_port
serve() {  # [OPTION...] SOURCE
  start_nfs_server --state-dir "$WORK/state" --nfs-squash none "$@" "$NFS_PORT"
}

serve "$WORK/source"
WHAT="a COMMIT fails"
program <<'PYTHON'
file, elsewhere = make("file"), make("elsewhere")
other = client()
before = expect(one.write(file, 0, b"lost"), "OK").verifier
assert expect(other.write(file, 100, b"lost, too"), "OK").verifier == before
assert expect(other.write(elsewhere, 0, b"kept"), "OK").verifier == before
with failing("fsync:error=EIO"):
    assert expect(one.commit(file), "IO").wcc.after.size == 109
after = expect(other.commit(file), "OK").verifier
assert after != before, "another client takes what is lost for kept"
assert expect(other.commit(elsewhere), "OK").verifier == after
assert expect(one.write(file, 0, b"kept"), "OK").verifier == after
assert expect(one.commit(file), "OK").verifier == after, "an error is told twice"
PYTHON

for level in DATA_SYNC FILE_SYNC; do
  WHAT="a WRITE with $level fails"
  program "$level" <<'PYTHON'
level = globals()[sys.argv[4]]
file = make("file")
before = expect(one.write(file, 0, b"lost"), "OK").verifier
with failing("fsync:error=EIO", "fdatasync:error=EIO"):
    expect(one.write(file, 0, b"lost", level), "IO")
again = expect(one.write(file, 0, b"kept", level), "OK")
assert again.committed == level and again.verifier != before
assert expect(client().commit(file), "OK").verifier == again.verifier
PYTHON
done

# The kernel tells the first who asks. The other one asks, and finds all well, before that one knows.
WHAT="two at once"
program <<'PYTHON'
file = make("file")
other = client()
before = expect(one.write(file, 0, b"lost"), "OK").verifier
with failing("fdatasync:error=EIO:delay_exit=1000000"):
    told = []
    first = threading.Thread(target=lambda: told.append(one.write(file, 0, b"lost", DATA_SYNC).status))
    first.start()
    wait_until("the first one asks", lambda: seen("fdatasync"))
    second = other.commit(file)
    first.join()
assert told == ["IO"], told
assert second.status == "IO" or second.verifier != before, "a COMMIT knows nothing of the loss"
PYTHON

# What is made was made, though somebody removes it before its maker has looked at it.
WHAT="gone before it is seen"
program <<'PYTHON'
path = f"{work}/source/new"
def gone(system_call, make, remove, arguments):
    told = []
    with failing(f"{system_call}:delay_exit=500000"):
        maker = threading.Thread(target=lambda: told.append(make(root, b"new", *arguments)))
        maker.start()
        wait_until(f"{system_call}", lambda: os.path.lexists(path))
        remove(path)
        maker.join()
    made = expect(told[0], "OK")
    assert made.handle is None and made.attributes is None, (system_call, made)
    assert made.wcc.after is not None
    assert not os.path.lexists(path)
gone("mkdirat", one.mkdir, os.rmdir, ())
gone("symlinkat", one.symlink, os.unlink, (b"target",))
gone("mknodat", one.mknod, os.unlink, (FIFO,))
PYTHON

WHAT="a file that nobody commits"
program <<'PYTHON'
file = make("file")
before = expect(one.write(file, 0, b"lost"), "OK").verifier
with failing("fdatasync:error=EIO", "fsync:error=EIO"):
    wait_until("the file's close", lambda: seen("EIO"))
assert expect(one.commit(file), "OK", "IO").verifier != before
PYTHON
stop_gateway

WHAT="the mount is told first"
if (: <>/dev/fuse) 2>/dev/null; then
  mkdir "$WORK/mount"
  start_mount --state-dir "$WORK/state" --nfs "127.0.0.1:$NFS_PORT" --nfs-squash none "$WORK/source" "$WORK/mount"
  program <<'PYTHON'
file = make("file")
before = expect(one.write(file, 0, b"lost"), "OK").verifier
mounted = os.open(f"{work}/mount/file", os.O_RDWR)
with failing("fsync:error=EIO"):
    try:
        os.fsync(mounted)
        raise AssertionError("fsync finds no error")
    except OSError as error:
        assert error.strerror == "Input/output error", error
told = one.commit(file)
assert told.status == "IO" or told.verifier != before, "a COMMIT succeeds, though the data are lost"
os.close(mounted)
PYTHON
  stop_gateway
fi

own_disk "$WORK/disk" 32M
((${#OWN_DISKS[@]})) || skip "no loop device to be had"
chmod 755 "$WORK/disk"

WHAT="a full disk"
serve "$WORK/disk"
program <<'PYTHON'
file, ballast = make("file"), make("ballast")
data = os.urandom(1 << 20)
kept = expect(one.write(file, 0, data[:1000], FILE_SYNC), "OK")
at = 0
while (wrote := one.write(ballast, at, data)).status == "OK":
    at += wrote.count
    assert at < 64 << 20
assert wrote.status == "NOSPC", wrote.status
assert wrote.wcc.after.size >= at
expect(one.getattr(file), "OK")
expect(one.remove(root, b"ballast"), "OK")
for _ in range(100):  # the file system gives it back a little later
    again = one.write(file, 1000, data[:100_000], FILE_SYNC)
    if again.status == "OK":
        break
assert expect(again, "OK").verifier != kept.verifier
assert expect(one.commit(file), "OK").verifier == again.verifier
read = expect(one.read(file, 0, 200_000), "OK").data
assert read == data[:1000] + data[:100_000], "not what was written"
PYTHON
stop_gateway

WHAT="a frozen disk"
TIMEOUT=3
serve --io-timeout ${TIMEOUT}s "$WORK/disk"
program <<'PYTHON'
data = os.urandom(1 << 20)
expect(one.write(make("file"), 0, data, FILE_SYNC), "OK")
open(f"{work}/data", "wb").write(data)
PYTHON
fsfreeze -f "$WORK/disk" && FROZEN=yes
program $TIMEOUT <<'PYTHON'
data = open(f"{work}/data", "rb").read()
file = expect(one.lookup(root, b"file"), "OK").handle
changing = [client() for _ in range(40)]
for number, each in enumerate(changing):
    each.send(record(each.message(WRITE, opaque(file) + u64(0) + u32(4, FILE_SYNC) + opaque(b"late"))
                     if number % 2 else each.message(MKDIR, where(root, b"made%d" % number) + settable())))
begin = time.monotonic()
for at in range(20):
    looking = client()
    expect(looking.getattr(file), "OK")
    got = expect(looking.read(file, 100_000, 100_000), "OK").data
    assert got == data[100_000:200_000]
    expect(looking.lookup(root, b"file"), "OK")
    assert {entry.name for entry in expect(looking.readdir(root), "OK").entries} >= {b"file"}
assert time.monotonic() - begin < int(sys.argv[4]) * 2 + 5, "who only looks waits"
# Once it is clear that the disk hangs, who wants to change something is told to come again later. A few are let try.
def told_to_come_again():
    late = client()
    late.socket.settimeout(0.5)
    try:
        return expect(late.mkdir(root, b"late"), "JUKEBOX")
    except TimeoutError:
        return None
wait_until("JUKEBOX", told_to_come_again)
PYTHON
begin=$SECONDS
kill -TERM "$GATEWAY"
log_says_so() { grep -q "ending without it" "${LOG_OF[$GATEWAY]}"; }
wait_until 60 log_says_so || fail "$WHAT: SIGTERM does not end it"
at_most "seconds until a gateway ends that cannot write" $((SECONDS - begin)) 30
fsfreeze -u "$WORK/disk" && FROZEN=
wait_until 10 has_ended "$GATEWAY" || fail "$WHAT: the process stays"
await_end "$GATEWAY" 2>/dev/null && fail "$WHAT: exit code 0"

WHAT="killed"
serve "$WORK/disk"
program <<'PYTHON'
file = make("again")
wrote = expect(one.write(file, 0, b"before"), "OK")
open(f"{work}/handle", "wb").write(file + wrote.verifier)
PYTHON
kill_nfs_server
serve "$WORK/disk"
program <<'PYTHON'
kept = open(f"{work}/handle", "rb").read()
file, before = kept[:-8], kept[-8:]
assert expect(one.commit(file), "OK").verifier != before
assert expect(one.read(file, 0, 100), "OK").data == b"before"
PYTHON
stop_gateway
