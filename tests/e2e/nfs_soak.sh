#!/bin/bash
# Eight NFS clients and a program on the mount change one tree at random, with a cache that is smaller than their files, and
# some clients are cut off in the middle of a call. Each knows what its own files hold, and reads that all the time; names
# that all of them fight for end the same for everybody who looks. SOAK_SECONDS: for how long, 6 unless told.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_fuse
need_root

mkdir "$WORK/source" "$WORK/mount"
choose_nfs_port
E2E_SECONDS=$((${SOAK_SECONDS:-6} + 100))
start_mount --cache-size 16M --state-dir "$WORK/state" --nfs "127.0.0.1:$NFS_PORT" --nfs-squash none \
  "$WORK/source" "$WORK/mount"
run_python - "$WORK/source" "$WORK/mount" "$NFS_PORT" "${SOAK_SECONDS:-6}" <<'PYTHON' || fail "see above"
import multiprocessing, os, random, sys, time
from lib_nfs import *

source, mount, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
seed = int(os.environ.get("SLUICE_SEED", random.randrange(1 << 32)))
SIZE_MAX = 6 << 20
SHARED = [b"shared%d" % number for number in range(12)]


class Worker:
    """One client and its own file; `data` is what that holds."""

    def __init__(self, number):
        self.random = random.Random(seed + number)
        self.client = Client(port)
        self.root = expect(self.client.mount("/"), "OK").handle
        self.name = b"own%d" % number
        self.handle = expect(self.client.create(self.root, self.name, UNCHECKED, mode=0o644, size=0), "OK").handle
        self.data = bytearray()

    def reconnect(self):
        self.client.close()
        self.client = Client(port)

    def write(self):
        offset = self.random.choice((len(self.data), self.random.randrange(SIZE_MAX)))
        data = self.random.randbytes(self.random.choice((1, 100, 4096, 70_000, 1 << 20)))
        level = self.random.choice((UNSTABLE, UNSTABLE, UNSTABLE, DATA_SYNC, FILE_SYNC))
        assert expect(self.client.write(self.handle, offset, data, level), "OK").count == len(data)
        self.note(offset, data)

    def note(self, offset, data):
        self.data.extend(bytes(max(0, offset - len(self.data))))
        self.data[offset : offset + len(data)] = data

    def read(self):
        offset, count = self.random.randrange(SIZE_MAX), self.random.choice((1, 4096, 100_000, 1 << 20))
        got = expect(self.client.read(self.handle, offset, count), "OK")
        wanted = self.data[offset : offset + count]
        assert len(got.data) <= len(wanted) and got.data == wanted[: len(got.data)], (self.name, offset, count)
        assert got.eof == (offset + len(got.data) >= len(self.data)), "eof"

    def truncate(self):
        size = self.random.randrange(SIZE_MAX)
        expect(self.client.setattr(self.handle, size=size), "OK")
        self.data.extend(bytes(max(0, size - len(self.data))))
        del self.data[size:]

    def commit(self):
        expect(self.client.commit(self.handle), "OK")

    def attributes(self):
        assert expect(self.client.getattr(self.handle), "OK").attributes.size == len(self.data)

    def cut_off(self):
        """What comes of the call is not known: nothing, or all of it."""
        offset, data = self.random.randrange(len(self.data) + 1), self.random.randbytes(200_000)
        call = record(self.client.message(WRITE, opaque(self.handle) + u64(offset) + u32(len(data), UNSTABLE) + opaque(data)))
        whole = self.random.random() < 0.5
        self.client.send(call if whole else call[: self.random.randrange(len(call))])
        if whole and self.random.random() < 0.5:
            assert results_of(self.client.receive()).status() == "OK"
            self.note(offset, data)
            return self.reconnect()
        self.reconnect()
        if whole:  # which may be running still, in a file that is no longer ours
            expect(self.client.remove(self.root, self.name), "OK")
            self.handle = expect(self.client.create(self.root, self.name, GUARDED, mode=0o644), "OK").handle
            self.data = bytearray()

    def fight(self):
        client, name, other = self.client, self.random.choice(SHARED), self.random.choice(SHARED)
        what = self.random.randrange(7)
        if what == 0:
            expect(client.create(self.root, name, UNCHECKED, mode=0o644), "OK", "EXIST", "JUKEBOX")
        elif what == 1:
            expect(client.remove(self.root, name), "OK", "NOENT", "ISDIR")
        elif what == 2:
            expect(client.rename(self.root, name, self.root, other), "OK", "NOENT", "EXIST", "NOTEMPTY", "ISDIR", "NOTDIR")
        elif what == 3:
            expect(client.mkdir(self.root, name), "OK", "EXIST")
        elif what == 4:
            expect(client.rmdir(self.root, name), "OK", "NOENT", "NOTDIR", "NOTEMPTY")
        elif what == 5:
            found = client.lookup(self.root, name)
            if found.status == "OK":
                self.use_shared(found.handle)
        else:
            expect(client.readdirplus(self.root, maximum=1 << 16, count=1 << 16), "OK")

    def use_shared(self, handle):
        """Which may be removed at any moment, and then is for ever; while it is there, changes are no reason."""
        for reply in (self.client.write(handle, self.random.randrange(100_000), self.random.randbytes(5000)),
                      self.client.read(handle, 0, 1 << 20)):
            if expect(reply, "OK", "INVAL", "STALE", "ISDIR").status == "STALE":
                expect(self.client.getattr(handle), "STALE")

    def run(self, until):
        while time.monotonic() < until:
            self.random.choice((self.write, self.write, self.read, self.read, self.read, self.attributes, self.truncate,
                                self.commit, self.fight, self.fight, self.fight, self.cut_off))()
        for at in range(0, len(self.data), 1 << 20):
            assert expect(self.client.read(self.handle, at, 1 << 20), "OK").data == self.data[at : at + (1 << 20)]
        for directory in (source, mount):
            with open(os.path.join(os.fsencode(directory), self.name), "rb") as file:
                assert file.read() == self.data, (self.name, directory)


