#!/bin/bash
# Every procedure of NFSv3 and MOUNT answers as RFC 1813 says, and what it says of files is what the backing says: success, each
# main error, and attributes from before and after in both cases.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_root

mkdir "$WORK/source"
cat >"$WORK/checks.py" <<'PYTHON'
import itertools, os, shutil, socket, stat, subprocess, sys, threading, time
from lib_nfs import *

def mount_protocol(place):
    client = place.client
    client.call(0, program=MOUNT).finish()
    found = client.mount("/")
    assert found.status == "OK" and 0 < len(found.handle) <= 64 and AUTH_SYS in found.flavors, found
    same_attributes(client.getattr(found.handle).attributes, place.source)
    assert client.mount("/no such directory").status in ("NOENT", "ACCES")
    assert client.mount("/" + "x" * 1000).status in ("NOENT", "ACCES", "NAMETOOLONG")
    assert b"/" in [path for path, _ in client.exports()]
    client.mounts()
    client.unmount("/")
    client.unmount_all()
    assert client.getattr(found.handle).status == "OK", "an unmount takes the handle"

def getattr_of_every_type(place):
    place.file("file", b"x" * 10_000, 0o6754, 1234, 2345)
    os.truncate(place.at("file"), 1 << 33)
    place.folder("folder", 0o1757, 7, 8)
    os.symlink("target", place.at("link"))
    os.mkfifo(place.at("fifo"))
    os.mknod(place.at("character"), 0o600 | stat.S_IFCHR, os.makedev(5, 1234))
    os.mknod(place.at("block"), 0o600 | stat.S_IFBLK, os.makedev(7, 3))
    socket.socket(socket.AF_UNIX).bind(place.at("socket"))
    os.link(place.at("file"), place.at("hard"))
    for name in os.listdir(place.path):
        found = place.client.lookup(place.handle, name.encode())
        expect(found, "OK")
        same_attributes(found.attributes, place.at(name))
        same_attributes(found.directory, place.path)
        same_attributes(expect(place.client.getattr(found.handle), "OK").attributes, place.at(name))
    assert place.find("file") == place.find("hard"), "hard links have different handles"

def getattr_sees_what_others_did(place):
    handle = place.file("file", b"1")
    same_attributes(place.client.getattr(handle).attributes, place.at("file"))
    with open(place.at("file"), "ab") as file:
        file.write(b"234")
    os.chmod(place.at("file"), 0o600)
    same_attributes(place.client.getattr(handle).attributes, place.at("file"))

def handles_that_are_no_more(place):
    client, other = place.client, place.as_user(0)
    ways = {
        "others": lambda: os.unlink(place.at("file")),
        "a client": lambda: expect(other.remove(place.handle, b"file"), "OK"),
        "a rename": lambda: expect(other.rename(place.handle, b"new", place.handle, b"file"), "OK"),
    }
    calls = {
        "write": lambda handle: client.write(handle, 0, b"x", FILE_SYNC), "commit": client.commit,
        "setattr": lambda handle: client.setattr(handle, mode=0o644), "resize": lambda handle: client.setattr(handle, size=1),
        "link": lambda handle: client.link(handle, place.handle, b"again"), "access": client.access,
        "read": lambda handle: client.read(handle, 0, 10), "getattr": client.getattr, "fsstat": client.fsstat,
        "fsinfo": client.fsinfo, "pathconf": client.pathconf, "readlink": client.readlink,
    }
    for way, remove in ways.items():
        for first, call in calls.items():  # each is the first to meet it
            for is_written in (False, True):  # a file that the server has open stays readable and writable for it
                place.file("new", b"another")
                handle = place.file("file", b"secret", 0o600)
                if is_written:
                    expect(client.write(handle, 0, b"SECRET", FILE_SYNC), "OK")
                remove()
                for name, reply in [(first, call(handle))] + [(name, call(handle)) for name, call in calls.items()]:
                    assert reply.status == "STALE", f"{name} after {first}, removed by {way}: {reply.status}"
                    assert not getattr(reply, "attributes", None), f"{name}: attributes of a file that is no more"
                place.file("file", b"another", 0o600)  # it may get the old one's inode
                expect(client.getattr(handle), "STALE")
    folder = place.folder("folder")
    os.rmdir(place.at("folder"))
    expect(place.client.lookup(folder, b"x"), "STALE")
    expect(place.client.create(folder, b"x"), "STALE")
    expect(place.client.readdir(folder), "STALE")

def directories_that_are_no_more(place):
    client, other, file, gone = place.client, place.as_user(0), place.file("file"), None
    for way in ("others", "a client"):
        for call in (lambda: client.remove(gone, b"x"), lambda: client.rmdir(gone, b"x"), lambda: client.link(file, gone, b"x"),
                     lambda: client.rename(gone, b"x", place.handle, b"y"), lambda: client.rename(place.handle, b"file", gone, b"x"),
                     lambda: client.mkdir(gone, b"x"), lambda: client.symlink(gone, b"x", b"y"), lambda: client.readdirplus(gone)):
            gone = place.folder("folder")
            if way == "others":
                os.rmdir(place.at("folder"))
            else:
                expect(other.rmdir(place.handle, b"folder"), "OK")
            expect(call(), "STALE")
            expect(call(), "STALE")

