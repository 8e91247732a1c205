#!/bin/bash
# Programs that use the mount lock each other out as on a local file system: fcntl, open file descriptions, flock. Waiting
# can be interrupted, and ends when the holder ends.
source "$(dirname "$0")/lib.sh"

mkdir "$WORK/source" "$WORK/mount"
start_mount "$WORK/source" "$WORK/mount"
run_python - "$WORK/mount/file" <<'PYTHON' || fail "locks do not hold"
import errno, fcntl, os, signal, struct, sys

path = sys.argv[1]
FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid
F_OFD_SETLK = 37

def lock(kind, start=0, length=0):
    return struct.pack(FLOCK, kind, os.SEEK_SET, start, length, 0)

def refused(call):
    try:
        call()
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.EACCES), error
        return True
    return False

def holder(take):  # a process that holds what `take` took, until its pipe is closed
    ready, ends = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ends[1])
        os.close(ready[0])
        take(os.open(path, os.O_RDWR))
        os.write(ready[1], b"r")
        os.read(ends[0], 1)
        os._exit(0)
    os.close(ready[1])
    os.close(ends[0])
    assert os.read(ready[0], 1) == b"r"
    os.close(ready[0])
    return child, ends[1]

class Interrupted(Exception):
    pass

def interrupt(*_):
    raise Interrupted

def interrupted(call):
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        call()
    except Interrupted:
        return True
    return False

def passes_when_the_holder_ends(child, pipe, call):
    os.close(pipe)
    call()
    os.waitpid(child, 0)

file = os.open(path, os.O_RDWR | os.O_CREAT)

child, pipe = holder(lambda fd: fcntl.fcntl(fd, fcntl.F_SETLKW, lock(fcntl.F_WRLCK, 100, 100)))
assert refused(lambda: fcntl.fcntl(file, fcntl.F_SETLK, lock(fcntl.F_RDLCK, 150, 1)))
fcntl.fcntl(file, fcntl.F_SETLK, lock(fcntl.F_WRLCK, 0, 100))  # beside it
found = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, lock(fcntl.F_WRLCK, 0, 0)))
assert found == (fcntl.F_WRLCK, os.SEEK_SET, 100, 100, child), found
wait = lambda: fcntl.fcntl(file, fcntl.F_SETLKW, lock(fcntl.F_WRLCK, 100, 1))
assert interrupted(wait)
passes_when_the_holder_ends(child, pipe, wait)
fcntl.fcntl(file, fcntl.F_SETLK, lock(fcntl.F_UNLCK))

child, pipe = holder(lambda fd: fcntl.fcntl(fd, F_OFD_SETLK, lock(fcntl.F_WRLCK)))
other = os.open(path, os.O_RDWR)
assert refused(lambda: fcntl.fcntl(other, F_OFD_SETLK, lock(fcntl.F_RDLCK)))
os.close(pipe)
os.waitpid(child, 0)
fcntl.fcntl(other, F_OFD_SETLK, lock(fcntl.F_WRLCK))
os.close(other)

child, pipe = holder(lambda fd: fcntl.flock(fd, fcntl.LOCK_EX))
assert refused(lambda: fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB))
assert interrupted(lambda: fcntl.flock(file, fcntl.LOCK_EX))
passes_when_the_holder_ends(child, pipe, lambda: fcntl.flock(file, fcntl.LOCK_EX))
PYTHON
stop_gateway
