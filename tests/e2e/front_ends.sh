#!/bin/bash
# One tree through all front ends at once: what the mount or an NFS client changes is what the mount, HTTP, NFS and the
# backing show the moment the call returns. The mount's kernel is told to keep names, absent names, attributes and small
# files for ten minutes, and pages that are mapped, so that only being told can make it forget them.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_fuse
need_root

mkdir "$WORK/source" "$WORK/mount"
choose_nfs_port
for timeouts in 10m 0s; do
  start_mount --attr-timeout $timeouts --entry-timeout $timeouts --negative-timeout $timeouts --kernel-cache auto \
    --http 127.0.0.1:0 --nfs "127.0.0.1:$NFS_PORT" --nfs-squash none "$WORK/source" "$WORK/mount"
  PYTHONPATH=$E2E run_python - "$WORK/source" "$WORK/mount" "$(status http.address)" "$NFS_PORT" 400 <<'PYTHON'
import http.client, mmap, os, random, stat, sys
from lib_nfs import *

source, mount, address, port, rounds = sys.argv[1:]
seed = int(os.environ.get("SLUICE_SEED", random.randrange(1 << 32)))
print("SLUICE_SEED", seed)
random = random.Random(seed)
web = http.client.HTTPConnection(address)
nfs = Client(int(port))
root = expect(nfs.mount(b"/"), "OK").handle
SIZE_MAX = 300_000


class ByMount:
    def path(self, name):
        return os.path.join(mount, name)

    def create(self, name):
        os.close(os.open(self.path(name), os.O_WRONLY | os.O_CREAT, 0o644))

    def write(self, name, offset, data):
        with open(self.path(name), "r+b", buffering=0) as file:
            assert os.pwrite(file.fileno(), data, offset) == len(data)

    def truncate(self, name, size):
        os.truncate(self.path(name), size)

    def rename(self, name, other):
        os.rename(self.path(name), self.path(other))

    def remove(self, name):
        os.unlink(self.path(name))

    def chmod(self, name, mode):
        os.chmod(self.path(name), mode)

    def link(self, name, other):
        os.link(self.path(name), self.path(other))


class ByNfs:
    def handle(self, name):
        return expect(nfs.lookup(root, name.encode()), "OK").handle

    def create(self, name):
        expect(nfs.create(root, name.encode(), UNCHECKED, mode=0o644), "OK")

    def write(self, name, offset, data):
        level = random.choice((UNSTABLE, FILE_SYNC))
        assert expect(nfs.write(self.handle(name), offset, data, level), "OK").count == len(data)

    def truncate(self, name, size):
        expect(nfs.setattr(self.handle(name), size=size), "OK")

    def rename(self, name, other):
        expect(nfs.rename(root, name.encode(), root, other.encode()), "OK")

    def remove(self, name):
        expect(nfs.remove(root, name.encode()), "OK")

    def chmod(self, name, mode):
        expect(nfs.setattr(self.handle(name), mode=mode), "OK")

    def link(self, name, other):
        expect(nfs.link(self.handle(name), root, other.encode()), "OK")


def shown_by_nfs(name):
    found = nfs.lookup(root, name.encode())
    if found.status == "NOENT":
        return None
    expect(found, "OK")
    now = expect(nfs.getattr(found.handle), "OK").attributes
    data = b""
    while True:
        piece = expect(nfs.read(found.handle, len(data), 1 << 20), "OK")
        data += piece.data
        if piece.eof:
            break
    assert piece.attributes.size == len(data) == now.size, (piece.attributes.size, len(data), now.size)
    return now.mode, now.links, now.size, now.mtime, data


def shown_by_http(name):
    web.request("GET", "/" + name)
    answer = web.getresponse()
    data = answer.read()
    return None if answer.status == 404 else (answer.status, data)


def shown_by(directory, name):
    try:
        with open(os.path.join(directory, name), "rb") as file:
            data, now = file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    named = os.stat(os.path.join(directory, name))
    assert (named.st_size, named.st_mtime_ns) == (now.st_size, now.st_mtime_ns)
    return stat.S_IMODE(now.st_mode), now.st_nlink, now.st_size, now.st_mtime_ns, data


mapped = {}  # a name, and the pages of its file as a program has them mapped


def look(name, what):
    by_mount, by_nfs, web_sees = shown_by(mount, name), shown_by_nfs(name), shown_by_http(name)
    if os.environ["WRITE_MODE"] == "back" and by_mount is not None:
        with open(os.path.join(mount, name)) as file:
            os.fsync(file.fileno())
    true = shown_by(source, name)
    for front_end, shown in (("the mount", by_mount), ("NFS", by_nfs)):
        assert shown == true, (what, name, front_end, *((one and one[:4]) for one in (shown, true)))
    if true is None:
        assert web_sees is None, (what, name, web_sees[0])
    elif true[0] & 0o4:
        assert web_sees == (200, true[4]), (what, name, web_sees[0])
    listed = sorted(os.listdir(source))
    assert sorted(os.listdir(mount)) == listed, (what, "the mount's listing")
    entries = {entry.name for entry in expect(nfs.readdirplus(root, maximum=1 << 20, count=1 << 20), "OK").entries}
    assert sorted(os.fsdecode(entry) for entry in entries - {b".", b".."}) == listed, (what, "the listing by NFS")
    if name in mapped and true is not None:
        inode, pages = mapped[name]
        if inode == os.stat(os.path.join(source, name)).st_ino:
            common = min(len(pages), len(true[4]))
            assert pages[:common] == true[4][:common], (what, name, "mapped pages")


NAMES = [f"file{number}" for number in range(4)]


def one_change(by):
    present = [name for name in NAMES if os.path.exists(os.path.join(source, name))]
    name = random.choice(NAMES)
    if name not in present:
        by.create(name)
        return [name]
    what = random.choice(("write", "write", "write", "truncate", "rename", "remove", "chmod", "link"))
    other = random.choice(NAMES)
    if what == "write":
        offset = random.choice((0, random.randrange(SIZE_MAX), os.stat(os.path.join(mount, name)).st_size))
        by.write(name, offset, random.randbytes(random.choice((1, 100, 4096, 70_000, 270_000))))
    elif what == "truncate":
        by.truncate(name, random.choice((0, random.randrange(SIZE_MAX))))
    elif what == "rename":
        by.rename(name, other)
    elif what == "remove":
        by.remove(name)
    elif what == "chmod":
        by.chmod(name, random.choice((0o644, 0o600, 0o755)))
    elif other not in present:
        by.link(name, other)
    return [name, other]


for number in range(int(rounds)):
    by = random.choice((ByMount(), ByNfs()))
    touched = one_change(by)
    for name in touched:
        look(name, (number, type(by).__name__))
    name = random.choice(NAMES)
    path = os.path.join(mount, name)
    if random.random() < 0.1 and os.path.exists(path) and os.stat(path).st_size > 0:
        with open(path, "rb") as file:
            pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if len(pages) <= os.stat(os.path.join(mount, name)).st_size:
            mapped[name] = (os.stat(os.path.join(source, name)).st_ino, pages)
            pages[:]
    # A program that reads pages past the end of a shrunken file gets SIGBUS.
    for name in [name for name, (_, pages) in mapped.items()
                 if not os.path.exists(os.path.join(source, name)) or os.stat(os.path.join(mount, name)).st_size < len(pages)]:
        del mapped[name]
PYTHON
  rm -f "$WORK/source/"*
  stop_gateway
done
