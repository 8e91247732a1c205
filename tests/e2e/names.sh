#!/bin/bash
# What leads to files: names of any bytes and of 255 of them, kinds of files, hard links, renames with flags, files that lose
# their name while they are open. nlink and ctime are right after every call.
source "$(dirname "$0")/lib.sh"
need_root

mkdir "$WORK/source" "$WORK/mount"
start_mount "$WORK/source" "$WORK/mount"
run_python - "$WORK/mount" "$WORK/source" <<'PYTHON' || fail "names do not lead where they should"
import ctypes, errno, os, socket, stat, sys

mount, source = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2])
os.chdir(mount)
libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4

def fails(number, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == number, (error, errno.errorcode[number])
        return
    raise AssertionError(f"{call} did not fail with {errno.errorcode[number]}")

def rename2(one, other, flags):
    if libc.renameat2(-100, one, -100, other, flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")

def write(name, text):
    with open(name, "wb", buffering=0) as file:
        file.write(text)

def read(name):
    with open(name, "rb") as file:
        return file.read()

# Any bytes but '/' and NUL, each alone and all in long names.
names = [bytes([byte]) + b"-" for byte in range(1, 256) if byte != ord("/")]
names += [b"\xff\xfe" * 127 + b"x", b"%n\n\t\\ \"'*?[~", b"n" * 255]
for name in names:
    write(name, name)
assert sorted(os.listdir(b".")) == sorted(names) == sorted(os.listdir(source))
for name in names:
    assert read(name) == name
    os.rename(name, name[:-1] + b"+")
    os.unlink(name[:-1] + b"+")
fails(errno.ENAMETOOLONG, write, b"n" * 256, b"")
assert os.listdir(b".") == []

# Every kind that mknod knows.
for kind in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
    os.mknod("node", kind | 0o640, os.makedev(1, 3))
    here, there = os.lstat("node"), os.lstat(source + b"/node")
    assert here.st_mode == there.st_mode and stat.S_IFMT(here.st_mode) == kind
    assert here.st_rdev == there.st_rdev and here.st_nlink == 1
    os.unlink("node")
listener = socket.socket(socket.AF_UNIX)
listener.bind("socket")
listener.listen()
socket.socket(socket.AF_UNIX).connect("socket")

# One file of two names, open by both.
write("one", b"first")
before = os.stat("one")
os.link("one", "two")
after = os.stat("one")
assert (after.st_nlink, after.st_ino) == (2, os.stat("two").st_ino) and after.st_ctime_ns > before.st_ctime_ns
one, two = os.open("one", os.O_RDWR), os.open("two", os.O_RDWR)
os.pwrite(one, b"FIRST", 0)
assert os.pread(two, 10, 0) == b"FIRST"
os.rename("one", "two")  # two names of one file: nothing happens
assert os.path.exists("one")
before = os.fstat(one)
os.unlink("two")
assert os.fstat(two).st_nlink == 1 and os.fstat(one).st_ctime_ns > before.st_ctime_ns

# Renamed and deleted while open: the descriptor stays with the file.
os.rename("one", "three")
os.pwrite(two, b" and more", 5)
assert read("three") == b"FIRST and more"
write("new", b"another file")
os.rename("new", "three")
assert os.fstat(one).st_nlink == 0 and os.pread(one, 100, 0) == b"FIRST and more"
os.pwrite(one, b"x" * 100000, 0)
os.ftruncate(one, 70000)
assert os.pread(two, 100000, 69990) == b"x" * 10 and os.fstat(two).st_size == 70000
assert read("three") == b"another file"
os.mkdir("directory")
inside = os.open("directory", os.O_RDONLY)
os.rmdir("directory")
assert os.fstat(inside).st_nlink == 0 and os.listdir(inside) == []
fails(errno.ENOENT, lambda: os.open("f", os.O_CREAT, dir_fd=inside))

# The flags of renameat2.
write("four", b"4")
fails(errno.EEXIST, rename2, b"four", b"three", NOREPLACE)
rename2(b"four", b"five", NOREPLACE)
held = os.open("five", os.O_RDONLY)
rename2(b"five", b"three", EXCHANGE)
assert (read("three"), read("five")) == (b"4", b"another file") == (read(source + b"/three"), read(source + b"/five"))
assert os.pread(held, 10, 0) == b"4"
os.mkdir("directory")
rename2(b"five", b"directory", EXCHANGE)
assert os.path.isdir("five") and read("directory") == b"another file"
fails(errno.EINVAL, rename2, b"three", b"six", WHITEOUT)
fails(errno.EINVAL, rename2, b"three", b"six", NOREPLACE | EXCHANGE)
fails(errno.EINVAL, os.rename, "five", "five/below")

# A file without a name: where libfuse has the operation it gets one by linkat, elsewhere it is refused.
try:
    unnamed = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
except OSError as error:
    assert error.errno == errno.EOPNOTSUPP, error
else:
    os.write(unnamed, b"unnamed")
    assert os.fstat(unnamed).st_nlink == 0
    os.link(f"/proc/self/fd/{unnamed}", "named", follow_symlinks=True)
    assert read("named") == b"unnamed" and os.fstat(unnamed).st_nlink == 1
PYTHON
stop_gateway
