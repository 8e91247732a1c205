"""The sweep of faults.sh: a fixed piece of work on a mount, under each fault of its backing in turn, against a model.

The model knows for each name what it may be: a set of outcomes (absent, directory, or bytes), of which after a failure
there are two or more. A write that failed may have left any mix of old and new bytes, byte by byte.
"""

import errno
import itertools
import mmap
import os
import random
import struct
import sys
import time

LOOK, CHANGE, READ, WRITE, SYNC, FLUSH = 1, 2, 4, 8, 16, 32
ALL = 31  # but FLUSH: the gateway closes idle descriptors when it sees fit
ABSENT, DIRECTORY = "absent", "directory"


class Control:
    """Of what tests/support/faulty_fs maps the first 40 bytes."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 40)

    def set(self, fails_at=0, error=0, for_good=0, kinds=ALL):
        struct.pack_into("5Q", self.memory, 0, 0, fails_at, error, for_good, kinds)

    def calls(self):
        return struct.unpack_from("Q", self.memory)[0]


class Wrong(Exception):
    pass


class File:
    """What a file may hold: for each byte the values that it may have, and the sizes that it may be of."""

    def __init__(self):
        self.values = []  # a frozenset per byte, up to the largest size
        self.sizes = {0}

    def write(self, offset, data, sure):
        self.grow(offset + len(data), sure)
        for i, byte in enumerate(data):
            old = self.values[offset + i]
            self.values[offset + i] = frozenset((byte,)) if sure else old | {byte}

    def grow(self, size, sure):
        while len(self.values) < size:
            self.values.append(frozenset((0,)))
        sizes = {max(old, size) for old in self.sizes}
        # Of a write that failed any part may have been done.
        self.sizes = sizes if sure else self.sizes | set(range(min(self.sizes), size + 1))

    def truncate(self, size, sure):
        while len(self.values) < size:
            self.values.append(frozenset((0,)))
        if sure:
            del self.values[size:]
            self.sizes = {size}
        else:
            for i in range(size, len(self.values)):
                self.values[i] |= {0}
            self.sizes |= {size}

    def check(self, name, data):
        if len(data) not in self.sizes:
            raise Wrong(f"{name}: {len(data)} bytes, not {sorted(self.sizes)[:8]}")
        for i, byte in enumerate(data):
            if byte not in self.values[i]:
                raise Wrong(f"{name}: byte {i} is {byte}, not {sorted(self.values[i])}")


class Work:
    """The piece of work, in a directory of its own, and the model of it."""

    def __init__(self, root):
        self.root = root
        self.names = {}  # name -> list of what it may be
        self.failures = []

    def path(self, name):
        return f"{self.root}/{name}"

    def attempt(self, what, call, allowed):
        """Whether it was done. An error must be the one that the backing gives."""
        try:
            call()
            return True
        except OSError as error:
            if error.errno not in allowed:
                raise Wrong(f"{what}: {error}")
            self.failures.append(what)
            return False

    def be(self, name, thing, sure):
        self.names[name] = [thing] if sure else self.names.get(name, [ABSENT]) + [thing]

    def run(self, allowed):
        do = lambda what, call: self.attempt(what, call, allowed)
        pattern = random.Random(7).randbytes(40000)

        self.be("d", DIRECTORY, do("mkdir", lambda: os.mkdir(self.path("d"))))
        for name, writes in {
            "a": [(0, pattern[:10000]), (5000, pattern[20000:20100]), (8192, pattern[:4096])],
            "d/b": [(0, pattern[:4096]), (12288, pattern[4096:8192])],
            "c": [(100, pattern[:50])],
        }.items():
            self.make(name, writes, allowed)
        self.append("a", [pattern[:300], pattern[300:5000]], allowed)
        for name, size in (("a", 9000), ("d/b", 20000)):
            self.cut(name, size, allowed)
        self.read_back("a", allowed)
        self.read_back("d/b", allowed)

        self.rename("c", "d/moved", allowed)
        is_there = self.existing("a") is not None
        on_a = lambda what, call: self.attempt(what, call, allowed | (set() if is_there else {errno.ENOENT}))
        on_a("chmod", lambda: os.chmod(self.path("a"), 0o600))
        on_a("utime", lambda: os.utime(self.path("a"), (1, 2)))
        on_a("setxattr", lambda: os.setxattr(self.path("a"), "user.note", b"kept"))
        self.be("link", b"symlink", do("symlink", lambda: os.symlink("a", self.path("link"))))
        self.list("", allowed)
        self.list("d", allowed)
        if on_a("unlink", lambda: os.unlink(self.path("a"))):
            self.names["a"] = [ABSENT]
        else:
            self.names["a"] = self.names.get("a", [ABSENT]) + [ABSENT]
        do("statvfs", lambda: os.statvfs(self.root))

    def make(self, name, writes, allowed):
        file = File()
        fds = []
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        done = self.attempt(f"create {name}", lambda: fds.append(os.open(self.path(name), flags, 0o644)),
                            allowed | {errno.ENOENT, errno.ENOTDIR})
        self.be(name, file, done)
        if not done:
            return
        for offset, data in writes:
            self.write(fds[0], name, file, offset, data, allowed)
        self.attempt(f"fsync {name}", lambda: os.fsync(fds[0]), allowed)
        self.attempt(f"close {name}", lambda: os.close(fds[0]), allowed)

    def write(self, fd, name, file, offset, data, allowed):
        written = []
        if not self.attempt(f"write {name}", lambda: written.append(os.pwrite(fd, data, offset)), allowed):
            file.write(offset, data, False)
            return
        file.write(offset, data[:written[0]], True)
        if written[0] < len(data):
            # The rest may have been begun.
            file.write(offset + written[0], data[written[0]:], False)

    def existing(self, name):
        """The one file that is certainly there, or none."""
        things = self.names.get(name, [ABSENT])
        return things[0] if len(things) == 1 and isinstance(things[0], File) else None

    def append(self, name, pieces, allowed):
        file, fds = self.existing(name), []
        if file is None or not self.attempt(f"open {name}", lambda: fds.append(
                os.open(self.path(name), os.O_WRONLY | os.O_APPEND)), allowed):
            return
        for data in pieces:
            written = []
            done = self.attempt(f"append {name}", lambda: written.append(os.write(fds[0], data)), allowed)
            if len(file.sizes) != 1 or not done or written[0] < len(data):
                self.names[name] = [None]  # anything of the pieces may be there: not looked at any more
                break
            file.write(max(file.sizes), data, True)
        os.close(fds[0])

    def cut(self, name, size, allowed):
        file = self.existing(name)
        if file is not None:
            file.truncate(size, self.attempt(f"truncate {name}", lambda: os.truncate(self.path(name), size), allowed))

    def rename(self, name, to, allowed):
        if self.existing(name) is None or self.names.get("d") != [DIRECTORY]:
            return
        file = self.existing(name)
        if self.attempt(f"rename {name}", lambda: os.rename(self.path(name), self.path(to)), allowed):
            self.names[name], self.names[to] = [ABSENT], [file]
        else:
            self.names[name], self.names[to] = [file, ABSENT], [file, ABSENT]

    def read_back(self, name, allowed):
        """A read that says it was done has the bytes: none that are zero, or another's, for want of better."""
        file, got = self.existing(name), []
        if file is None:
            return

        def read():
            fd = os.open(self.path(name), os.O_RDONLY)
            try:
                pieces = []
                while piece := os.read(fd, 16384):
                    pieces.append(piece)
                got.append(b"".join(pieces))
            finally:
                os.close(fd)

        if self.attempt(f"read {name}", read, allowed):
            file.check(f"read {name}", got[0])

    def list(self, name, allowed):
        got = []
        if self.names.get(name) not in (None, [DIRECTORY]):
            return
        if not self.attempt(f"list {name}", lambda: got.append(set(os.listdir(self.path(name)))), allowed):
            return
        prefix = f"{name}/" if name else ""
        below = {key[len(prefix):]: things for key, things in self.names.items()
                 if key.startswith(prefix) and "/" not in key[len(prefix):]}
        for key, things in below.items():
            if key not in got[0] and ABSENT not in things and None not in things:
                raise Wrong(f"list {name}: {key} is missing in {got[0]}")
            if key in got[0] and things == [ABSENT]:
                raise Wrong(f"list {name}: {key} was removed")
        if unknown := got[0] - set(below):
            raise Wrong(f"list {name}: {unknown}")

    def check(self, where, root):
        """Without any fault: what is there is what the model says may be."""
        for name, things in self.names.items():
            path = f"{root}/{name}"
            if None in things:
                continue
            problems = [self.problem(f"{where} {name}", path, thing) for thing in things]
            if all(problems):
                raise Wrong("; or ".join(problems))

    def problem(self, name, path, thing):
        try:
            if thing == ABSENT:
                return f"{name}: is there" if os.path.lexists(path) else None
            if thing == DIRECTORY:
                return None if os.path.isdir(path) else f"{name}: no directory"
            if isinstance(thing, bytes):
                return None if os.path.islink(path) else f"{name}: no link"
            with open(path, "rb") as file:
                thing.check(name, file.read())
            return None
        except Wrong as wrong:
            return str(wrong)
        except OSError as error:
            return f"{name}: {error}"