def on_the_mount(until):
    chosen = random.Random(seed)
    while time.monotonic() < until:
        path = os.path.join(os.fsencode(mount), chosen.choice(SHARED))
        try:
            match chosen.randrange(5):
                case 0:
                    with open(path, "ab") as file:
                        file.write(chosen.randbytes(30_000))
                case 1:
                    with open(path, "rb") as file:
                        file.read()
                case 2:
                    os.listdir(mount)
                case 3:
                    os.rename(path, os.path.join(os.fsencode(mount), chosen.choice(SHARED)))
                case 4:
                    os.unlink(path)
        except OSError as error:
            # Another client's change came in between.
            assert error.errno in (2, 17, 20, 21, 22, 39, 116), error


def shown_by_nfs(client, handle, path):
    for entry in expect(client.readdirplus(handle, maximum=1 << 20, count=1 << 20), "OK").entries:
        if entry.name in (b".", b".."):
            continue
        below = os.path.join(path, entry.name)
        now = expect(client.getattr(entry.handle), "OK").attributes
        now.atime = os.lstat(below).st_atime_ns  # this very check's reads move it
        same_attributes(now, below)
        if os.path.isdir(below):
            yield from shown_by_nfs(client, entry.handle, below)
        else:
            data = b""
            while not (piece := expect(client.read(entry.handle, len(data), 1 << 20), "OK")).eof:
                data += piece.data
            with open(below, "rb") as file:
                assert file.read() == data + piece.data, below
        yield below


print("SLUICE_SEED", seed)
until = time.monotonic() + seconds
context = multiprocessing.get_context("fork")
workers = [context.Process(target=lambda number=number: Worker(number).run(until)) for number in range(8)]
workers.append(context.Process(target=on_the_mount, args=(until,)))
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
failed = [worker.exitcode for worker in workers if worker.exitcode != 0]
assert not failed, "see above"
client = Client(port)
shown = set(shown_by_nfs(client, expect(client.mount("/"), "OK").handle, os.fsencode(source)))
assert {os.path.basename(path) for path in shown} == {os.fsencode(name) for name in os.listdir(source)}
PYTHON
same_tree "$WORK/source" "$WORK/mount"
stop_gateway
