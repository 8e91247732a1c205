#!/bin/bash
# A directory of 100,000 entries (SLUICE_TEST_ENTRIES=1000000: a million) is listed whole through the mount, also while
# others add and remove entries: what was there all the time comes exactly once, and a position that was told leads back
# to the same entry.
source "$(dirname "$0")/lib.sh"

mkdir -p "$WORK/source/huge" "$WORK/mount"
start_mount "$WORK/source" "$WORK/mount"
run_python - "$WORK/source/huge" "$WORK/mount/huge" "${SLUICE_TEST_ENTRIES:-100000}" <<'PYTHON'
import ctypes, os, random, sys, threading

source, mount, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
kept = {f"kept_{i:07}" for i in range(count)}
passing = [f"passing_{i:05}" for i in range(2000)]
for name in kept:
    os.close(os.open(f"{source}/{name}", os.O_CREAT | os.O_WRONLY))


class Entry(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("offset", ctypes.c_int64), ("length", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]


libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Entry)
libc.telldir.restype = ctypes.c_long
for call in (libc.readdir, libc.telldir, libc.closedir, libc.rewinddir):
    call.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


def next_name(directory):
    entry = libc.readdir(directory)
    return entry.contents.name.decode() if entry else None


def names_from(directory):
    names = []
    while (name := next_name(directory)) is not None:
        if name not in (".", ".."):
            names.append(name)
    return names


def check_whole(names, what):
    seen = [name for name in names if name in kept]
    assert len(seen) == len(set(seen)), f"{what}: {len(seen) - len(set(seen))} entries came twice"
    assert len(seen) == len(kept), f"{what}: {len(kept) - len(seen)} entries are missing"
    strangers = set(names) - kept - set(passing)
    assert not strangers, f"{what}: {sorted(strangers)[:3]} are not there"


check_whole(os.listdir(mount), "quiet")

stop = threading.Event()


def disturb():
    turns = random.Random(1)
    while not stop.is_set():
        where = turns.choice((source, mount))
        name = turns.choice(passing)
        try:
            os.close(os.open(f"{where}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            try:
                os.unlink(f"{where}/{name}")
            except FileNotFoundError:
                pass  # seen by a name that the kernel still knew


others = [threading.Thread(target=disturb) for _ in range(2)]
for other in others:
    other.start()
try:
    for turn in range(3):
        check_whole(os.listdir(mount), f"while it changes, {turn}")
    directory = libc.opendir(mount.encode())
    assert directory, os.strerror(ctypes.get_errno())
    told = []  # (position before an entry, the entry): of those that stay
    names = []
    while True:
        position = libc.telldir(directory)
        name = next_name(directory)
        if name is None:
            break
        names.append(name)
        if name in kept and len(names) % 997 == 0:
            told.append((position, name))
    check_whole([name for name in names if name not in (".", "..")], "by readdir")
    random.Random(2).shuffle(told)
    for position, name in told:
        libc.seekdir(directory, position)
        for _ in range(5000):  # what was added since may come before
            found = next_name(directory)
            if found == name or found is None or found in kept:
                break
        assert found == name, f"position {position} leads to {found}, not to {name}"
    libc.rewinddir(directory)
    check_whole(names_from(directory), "after rewinddir")
    libc.closedir(directory)
finally:
    stop.set()
    for other in others:
        other.join()

if os.environ.get("SLUICE_TEST_ENTRIES"):
    print(f"{count} entries, {len(told)} positions")
PYTHON
stop_gateway