def handles_outlive_renames(place):
    handle = place.file("file", b"moving")
    other = place.folder("folder")
    expect(place.client.rename(place.handle, b"file", other, b"moved"), "OK")
    same_attributes(place.client.getattr(handle).attributes, place.at("folder/moved"))
    os.rename(place.at("folder/moved"), place.at("back"))
    assert place.client.read(handle, 0, 10).data == b"moving"
    assert place.find("back") == handle

def forged_handles(place):
    handle = place.file("file", b"secret")
    forged = [bytes(length) for length in (0, 1, 31, 32, 63, 64)] + [b"\xff" * 64]
    forged += [handle[:-1], handle + b"\0\0\0\0" if len(handle) <= 60 else handle[:-4]]
    for at in range(len(handle)):
        for bit in (1, 0x80):
            forged.append(handle[:at] + bytes([handle[at] ^ bit]) + handle[at + 1 :])
    for other in forged:
        expect(place.client.getattr(other), "BADHANDLE", "STALE")
        expect(place.client.read(other, 0, 100), "BADHANDLE", "STALE")
        expect(place.client.lookup(other, b"x"), "BADHANDLE", "STALE")
    assert place.client.getattr(handle).status == "OK"

def setattr_sets(place):
    handle = place.file("file", b"0123456789")
    for wanted in (dict(mode=0o4711), dict(user=1234), dict(group=2345), dict(user=77, group=78), dict(size=4),
                   dict(size=100_000), dict(atime=1_000_000_001), dict(mtime=2_000_000_000_999_999_999), dict(atime=5, mtime=6),
                   dict(mode=0o600, user=1, group=2, size=5, atime=3, mtime=4), dict()):
        before = state_of(place.at("file"))
        reply = expect(place.client.setattr(handle, **wanted), "OK")
        same_wcc(reply.wcc, before, place.at("file"))
        true = os.lstat(place.at("file"))
        got = dict(mode=stat.S_IMODE(true.st_mode), user=true.st_uid, group=true.st_gid, size=true.st_size,
                   atime=true.st_atime_ns, mtime=true.st_mtime_ns)
        assert all(got[key] == value for key, value in wanted.items()), (wanted, got)
    assert place.read("file") == b"0123\0"
    expect(place.client.setattr(handle, atime=SERVER_TIME, mtime=SERVER_TIME), "OK")
    true = os.lstat(place.at("file"))
    assert abs(true.st_mtime - time.time()) < 5 and abs(true.st_atime - time.time()) < 5, true