def one_run(number, mount, behind, control, fault):
    allowed = {fault.get("error", 0)} - {0}
    if not allowed:
        # A read that comes short is gone on with. One that does so again and again is of a file that ends early. Of an
        # asynchronous direct write that comes short, FUSE in the kernel makes EIO.
        allowed = {errno.EIO, errno.ESTALE} if fault.get("for_good") else {errno.EIO}
    if fault.get("error") == errno.EINTR:
        allowed = {errno.EIO}  # nobody got a signal
    os.mkdir(f"{behind}/{number}")
    work = Work(f"{mount}/{number}")
    os.listdir(mount)
    control.set(**fault)
    try:
        work.run(allowed)
    finally:
        calls = control.calls()
        control.set()
    work.check("mount", f"{mount}/{number}")
    work.check("backing", f"{behind}/{number}")
    return calls, work.failures


def sweep(run, control, errors, extent, seconds):
    """Calls `run(number, fault)`, which gives the calls that were made and what failed, under every fault in turn.

    Each of `errors`, 0 for reads and writes that come short, at each call, once and from then on; unless `extent` is
    "all" only as many as fit into these seconds.
    """
    control.set()
    numbers = itertools.count()
    calls, failures = run(next(numbers), {})
    if failures:
        raise Wrong(f"without any fault: {failures}")
    faults = [(error, for_good) for error in errors for for_good in (0, 1)]
    seen, deadline = 0, time.monotonic() + seconds
    chosen = [(n, fault) for n in range(1, calls + 1) for fault in faults]
    if extent != "all":
        random.shuffle(chosen)  # what goes wrong is told by its call and its fault, and those repeat it
    for n, (error, for_good) in chosen:
        if extent != "all" and time.monotonic() > deadline:
            break
        try:
            _, failures = run(next(numbers), {"fails_at": n, "error": error, "for_good": for_good})
        except Wrong as wrong:
            name = errno.errorcode.get(error, "short")
            raise Wrong(f"call {n} of {calls} fails with {name}{' and all after it' if for_good else ''}: {wrong}")
        seen += len(failures)
    if seen == 0:
        raise Wrong("no fault was noticed")
    return calls


def main(mount, behind, path, extent):
    control = Control(path)
    errors = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR, 0)
    run = lambda number, fault: one_run(number, mount, behind, control, fault)
    calls = sweep(run, control, errors, extent, 20)
    if calls < 50:
        raise Wrong(f"the work makes {calls} calls only")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Wrong as wrong:
        sys.exit(f"{wrong}")
