#!/bin/bash
# Linux's own NFS client, in a virtual machine, mounts the export: what it writes is in the backing as on a local file system,
# what it holds open outlives a crash of the gateway, and who may do what is as the squashing says.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
source "$E2E/lib_nfs_guest.sh"
need_root
need rsync
need_guest

cat >"$WORK/guest.py" <<'PYTHON'
import errno, hashlib, mmap, os, stat
from lib_guest import meet, mount, options, unmount

def refused(number, call, *arguments, **words):
    try:
        call(*arguments, **words)
    except OSError as error:
        assert error.errno == number, f"{call.__name__}{arguments}: {error}, not {errno.errorcode[number]}"
    else:
        raise AssertionError(f"{call.__name__}{arguments} is not refused")

def write(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o644):
    file = os.open(path, flags, mode)
    while data:
        data = data[os.write(file, data):]
    os.close(file)

def read(path):
    with open(path, "rb") as file:
        return file.read()

def forget():  # so that the next answer is the server's
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")

def noise(size, seed):
    return hashlib.shake_128(b"%d" % seed).digest(size)

def stripes():
    piece = noise(1 << 20, 5)
    return b"".join(piece[i:] + piece[:i] for i in range(40))

def as_user(user, groups, work):
    child = os.fork()
    if child == 0:
        os.setgroups(groups)
        os.setgid(user)
        os.setuid(user)
        try:
            work()
        except BaseException as error:
            print(f"as user {user}: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, work.__name__

def prepared_tree_is_right():
    lines = read("manifest").decode().splitlines()
    assert len(lines) > 50
    for line in lines:
        digest, name = line.split("  ", 1)
        assert hashlib.sha256(read(name)).hexdigest() == digest, name
    names = os.listdir("many")
    assert len(names) == 5000 and set(names) == {f"entry{i:04}" for i in range(5000)}, len(names)
    assert os.statvfs(".").f_namemax == 255

def contents():
    os.mkdir("files")
    write("files/written", noise(3_000_000, 1))
    forget()
    assert read("files/written") == noise(3_000_000, 1)
    write("files/written", b"the end", os.O_WRONLY | os.O_APPEND)
    assert os.stat("files/written").st_size == 3_000_007
    os.truncate("files/written", 1_000_001)
    os.truncate("files/written", 2_000_000)
    forget()
    assert read("files/written") == noise(3_000_000, 1)[:1_000_001] + bytes(999_999)
    write("files/empty", b"")
    far = os.open("files/far", os.O_RDWR | os.O_CREAT)
    os.pwrite(far, b"beyond 4 GiB", (5 << 30) + 3)
    os.pwrite(far, b"begin", 0)
    os.fsync(far)
    assert os.fstat(far).st_size == (5 << 30) + 15
    assert os.pread(far, 100, (5 << 30) - 5) == bytes(8) + b"beyond 4 GiB"
    os.close(far)
    write("files/huge", b"")
    os.truncate("files/huge", 1 << 40)
    assert os.stat("files/huge").st_size == 1 << 40
    assert os.stat("files/huge").st_blocks < 100
    mapped = os.open("files/mapped", os.O_RDWR | os.O_CREAT)
    os.ftruncate(mapped, 100_000)
    with mmap.mmap(mapped, 100_000) as memory:
        memory[:] = noise(100_000, 2)
        memory.flush()
    os.close(mapped)
    direct = os.open("files/direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    with mmap.mmap(-1, 1 << 20) as memory:
        memory[:] = noise(1 << 20, 3)
        assert os.write(direct, memory) == 1 << 20
        memory[:] = bytes(1 << 20)
        assert os.preadv(direct, [memory], 0) == 1 << 20
        assert memory[:] == noise(1 << 20, 3)
    os.close(direct)
    synced = os.open("files/synced", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    refused(errno.EEXIST, os.open, "files/synced", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(synced, noise(70_000, 4))
    os.fsync(synced)
    meet("synced")
    os.close(synced)

def names():
    os.mkdir("names")
    os.chdir("names")
    for name in (b"\xff\xfe", b"new\nline", b"a b", b"back\\slash", b"*?", "\u00fc\u20ac".encode(), b"n" * 255):
        write(name, name)
    refused(errno.ENAMETOOLONG, os.open, "n" * 256, os.O_WRONLY | os.O_CREAT)
    write("old", b"old")
    write("over", b"over")
    os.rename("old", "new")
    refused(errno.ENOENT, os.stat, "old")
    os.rename("new", "over")
    assert read("over") == b"old"
    os.link("over", "hard")
    assert os.stat("hard").st_nlink == 2 and os.path.samefile("hard", "over")
    refused(errno.EEXIST, os.link, "over", "hard")
    os.symlink("t" * 1000, "soft")
    assert os.readlink("soft") == "t" * 1000
    os.symlink("over", "good_link")
    assert read("good_link") == b"old"
    os.mkfifo("fifo")
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    write("null", b"swallowed", os.O_WRONLY)
    assert stat.S_ISFIFO(os.stat("fifo").st_mode) and os.stat("null").st_rdev == os.makedev(1, 3)
    os.mkdir("full")
    write("full/file", b"")
    os.mkdir("empty")
    refused(errno.ENOTEMPTY, os.rmdir, "full")
    refused(errno.ENOTEMPTY, os.rename, "empty", "full")
    refused(errno.ENOTDIR, os.rmdir, "over")
    refused(errno.EISDIR, os.unlink, "full")
    refused(errno.EEXIST, os.mkdir, "full")
    refused(errno.EINVAL, os.rename, "full", "full/below")
    refused(errno.ENOTDIR, os.stat, "over/below")
    os.rename("full", "moved")
    os.rename("moved/file", "file")
    os.rmdir("moved")
    os.rmdir("empty")
    os.chdir("..")

def attributes():
    os.mkdir("attributes")
    os.chdir("attributes")
    write("file", b"x")
    os.chmod("file", 0o4751)
    os.chown("file", 1234, 2345)
    assert stat.S_IMODE(os.stat("file").st_mode) == 0o751  # a change of owner takes the bit, as on any file system
    os.chmod("file", 0o6751)
    os.utime("file", ns=(1_000_000_001, 2_000_000_002_123_456_789))
    forget()
    found = os.stat("file")
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_001, 2_000_000_002_123_456_789), found
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o6751, 1234, 2345), found
    write("now", b"")
    os.utime("now", (0, 0))
    os.utime("now")
    os.chmod(".", 0o2775)
    os.chown(".", 0, 3456)
    write("inherits", b"")
    assert os.stat("inherits").st_gid == 3456
    os.chdir("..")

def open_files_keep_their_bytes():
    os.mkdir("open")
    os.chdir("open")
    write("removed", b"still here")
    file = os.open("removed", os.O_RDWR)
    os.unlink("removed")
    refused(errno.ENOENT, os.stat, "removed")
    forget()
    assert os.read(file, 100) == b"still here"
    os.write(file, b", and more")
    os.fsync(file)
    os.close(file)
    write("moved", b"moved")
    write("target", b"target")
    file, target = os.open("moved", os.O_RDONLY), os.open("target", os.O_RDONLY)
    os.rename("moved", "target")
    forget()
    assert os.read(file, 100) == b"moved" and os.read(target, 100) == b"target"
    os.close(file)
    os.close(target)
    assert os.listdir(".") == ["target"], os.listdir(".")  # the client's .nfs files are gone
    os.chdir("..")

def programs():
    assert os.system("cp -a tree copy") == 0
    assert os.system("tar cf archive.tar tree && mkdir unpacked && tar xf archive.tar -C unpacked") == 0
    assert os.system("cp -a tree removed && rm -r removed") == 0
    refused(errno.ENOENT, os.stat, "removed")

def crash_of_the_gateway():
    held = os.open("large", os.O_RDWR)
    begin = os.pread(held, 500_000, 0)
    folder = os.open("many", os.O_RDONLY)
    listing = os.scandir(folder)
    seen = [next(listing).name for _ in range(10)]
    writer = os.fork()
    if writer == 0:  # what was written and not committed when the gateway dies is sent again
        try:
            write("written_over_a_crash", stripes())
        finally:
            os._exit(0)
    meet("crash")
    forget()
    size = os.fstat(held).st_size
    whole = begin + b"".join(os.pread(held, 1 << 20, 500_000 + at) for at in range(0, size, 1 << 20))
    assert hashlib.sha256(whole[:size]).hexdigest() == read("large.sha256").decode().split()[0]
    os.pwrite(held, b"after the crash", 12345)
    os.fsync(held)
    os.close(held)
    seen += [entry.name for entry in listing]
    assert sorted(seen) == [f"entry{i:04}" for i in range(5000)], len(seen)
    assert len(os.listdir(folder)) == 5000
    os.close(folder)
    assert os.waitpid(writer, 0)[1] == 0
    forget()
    assert read("written_over_a_crash") == stripes()

def permissions():
    os.chdir("/squashed")
    # root is nobody here.
    refused(errno.EACCES, os.mkdir, "of_root/directory")
    refused(errno.EACCES, read, "of_root/private")
    refused(errno.EPERM, os.chmod, "of_root", 0o777)
    refused(errno.EPERM, os.chown, "public", 0, 0)
    write("public/of_nobody", b"")
    found = os.stat("public/of_nobody")
    assert (found.st_uid, found.st_gid) == (65534, 65534), found

    def of_others():
        assert read("of_1000/private") == b"private"
        refused(errno.EACCES, read, "of_root/private")
        refused(errno.EACCES, write, "of_root/public", b"x", os.O_WRONLY)
        assert read("of_root/public") == b"public"
        refused(errno.EACCES, os.unlink, "of_root/public")
        refused(errno.EACCES, os.listdir, "closed")
        refused(errno.EACCES, os.stat, "closed/file")
        refused(errno.EPERM, os.chmod, "of_root/public", 0o666)
        refused(errno.EPERM, os.chown, "of_1000/private", 0, -1)
        refused(errno.EPERM, os.unlink, "sticky/of_root")
        refused(errno.EPERM, os.utime, "of_root/public", (1, 1))
        assert read("group/file") == b"group"
        for data in (b"longer than before", b"", b"short"):  # also of a file that is empty already
            write("group/shared", data, os.O_WRONLY | os.O_TRUNC)
            assert read("group/shared") == data
        assert os.access("of_1000/private", os.W_OK) and not os.access("of_root/public", os.W_OK)
        write("of_1000/read_only", noise(100_000, 6), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        assert read("of_1000/read_only") == noise(100_000, 6)
        write("sticky/own", b"")
        os.unlink("sticky/own")
        os.mkdir("of_1000/directory", 0o700)

    as_user(1000, [3456], of_others)
    as_user(1001, [], lambda: refused(errno.EACCES, read, "group/file"))
    as_user(1001, [], lambda: refused(errno.EACCES, read, "of_1000/private"))
    as_user(1001, [], lambda: refused(errno.EACCES, os.listdir, "of_1000/directory"))
    assert os.stat("of_1000/read_only").st_uid == 1000

mount("/squashed", options["squashed_port"])
mount("/open", options["port"])
os.umask(0o022)
for step in (prepared_tree_is_right, contents, names, attributes, open_files_keep_their_bytes, programs, crash_of_the_gateway,
             permissions):
    os.chdir("/open")
    print(step.__name__, flush=True)
    step()
os.chdir("/")
unmount("/open")
unmount("/squashed")
PYTHON

prepare() {
  run_python - "$WORK/source" "$WORK/squashed" <<'PYTHON'
import hashlib, os, random, sys
os.chdir(sys.argv[1])
chosen = random.Random(1)
os.makedirs("tree/deep/deeper")
with open("manifest", "w") as manifest:
    for i in range(60):
        name = f"{chosen.choice(['tree', 'tree/deep', 'tree/deep/deeper'])}/{i}"
        data = chosen.randbytes(chosen.choice([0, 1, 4095, 4096, 4097, 70_000, 300_000]))
        with open(name, "wb") as file:
            file.write(data)
        print(f"{hashlib.sha256(data).hexdigest()}  {name}", file=manifest)
data = chosen.randbytes(4_000_000)
with open("large", "wb") as file:
    file.write(data)
with open("large.sha256", "w") as file:
    file.write(hashlib.sha256(data).hexdigest())
os.mkdir("many")
for i in range(5000):
    open(f"many/entry{i:04}", "w").close()

os.chdir(sys.argv[2])
def made(path, mode, owner, group, data=None):
    if data is None:
        os.mkdir(path)
    else:
        with open(path, "w") as file:
            file.write(data)
    os.chown(path, owner, group)
    os.chmod(path, mode)
made("of_root", 0o755, 0, 0)
made("of_root/private", 0o600, 0, 0, "private")
made("of_root/public", 0o644, 0, 0, "public")
made("of_1000", 0o755, 1000, 1000)
made("of_1000/private", 0o600, 1000, 1000, "private")
made("public", 0o777, 0, 0)
made("closed", 0o700, 0, 0)
made("closed/file", 0o644, 0, 0, "")
made("sticky", 0o1777, 0, 0)
made("sticky/of_root", 0o666, 0, 0, "")
made("group", 0o750, 0, 3456)
made("group/file", 0o640, 0, 3456, "group")
made("group/shared", 0o660, 0, 3456, "shared")
PYTHON
}

backing_has_what_was_made() {
  run_python - "$WORK/source" <<'PYTHON'
import hashlib, os, stat, sys, time
os.chdir(sys.argv[1])
def noise(size, seed):
    return hashlib.shake_128(b"%d" % seed).digest(size)

def stripes():
    piece = noise(1 << 20, 5)
    return b"".join(piece[i:] + piece[:i] for i in range(40))
def read(path):
    with open(path, "rb") as file:
        return file.read()
assert read("files/written") == noise(3_000_000, 1)[:1_000_001] + bytes(999_999)
assert read("files/mapped") == noise(100_000, 2)
assert read("files/direct") == noise(1 << 20, 3)
assert os.stat("files/far").st_size == (5 << 30) + 15 and os.stat("files/far").st_blocks < 1000
with open("files/far", "rb") as file:
    assert file.read(10) == b"begin" + bytes(5)
    file.seek(5 << 30)
    assert file.read() == bytes(3) + b"beyond 4 GiB"
assert sorted(os.listdir(b"names")) == sorted(
    [b"\xff\xfe", b"new\nline", b"a b", b"back\\slash", b"*?", "\u00fc\u20ac".encode(), b"n" * 255,
     b"over", b"hard", b"soft", b"good_link", b"fifo", b"null", b"file"]), os.listdir(b"names")
assert read(b"names/\xff\xfe") == b"\xff\xfe" and read("names/over") == b"old"
assert os.stat("names/over").st_nlink == 2 and os.readlink("names/soft") == "t" * 1000
assert stat.S_ISFIFO(os.stat("names/fifo").st_mode) and os.stat("names/null").st_rdev == os.makedev(1, 3)
found = os.stat("attributes/file")
assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_001, 2_000_000_002_123_456_789), found
assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o6751, 1234, 2345), found
assert abs(os.stat("attributes/now").st_mtime - time.time()) < 200
assert os.listdir("open") == ["target"] and read("open/target") == b"moved"
assert hashlib.sha256(read("written_over_a_crash")).hexdigest() == hashlib.sha256(stripes()).hexdigest()
with open("large", "rb") as file:
    file.seek(12345)
    assert file.read(15) == b"after the crash"
PYTHON
}

some_is_written() { (($(stat -c %s "$WORK/source/written_over_a_crash" 2>/dev/null || echo 0) > 1 << 20)); }

mkdir "$WORK/source" "$WORK/squashed"
prepare
choose_nfs_port
squashed_port=$NFS_PORT
start_nfs_server "$WORK/squashed" "$squashed_port"
choose_nfs_port
start_nfs_server --nfs-squash none "$WORK/source" "$NFS_PORT"
start_guest "$WORK/guest.py" port="$NFS_PORT" squashed_port="$squashed_port"

guest_reaches synced
equal "bytes in the backing when fsync has returned" "$(sha256sum <"$WORK/source/files/synced")" \
  "$(run_python -c 'import hashlib, sys; sys.stdout.buffer.write(hashlib.shake_128(b"4").digest(70_000))' | sha256sum)"
let_guest_go synced

guest_reaches crash
wait_until 30 some_is_written || fail "nothing is written"
kill_nfs_server
start_nfs_server --nfs-squash none "$WORK/source" "$NFS_PORT"
let_guest_go crash

guest_ends_well
same_tree "$WORK/source/tree" "$WORK/source/copy"
empty "differences of what tar unpacked" "$(diff -r "$WORK/source/tree" "$WORK/source/unpacked/tree" 2>&1)"
backing_has_what_was_made || fail "the backing differs from what the guest made"