def times_until_2106(place):
    handle, end = place.file("file"), (1 << 32) * 1_000_000_000 - 1
    for time in (0, (1 << 31) * 1_000_000_000 - 1, (1 << 31) * 1_000_000_000, 4_000_000_000_000_000_001, end):
        # The file system may end before the protocol does.
        os.utime(place.at("file"), ns=(time, time))
        if os.stat(place.at("file")).st_mtime_ns != time:
            continue
        same_attributes(expect(place.client.getattr(handle), "OK").attributes, place.at("file"))
        os.utime(place.at("file"), ns=(1, 1))
        expect(place.client.setattr(handle, atime=time, mtime=time), "OK")
        true = os.stat(place.at("file"))
        assert (true.st_atime_ns, true.st_mtime_ns) == (time, time), (time, true)
    for time, told in ((-5_000_000_001, 0), (-1, 0), (end + 1, end // 1_000_000_000 * 1_000_000_000)):
        os.utime(place.at("file"), ns=(time, time))
        if os.stat(place.at("file")).st_mtime_ns == time:
            found = expect(place.client.getattr(handle), "OK").attributes
            assert (found.atime, found.mtime) == (told, told), (time, found)

def setattr_of_links_and_folders(place):
    os.symlink("file", place.at("link"))
    place.file("file")
    link = place.find("link")
    expect(place.client.setattr(link, user=12, group=13, mtime=1_000_000_000), "OK")
    true = os.lstat(place.at("link"))
    assert (true.st_uid, true.st_gid, true.st_mtime) == (12, 13, 1) and os.stat(place.at("link")).st_uid == 0, true
    folder = place.folder("folder")
    expect(place.client.setattr(folder, mode=0o1770, user=12), "OK")
    assert os.stat(place.at("folder")).st_mode & 0o7777 == 0o1770
    expect(place.client.setattr(folder, size=0), "ISDIR", "INVAL")

def setattr_guard(place):
    handle = place.file("file", b"guarded")
    ctime = place.client.getattr(handle).attributes.ctime
    for wrong in (ctime + 1, ctime - 1, 0):
        before = state_of(place.at("file"))
        reply = expect(place.client.setattr(handle, guard=wrong, mode=0o777, size=0), "NOT_SYNC")
        same_wcc(reply.wcc, before, place.at("file"))
        assert place.read("file") == b"guarded"
    expect(place.client.setattr(handle, guard=ctime, mode=0o640), "OK")
    assert os.stat(place.at("file")).st_mode & 0o777 == 0o640

def setattr_by_others(place):
    handle = place.file("file", b"of root", 0o644)
    other = place.as_user(1000)
    for wanted in (dict(mode=0o666), dict(user=1000), dict(group=1000), dict(mtime=5)):
        before = state_of(place.at("file"))
        same_wcc(expect(other.setattr(handle, **wanted), "PERM").wcc, before, place.at("file"))
    expect(other.setattr(handle, size=0), "ACCES")
    expect(other.setattr(handle, mtime=SERVER_TIME), "ACCES", "PERM")
    assert place.read("file") == b"of root"
    own = place.file("own", b"", 0o600, 1000, 1000)
    expect(other.setattr(own, mode=0o640), "OK")
    expect(other.setattr(own, user=1001), "PERM")
    expect(place.as_user(1000, [3456]).setattr(own, group=3456), "OK")
    writable = place.file("writable", b"x", 0o666)
    expect(other.setattr(writable, mtime=SERVER_TIME, atime=SERVER_TIME), "OK")
    expect(other.setattr(writable, size=0), "OK")

def writers_touch_as_linux_truncates(place):
    """O_TRUNC of a file that is not one's own is a size and one time; of an empty file it is the time alone."""
    for data in (b"data", b""):
        for wanted in (dict(size=0, mtime=SERVER_TIME), dict(mtime=SERVER_TIME), dict(atime=SERVER_TIME)):
            name = f"{len(data)} bytes, {' and '.join(wanted)}"
            handle = place.file(name, data, 0o660, 0, 3456)
            os.utime(place.at(name), ns=(5, 6))
            expect(place.as_user(1000, [3456]).setattr(handle, **wanted), "OK")
            true = os.stat(place.at(name))
            assert true.st_size == wanted.get("size", len(data))
            assert (true.st_atime_ns != 5, true.st_mtime_ns != 6) == ("atime" in wanted, "mtime" in wanted), (name, true)
            expect(place.as_user(1001).setattr(handle, mtime=SERVER_TIME), "PERM", "ACCES")
            for more in (dict(mode=0o777), dict(user=1000), dict(atime=7)):
                expect(place.as_user(1000, [3456]).setattr(handle, mtime=SERVER_TIME, **more), "PERM")

def lookup_errors(place):
    handle = place.file("file")
    reply = expect(place.client.lookup(place.handle, b"missing"), "NOENT")
    same_attributes(reply.directory, place.path)
    reply = expect(place.client.lookup(handle, b"x"), "NOTDIR")
    expect(place.client.lookup(place.handle, b"n" * 256), "NAMETOOLONG")
    expect(place.client.lookup(place.handle, b"n" * 5000), "NAMETOOLONG")
    place.folder("folder")
    place.file("folder/file")
    for name in (b"", b"folder/file", b"/", b"folder/../file", b"file\0", b"a\0b"):
        reply = place.client.lookup(place.handle, name)
        assert reply.status in ("INVAL", "ACCES", "NOENT"), (name, reply.status)
    closed = place.folder("closed", 0o700)
    place.file("closed/file")
    expect(place.as_user(1000).lookup(closed, b"file"), "ACCES")

def lookup_of_dots(place):
    folder = place.folder("folder")
    assert place.client.lookup(folder, b".").handle == folder
    assert place.client.lookup(folder, b"..").handle == place.handle
    assert place.client.lookup(place.root, b".").handle == place.root
    up = place.client.lookup(place.root, b"..")
    assert up.status != "OK" or up.handle == place.root, "the export can be left"

def names_are_bytes(place):
    for name in (b"\xff\xfe\x01", b"a b", b"new\nline", b"*?[", b"\\", b"...", b"n" * 255, "\u00fc\u20ac".encode(), b"-rf"):
        expect(place.client.create(place.handle, name, GUARDED, mode=0o600), "OK")
        assert place.exists(name)
        expect(place.client.lookup(place.handle, name), "OK")
        expect(place.client.remove(place.handle, name), "OK")
        assert not place.exists(name)

def access_agrees_with_what_succeeds(place):
    for mode in (0o000, 0o400, 0o200, 0o644, 0o640, 0o604, 0o060, 0o006, 0o777, 0o711, 0o755):
        file = place.file(f"file{mode:o}", b"data", mode, 1000, 3456)
        folder = place.folder(f"folder{mode:o}", mode, 1000, 3456)
        place.file(f"folder{mode:o}/file")
        for user, groups in ((1000, []), (1001, [3456]), (1002, [])):
            client = place.as_user(user, groups)
            shift = 6 if user == 1000 else 3 if groups else 0
            bits = mode >> shift & 7
            reply = expect(client.access(file), "OK")
            same_attributes(reply.attributes, place.at(f"file{mode:o}"))
            wanted = (ACCESS_READ if bits & 4 else 0) | (ACCESS_MODIFY | ACCESS_EXTEND if bits & 2 else 0)
            wanted |= ACCESS_EXECUTE if bits & 1 else 0
            assert reply.granted & ~ACCESS_DELETE == wanted, (oct(mode), user, reply.granted, wanted)
            reply = expect(client.access(folder), "OK")
            wanted = (ACCESS_READ if bits & 4 else 0) | (ACCESS_LOOKUP if bits & 1 else 0)
            wanted |= ACCESS_MODIFY | ACCESS_EXTEND | ACCESS_DELETE if bits & 3 == 3 else 0
            granted = reply.granted & ~ACCESS_EXECUTE
            assert granted == wanted, (oct(mode), user, granted, wanted)
            # What is denied is refused, but for the owner, whose open files must stay usable (RFC 1813, 4.4).
            if user == 1000:
                continue
            expect(client.read(file, 0, 10), "OK" if bits & 5 else "ACCES")  # who may execute must be able to read
            expect(client.write(file, 0, b"data"), "OK" if bits & 2 else "ACCES")
            expect(client.readdir(folder), "OK" if bits & 4 else "ACCES")
            expect(client.lookup(folder, b"file"), "OK" if bits & 1 else "ACCES")
            expect(client.create(folder, b"new"), "OK" if bits & 3 == 3 else "ACCES")
            expect(client.remove(folder, b"new" if bits & 3 == 3 else b"file"), "OK" if bits & 3 == 3 else "ACCES")
            client.close()

def access_asks_only_for_some(place):
    file = place.file("file", b"", 0o777)
    assert place.client.access(file, ACCESS_READ).granted == ACCESS_READ
    assert place.client.access(file, 0).granted == 0
    root = place.file("closed", b"", 0o000)
    assert place.client.access(root).granted & (ACCESS_READ | ACCESS_MODIFY | ACCESS_EXTEND) == 13, "root is not squashed"

def owners_go_on_with_open_files(place):
    file = place.file("file", b"mine", 0o000, 1000, 1000)
    assert expect(place.as_user(1000).read(file, 0, 10), "OK").data == b"mine"
    expect(place.as_user(1000).write(file, 0, b"MINE"), "OK")
    expect(place.as_user(1000).setattr(file, size=2), "OK")
    assert place.read("file") == b"MI"

def readlink(place):
    for target in (b"x", b"/a/../b", b"t" * 1000, b"t" * 4095, b"\xff\n"):
        os.symlink(target, place.at("link"))
        reply = expect(place.client.readlink(place.find("link")), "OK")
        assert reply.target == target
        same_attributes(reply.attributes, place.at("link"))
        os.unlink(place.at("link"))
    expect(place.client.readlink(place.file("file")), "INVAL")
    expect(place.client.readlink(place.handle), "INVAL")

def read_pieces(place):
    data = os.urandom(300_001)
    handle = place.file("file", data)
    for offset, count in ((0, 10), (0, 0), (1, 4095), (4095, 2), (4096, 4096), (65_535, 100_000), (0, 300_000), (0, 300_001),
                          (0, 300_002), (300_000, 1), (300_000, 2), (299_999, 1), (300_001, 1), (300_002, 1), (1 << 40, 10),
                          (200_000, 1 << 20), (300_001, 0)):
        reply = expect(place.client.read(handle, offset, count), "OK")
        assert reply.data == data[offset : offset + count], (offset, count, reply.count)
        # With no bytes asked for, the end may be told or not.
        assert count == 0 or reply.eof == (offset + count >= len(data)), (offset, count, reply.eof)
        assert reply.attributes.size == len(data)
    empty = expect(place.client.read(place.file("empty"), 0, 100), "OK")
    assert empty.data == b"" and empty.eof
    os.truncate(place.at("empty"), 10_000_000)
    most = place.client.fsinfo(place.root).read_max
    reply = expect(place.client.read(place.find("empty"), 0, 9_999_999), "OK")
    assert 0 < reply.count <= most and not reply.eof and reply.data.strip(b"\0") == b"", (reply.count, most)

def read_errors(place):
    expect(place.client.read(place.handle, 0, 10), "ISDIR", "INVAL")
    os.symlink("x", place.at("link"))
    expect(place.client.read(place.find("link"), 0, 10), "INVAL")
    os.mkfifo(place.at("fifo"))
    expect(place.client.read(place.find("fifo"), 0, 10), "INVAL", "NXIO")
    handle = place.file("file", b"x", 0o600)
    reply = expect(place.as_user(1000).read(handle, 0, 10), "ACCES")
    same_attributes(reply.attributes, place.at("file"))

def offsets_beyond_everything(place):
    handle = place.file("file", b"x")
    for offset in ((1 << 63) - 1, 1 << 63, (1 << 64) - 10, (1 << 64) - 1, (1 << 63) - 4096, 1 << 62):
        for count in (0, 1, 10, 4096):
            reply = expect(place.client.read(handle, offset, count), "OK", "INVAL", "FBIG")
            assert reply.status != "OK" or (reply.count == 0 and (reply.eof or count == 0)), offset
            expect(place.client.commit(handle, offset, count), "OK", "INVAL", "FBIG")
        before = state_of(place.at("file"))
        reply = expect(place.client.write(handle, offset, b"far away"), "FBIG", "INVAL", "NOSPC")
        same_wcc(reply.wcc, before, place.at("file"))
        expect(place.client.setattr(handle, size=offset), "FBIG", "INVAL", "NOSPC")
    assert place.read("file") == b"x"

def write_levels(place):
    handle = place.file("file")
    verifier, expected = None, bytearray()
    for stable in (UNSTABLE, DATA_SYNC, FILE_SYNC):
        for offset, size in ((0, 1), (4095, 3), (100_000, 65_537), (0, 1 << 20), (1 << 20, 0)):
            data = os.urandom(size)
            before = state_of(place.at("file"))
            reply = expect(place.client.write(handle, offset, data, stable), "OK")
            assert reply.count == size and reply.committed >= stable, reply
            assert verifier in (None, reply.verifier), "the verifier changes"
            verifier = reply.verifier
            same_wcc(reply.wcc, before, place.at("file"))
            if size:
                expected.extend(bytes(max(0, offset + size - len(expected))))
                expected[offset : offset + size] = data
            assert place.client.read(handle, offset, size).data == data
        for offset, count in ((0, 0), (0, 4096), (1 << 30, 0), (0, 0xFFFFFFFF)):
            before = state_of(place.at("file"))
            reply = expect(place.client.commit(handle, offset, count), "OK")
            assert reply.verifier == verifier, "COMMIT's verifier is not WRITE's"
            same_wcc(reply.wcc, before, place.at("file"))
        assert place.read("file") == expected
    assert place.client.write(place.file("other"), 0, b"x").verifier == verifier

def write_errors(place):
    expect(place.client.write(place.handle, 0, b"x"), "ISDIR", "INVAL")
    expect(place.client.commit(place.handle), "ISDIR", "INVAL", "OK")
    os.symlink("x", place.at("link"))
    expect(place.client.write(place.find("link"), 0, b"x"), "INVAL")
    handle = place.file("file", b"of root")
    before = state_of(place.at("file"))
    same_wcc(expect(place.as_user(1000).write(handle, 0, b"x"), "ACCES").wcc, before, place.at("file"))
    assert place.read("file") == b"of root"
    try:  # a count that is not that of the bytes
        expect(place.client.write(handle, 0, b"four", count=400), "INVAL")
    except Refused as refused:
        assert refused.args[0] == "GARBAGE_ARGS", refused
    assert place.read("file") == b"of root"

def programs_that_run_are_not_written(place):
    shutil.copy("/bin/sleep", place.at("program"))
    handle = place.find("program")
    with subprocess.Popen([place.at("program"), "100"]) as running:
        reply = place.client.write(handle, 0, b"x")
        running.kill()
    expect(reply, "ACCES", "OK")  # some kernels let it be written

def writing_takes_set_id_bits(place):
    handle = place.file("file", b"program", 0o6777)
    expect(place.as_user(1000).write(handle, 0, b"P", FILE_SYNC), "OK")
    assert os.stat(place.at("file")).st_mode & 0o7000 == 0

def create_unchecked_and_guarded(place):
    before = state_of(place.path)
    reply = expect(place.client.create(place.handle, b"new", mode=0o640, user=12, group=13, mtime=1_000_000_007), "OK")
    same_wcc(reply.wcc, before, place.path)
    same_attributes(reply.attributes, place.at("new"))
    assert reply.handle == place.find("new")
    true = os.stat(place.at("new"))
    assert (true.st_mode & 0o7777, true.st_uid, true.st_gid, true.st_mtime_ns) == (0o640, 12, 13, 1_000_000_007), true
    expect(place.client.write(reply.handle, 0, b"content"), "OK")
    again = expect(place.client.create(place.handle, b"new"), "OK")
    assert again.handle == reply.handle, "a file that was there has another handle"
    assert place.read("new") == b"content", place.read("new")
    expect(place.client.create(place.handle, b"new", size=0), "OK")
    assert place.read("new") == b""
    expect(place.client.write(reply.handle, 0, b"con"), "OK")
    before = state_of(place.path)
    same_wcc(expect(place.client.create(place.handle, b"new", GUARDED, size=0), "EXIST").wcc, before, place.path)
    assert place.read("new") == b"con"
    expect(place.client.create(place.handle, b"guarded", GUARDED, mode=0o600, size=1000), "OK")
    assert place.read("guarded") == bytes(1000)

def create_exclusive(place):
    verifier = bytes(range(0xF1, 0xF9))
    before = state_of(place.path)
    reply = expect(place.client.create(place.handle, b"file", EXCLUSIVE, verifier), "OK")
    same_wcc(reply.wcc, before, place.path)
    assert os.stat(place.at("file")).st_mode & 0o077 == 0, "others may open it before the client has said who may"
    again = expect(place.client.create(place.handle, b"file", EXCLUSIVE, verifier), "OK")
    assert again.handle == reply.handle == place.find("file")
    with Client(place.port) as other:
        assert expect(other.create(place.handle, b"file", EXCLUSIVE, verifier), "OK").handle == reply.handle
    for bit in range(64):
        different = (int.from_bytes(verifier, "big") ^ 1 << bit).to_bytes(8, "big")
        before = state_of(place.path)
        found = place.client.create(place.handle, b"file", EXCLUSIVE, different)
        assert found.status == "EXIST", f"bit {bit} of the verifier is not kept: {found.status}"
        same_wcc(found.wcc, before, place.path)
    for value in (bytes(8), b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x80" + bytes(7)):
        name = value.hex().encode()
        handle = expect(place.client.create(place.handle, name, EXCLUSIVE, value), "OK").handle
        assert expect(place.client.create(place.handle, name, EXCLUSIVE, value), "OK").handle == handle
    # As Linux goes on.
    expect(place.client.setattr(reply.handle, mode=0o600, atime=SERVER_TIME, mtime=SERVER_TIME), "OK")
    same_attributes(place.client.getattr(reply.handle).attributes, place.at("file"))
    assert abs(os.stat(place.at("file")).st_mtime - time.time()) < 5
    place.file("theirs")
    expect(place.client.create(place.handle, b"theirs", EXCLUSIVE, verifier), "EXIST")

def create_errors(place):
    file = place.file("file")
    place.folder("folder")
    expect(place.client.create(file, b"x"), "NOTDIR")
    expect(place.client.create(place.handle, b"folder", GUARDED), "EXIST")
    expect(place.client.create(place.handle, b"folder"), "EXIST", "ISDIR")
    for name in (b".", b".."):
        expect(place.client.create(place.handle, name, GUARDED), "EXIST", "INVAL", "ISDIR", "ACCES")
    for name in (b"", b"folder/x", b"a\0b"):
        expect(place.client.create(place.handle, name), "INVAL", "ACCES")
    before = state_of(place.path)
    same_wcc(expect(place.client.create(place.handle, b"n" * 256), "NAMETOOLONG").wcc, before, place.path)
    closed = place.folder("closed")
    before = state_of(place.at("closed"))
    same_wcc(expect(place.as_user(1000).create(closed, b"x"), "ACCES").wcc, before, place.at("closed"))
    assert os.listdir(place.at("closed")) == os.listdir(place.at("folder")) == []

def new_files_belong_to_their_maker(place):
    client = Client(place.port, 1000, 2000, [3456])
    expect(client.create(place.handle, b"file", mode=0o666), "OK")
    expect(client.mkdir(place.handle, b"folder", mode=0o777), "OK")
    expect(client.symlink(place.handle, b"link", b"target"), "OK")
    expect(client.mknod(place.handle, b"fifo", FIFO, mode=0o666), "OK")
    expect(client.create(place.handle, b"exclusive", EXCLUSIVE, b"12345678"), "OK")
    for name in os.listdir(place.path):
        true = os.lstat(place.at(name))
        assert (true.st_uid, true.st_gid) == (1000, 2000), (name, true)
    assert os.stat(place.at("file")).st_mode & 0o777 == 0o666 and os.stat(place.at("folder")).st_mode & 0o777 == 0o777
    place.folder("setgid", 0o2777, 0, 3456)
    expect(client.create(place.find("setgid"), b"file", mode=0o600), "OK")
    expect(client.mkdir(place.find("setgid"), b"folder", mode=0o700), "OK")
    assert os.stat(place.at("setgid/file")).st_gid == os.stat(place.at("setgid/folder")).st_gid == 3456
    assert os.stat(place.at("setgid/folder")).st_mode & 0o7777 == 0o2700

def owners_that_may_not_be_given(place):
    """macOS names the directory's group, or what it is to root, with all that is new."""
    client = Client(place.port, 1000, 2000, [3456])
    wanted = dict(mode=0o640, user=1000, group=0, mtime=1_000_000_007)
    for name, make in {
            b"file": lambda name: client.create(place.handle, name, **wanted),
            b"guarded": lambda name: client.create(place.handle, name, GUARDED, size=3, **wanted),
            b"folder": lambda name: client.mkdir(place.handle, name, **wanted),
            b"link": lambda name: client.symlink(place.handle, name, b"target", **wanted),
            b"fifo": lambda name: client.mknod(place.handle, name, FIFO, **wanted)}.items():
        found = expect(make(name), "OK").attributes
        assert (found.user, found.group, found.mtime) == (1000, 2000, 1_000_000_007), (name, found)
        same_attributes(found, place.at(name))
    expect(client.create(place.handle, b"given away", user=0), "OK")
    assert os.stat(place.at("given away")).st_uid == 1000
    assert expect(client.create(place.handle, b"for members", group=3456), "OK").attributes.group == 3456

def mkdir_symlink_mknod(place):
    client = place.client
    made = {
        "folder": lambda name: client.mkdir(place.handle, name, mode=0o1751, user=3, group=4),
        "link": lambda name: client.symlink(place.handle, name, b"some/where"),
        "fifo": lambda name: client.mknod(place.handle, name, FIFO, mode=0o640),
        "socket": lambda name: client.mknod(place.handle, name, SOCKET, mode=0o640),
        "character": lambda name: client.mknod(place.handle, name, CHARACTER, (5, 1234), mode=0o640),
        "block": lambda name: client.mknod(place.handle, name, BLOCK, (7, 9), mode=0o640, user=5),
    }
    for name, make in made.items():
        before = state_of(place.path)
        reply = expect(make(name.encode()), "OK")
        same_wcc(reply.wcc, before, place.path)
        same_attributes(reply.attributes, place.at(name))
        assert reply.handle == place.find(name)
        before = state_of(place.path)
        same_wcc(expect(make(name.encode()), "EXIST").wcc, before, place.path)
        expect(make(b"n" * 256), "NAMETOOLONG")
    assert os.readlink(place.at("link")) == b"some/where" and os.lstat(place.at("block")).st_rdev == os.makedev(7, 9)
    true = os.stat(place.at("folder"))
    assert (true.st_mode & 0o7777, true.st_uid, true.st_gid) == (0o1751, 3, 4), true
    file = place.file("file")
    expect(client.mkdir(file, b"x"), "NOTDIR")
    expect(client.symlink(file, b"x", b"y"), "NOTDIR")
    before = state_of(place.path)
    same_wcc(expect(client.symlink(place.handle, b"x", b""), "INVAL").wcc, before, place.path)
    expect(client.mknod(file, b"x", FIFO), "NOTDIR")
    expect(client.mknod(place.handle, b"regular", REGULAR), "BADTYPE")
    expect(client.mknod(place.handle, b"directory", DIRECTORY), "BADTYPE")
    expect(place.as_user(1000).mknod(place.handle, b"device", CHARACTER, (1, 3)), "PERM", "ACCES")
    assert not place.exists("regular") and not place.exists("device")

def remove_and_rmdir(place):
    client = place.client
    place.file("file")
    place.folder("folder")
    place.folder("full")
    place.file("full/file")
    for call, name, statuses in (
        (client.remove, b"missing", ["NOENT"]), (client.rmdir, b"missing", ["NOENT"]), (client.rmdir, b"file", ["NOTDIR"]),
        (client.remove, b"folder", ["ISDIR", "PERM"]), (client.rmdir, b"full", ["NOTEMPTY", "EXIST"]),
        (client.rmdir, b".", ["INVAL"]), (client.rmdir, b"..", ["EXIST"]),
        (client.remove, b".", ["INVAL", "ISDIR", "PERM", "EXIST", "ACCES"]), (client.remove, b"n" * 256, ["NAMETOOLONG"])):
        before = state_of(place.path)
        same_wcc(expect(call(place.handle, name), *statuses).wcc, before, place.path)
    closed = place.folder("closed")
    place.file("closed/file", b"", 0o666)
    before = state_of(place.at("closed"))
    same_wcc(expect(place.as_user(1000).remove(closed, b"file"), "ACCES").wcc, before, place.at("closed"))
    sticky = place.folder("sticky", 0o1777)
    place.file("sticky/file", b"", 0o666)
    expect(place.as_user(1000).remove(sticky, b"file"), "PERM", "ACCES")
    for call, name in ((client.remove, b"file"), (client.rmdir, b"folder")):
        before = state_of(place.path)
        same_wcc(expect(call(place.handle, name), "OK").wcc, before, place.path)
        assert not place.exists(name)
    expect(client.remove(place.find("full"), b"file"), "OK")

def rename_all_ways(place):
    client = place.client
    place.file("file", b"1")
    place.file("other", b"2")
    folder = place.folder("folder")
    full = place.folder("full")
    place.file("full/file")
    for name, directory, other, statuses in (
        (b"missing", folder, b"x", ["NOENT"]), (b"file", place.handle, b"folder", ["ISDIR", "EXIST"]),
        (b"folder", place.handle, b"file", ["NOTDIR", "EXIST"]), (b"folder", place.handle, b"full", ["NOTEMPTY", "EXIST"]),
        (b"full", full, b"below", ["INVAL"]), (b"file", place.handle, b"n" * 256, ["NAMETOOLONG"]),
        (b".", place.handle, b"x", ["INVAL", "ACCES", "ISDIR", "EXIST"]),
        (b"file", place.handle, b"..", ["INVAL", "ACCES", "ISDIR", "EXIST", "NOTEMPTY"])):
        path = {place.handle: place.path, folder: place.at("folder"), full: place.at("full")}[directory]
        before, other_before = state_of(place.path), state_of(path)
        reply = expect(client.rename(place.handle, name, directory, other), *statuses)
        same_wcc(reply.wcc, before, place.path)
        same_wcc(reply.other_wcc, other_before, path)
    before, other_before = state_of(place.path), state_of(place.at("folder"))
    reply = expect(client.rename(place.handle, b"file", folder, b"moved"), "OK")
    same_wcc(reply.wcc, before, place.path)
    same_wcc(reply.other_wcc, other_before, place.at("folder"))
    expect(client.rename(folder, b"moved", place.handle, b"other"), "OK")
    assert place.read("other") == b"1"
    expect(client.rename(place.handle, b"other", place.handle, b"other"), "OK")
    expect(client.rename(place.handle, b"folder", place.handle, b"new"), "OK")
    expect(client.remove(full, b"file"), "OK")
    expect(client.rename(place.handle, b"new", place.handle, b"full"), "OK")
    assert sorted(os.listdir(place.path)) == ["full", "other"]
    closed = place.folder("closed")
    expect(place.as_user(1000).rename(place.handle, b"other", closed, b"x"), "ACCES")

def link_names(place):
    client = place.client
    handle = place.file("file", b"1")
    before = state_of(place.path)
    reply = expect(client.link(handle, place.handle, b"hard"), "OK")
    same_wcc(reply.wcc, before, place.path)
    same_attributes(reply.attributes, place.at("file"))
    assert reply.attributes.links == 2 and os.path.samefile(place.at("file"), place.at("hard"))
    before = state_of(place.path)
    reply = expect(client.link(handle, place.handle, b"hard"), "EXIST")
    same_wcc(reply.wcc, before, place.path)
    same_attributes(reply.attributes, place.at("file"))
    folder = place.folder("folder")
    expect(client.link(folder, place.handle, b"x"), "PERM", "ISDIR", "INVAL")
    expect(client.link(handle, handle, b"x"), "NOTDIR")
    expect(client.link(handle, place.handle, b"n" * 256), "NAMETOOLONG")
    expect(client.link(handle, place.handle, b"."), "EXIST", "INVAL", "ISDIR", "ACCES")
    closed = place.folder("closed")
    own = place.file("own", b"", 0o600, 1000, 1000)
    expect(place.as_user(1000).link(own, closed, b"x"), "ACCES")

def one_of_two_handles_is_stale(place):
    client, file, gone = place.client, place.file("file"), place.folder("folder")
    # What others do is heard of later, and may hide what was before.
    expect(client.rmdir(place.handle, b"folder"), "OK")
    for bad in (gone, gone[:-1] + bytes([gone[-1] ^ 1])):
        before = state_of(place.path)
        reply = expect(client.rename(place.handle, b"file", bad, b"x"), "STALE", "BADHANDLE")
        same_wcc(reply.wcc, before, place.path)
        assert reply.other_wcc.before is None and reply.other_wcc.after is None
        reply = expect(client.rename(bad, b"x", place.handle, b"y"), "STALE", "BADHANDLE")
        same_wcc(reply.other_wcc, before, place.path)
        assert reply.wcc.before is None and reply.wcc.after is None
        reply = expect(client.link(file, bad, b"x"), "STALE", "BADHANDLE")
        same_attributes(reply.attributes, place.at("file"))
        assert reply.wcc.before is None and reply.wcc.after is None
        reply = expect(client.link(bad, place.handle, b"x"), "STALE", "BADHANDLE", "PERM")
        same_wcc(reply.wcc, before, place.path)
        assert reply.attributes is None

def about_the_file_system(place):
    client = place.client
    true = os.statvfs(place.source)
    reply = expect(client.fsstat(place.root), "OK")
    assert reply.bytes_total == true.f_blocks * true.f_frsize and reply.files_total == true.f_files, reply
    for told, found in ((reply.bytes_free, true.f_bfree * true.f_frsize),
                        (reply.bytes_available, true.f_bavail * true.f_frsize)):
        assert abs(told - found) < 1 << 30, (told, found)
    same_attributes(reply.attributes, place.source)
    reply = expect(client.fsinfo(place.root), "OK")
    assert reply.read_max >= 1 << 16 and reply.write_max >= 1 << 16 and reply.directory_preferred >= 4096, reply
    assert 0 < reply.read_preferred <= reply.read_max and 0 < reply.write_preferred <= reply.write_max, reply
    assert reply.read_multiple > 0 and reply.write_multiple > 0
    assert reply.size_max >= 1 << 40 and reply.time_delta <= 1_000_000_000
    assert reply.properties & 0x1B == 0x1B, "hard links, symbolic links, one answer for all files, settable times"
    same_attributes(reply.attributes, place.source)
    handle = place.file("file", b"", 0o600)
    reply = expect(client.pathconf(handle), "OK")
    assert reply.name_max == os.pathconf(place.path, "PC_NAME_MAX") == 255 and reply.links_max >= 1000, reply
    assert reply.no_truncation and reply.chown_restricted and not reply.case_insensitive and reply.case_preserving, reply
    same_attributes(reply.attributes, place.at("file"))

def reads_are_what_others_wrote(place):
    handle = place.file("file", b"old" * 1000)
    assert place.client.read(handle, 0, 3000).data == b"old" * 1000
    expect(place.client.write(handle, 0, b"new"), "OK")
    with Client(place.port) as other:
        assert other.read(handle, 0, 6).data == b"newold"
    expect(place.client.setattr(handle, size=4), "OK")
    expect(place.client.setattr(handle, size=8), "OK")
    assert place.client.read(handle, 0, 10).data == b"newo\0\0\0\0"

def reads_of_what_is_rewritten_all_the_time(place):
    """Each page is one of the versions, and nobody is told to come back later."""
    size = 1 << 20
    handle = place.file("file", b"\0" * size)
    ended = threading.Event()
    def rewrite():
        with Client(place.port) as writer:
            for version in itertools.count(1):
                expect(writer.write(handle, 0, bytes([version % 256]) * size), "OK")
                if ended.is_set():
                    return
    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for count in [size] * 100 + [size // 16] * 100:
            reply = expect(place.client.read(handle, 0, count), "OK")
            assert reply.count == count
            for start in range(0, count, 4096):
                page = reply.data[start:start + 4096]
                assert page == page[:1] * len(page), f"bytes of two versions in the page at {start}"
    finally:
        ended.set()
        thread.join()

run(dict(globals()), int(sys.argv[1]), sys.argv[2])
PYTHON
# With nothing remembered, and with all remembered and told of what others do.
for memory in "${NFS_AT_ONCE[*]}" --watch; do
  choose_nfs_port
  # shellcheck disable=SC2086
  start_nfs_server $memory --nfs-squash none "$WORK/source" "$NFS_PORT"
  run_python "$WORK/checks.py" "$NFS_PORT" "$WORK/source" || fail "with $memory: not as RFC 1813 says"
  stop_gateway
  rm -r "${WORK:?}/source"/*
done
