"""An NFSv3 and MOUNT client (RFC 1813) with its own RPC (RFC 5531) and XDR, for tests that look at every field and send what no
other client would.

    client = lib_nfs.Client(port, user=1000, groups=[3456])
    root = client.mount("/").handle
    found = client.lookup(root, b"name")           # found.status, found.handle, found.attributes, found.directory
    client.send(lib_nfs.any_bytes)                 # raw

Every procedure returns a Reply with `status` and what RFC 1813 names; a `wcc` has `before` and `after`. What may be absent is
None then. A reply that has bytes left, or too few, fails the test.

A script's checks are functions that take a Place; `run` tries them all and tells which failed.
"""
import inspect
import itertools
import os
import random
import socket
import stat
import struct
import sys
import traceback
from types import SimpleNamespace as Reply

NFS, MOUNT = 100003, 100005
VERSION = 3
LAST_FRAGMENT = 1 << 31
AUTH_NONE, AUTH_SYS = 0, 1

STATUS = {
    0: "OK", 1: "PERM", 2: "NOENT", 5: "IO", 6: "NXIO", 13: "ACCES", 17: "EXIST", 18: "XDEV", 19: "NODEV", 20: "NOTDIR",
    21: "ISDIR", 22: "INVAL", 27: "FBIG", 28: "NOSPC", 30: "ROFS", 31: "MLINK", 63: "NAMETOOLONG", 66: "NOTEMPTY",
    69: "DQUOT", 70: "STALE", 71: "REMOTE", 10001: "BADHANDLE", 10002: "NOT_SYNC", 10003: "BAD_COOKIE", 10004: "NOTSUPP",
    10005: "TOOSMALL", 10006: "SERVERFAULT", 10007: "BADTYPE", 10008: "JUKEBOX",
}
ACCEPTED = ["SUCCESS", "PROG_UNAVAIL", "PROG_MISMATCH", "PROC_UNAVAIL", "GARBAGE_ARGS", "SYSTEM_ERR"]
AUTHENTICATION = ["OK", "BADCRED", "REJECTEDCRED", "BADVERF", "REJECTEDVERF", "TOOWEAK", "INVALIDRESP", "FAILED"]

(NULL, GETATTR, SETATTR, LOOKUP, ACCESS, READLINK, READ, WRITE, CREATE, MKDIR, SYMLINK, MKNOD, REMOVE, RMDIR, RENAME, LINK,
 READDIR, READDIRPLUS, FSSTAT, FSINFO, PATHCONF, COMMIT) = range(22)
ACCESS_READ, ACCESS_LOOKUP, ACCESS_MODIFY, ACCESS_EXTEND, ACCESS_DELETE, ACCESS_EXECUTE = (1 << bit for bit in range(6))
ACCESS_ALL = 63
UNSTABLE, DATA_SYNC, FILE_SYNC = range(3)
UNCHECKED, GUARDED, EXCLUSIVE = range(3)
REGULAR, DIRECTORY, BLOCK, CHARACTER, SYMBOLIC_LINK, SOCKET, FIFO = range(1, 8)
TYPES = {stat.S_IFREG: REGULAR, stat.S_IFDIR: DIRECTORY, stat.S_IFBLK: BLOCK, stat.S_IFCHR: CHARACTER,
         stat.S_IFLNK: SYMBOLIC_LINK, stat.S_IFSOCK: SOCKET, stat.S_IFIFO: FIFO}
SERVER_TIME = "server's"


class Refused(Exception):
    """The RPC layer did not let the call through; args[0] says why, by RFC 5531's names."""


class Closed(Exception):
    """The server has closed the connection."""


# --- XDR ---


def u32(*values):
    return struct.pack(f">{len(values)}I", *values)


def u64(*values):
    return struct.pack(f">{len(values)}Q", *values)


def opaque(data):
    return u32(len(data)) + data + bytes(-len(data) % 4)


def time_of(nanoseconds):
    return u32(*divmod(nanoseconds, 1_000_000_000))


def optional(value, encode):
    return u32(0) if value is None else u32(1) + encode(value)


def settable(mode=None, user=None, group=None, size=None, atime=None, mtime=None):
    """sattr3. Times: nanoseconds or SERVER_TIME."""
    return (optional(mode, u32) + optional(user, u32) + optional(group, u32) + optional(size, u64)
            + how_time(atime) + how_time(mtime))


def how_time(time):
    return u32(0) if time is None else u32(1) if time == SERVER_TIME else u32(2) + time_of(time)


class Decoder:
    def __init__(self, data):
        self._data = data
        self._at = 0

    def take(self, count):
        assert self._at + count <= len(self._data), f"the reply ends early: {len(self._data)} bytes"
        self._at += count
        return self._data[self._at - count : self._at]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.take(8))[0]

    def flag(self):
        value = self.u32()
        assert value in (0, 1), f"a boolean of {value}"
        return value == 1

    def opaque(self):
        data = self.take(self.u32())
        assert self.take(-len(data) % 4).strip(b"\0") == b"", "the padding is not zero"
        return data

    def optional(self, decode):
        return decode() if self.flag() else None

    def status(self):
        number = self.u32()
        return STATUS.get(number, f"unknown {number}")

    def time(self):
        seconds, nanoseconds = self.u32(), self.u32()
        assert nanoseconds < 1_000_000_000
        return seconds * 1_000_000_000 + nanoseconds

    def attributes(self):
        found = Reply(type=self.u32(), mode=self.u32(), links=self.u32(), user=self.u32(), group=self.u32(), size=self.u64(),
                      used=self.u64(), device=(self.u32(), self.u32()), file_system=self.u64(), fileid=self.u64())
        found.atime, found.mtime, found.ctime = self.time(), self.time(), self.time()
        return found

    def post_op(self):
        return self.optional(self.attributes)

    def wcc(self):
        before = self.optional(lambda: Reply(size=self.u64(), mtime=self.time(), ctime=self.time()))
        return Reply(before=before, after=self.post_op())

    def rest(self):
        return self.take(len(self._data) - self._at)

    def finish(self):
        assert self._at == len(self._data), f"{len(self._data) - self._at} bytes are left in the reply"


# --- RPC ---


def record(call):
    return u32(len(call) | LAST_FRAGMENT) + call


def credential(flavor, body=b""):
    return u32(flavor) + opaque(body)


class Client:
    """One connection. `user`, `group` and `groups` go out with every call and may be changed between calls."""

    _xids = itertools.count(random.randrange(1 << 30))

    def __init__(self, port, user=0, group=0, groups=(), address="127.0.0.1"):
        self.port = port
        self.user, self.group, self.groups = user, group, list(groups)
        self.socket = socket.create_connection(("127.0.0.1", port), 20, (address, 0))
        self.socket.settimeout(20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def next_xid(self):
        return next(self._xids) & 0xFFFFFFFF

    def own_credential(self):
        return credential(AUTH_SYS, u32(0) + opaque(b"test") + u32(self.user, self.group, len(self.groups), *self.groups))

    def message(self, procedure, body=b"", program=NFS, version=VERSION, xid=None, rpc_version=2, cred=None, verifier=None):
        """The bytes of a call, without the record mark."""
        return (u32(self.next_xid() if xid is None else xid, 0, rpc_version, program, version, procedure)
                + (self.own_credential() if cred is None else cred) + (credential(AUTH_NONE) if verifier is None else verifier)
                + body)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (ConnectionError, BrokenPipeError):
            raise Closed from None

    def _receive_exactly(self, count):
        while len(self._received) < count:
            try:
                piece = self.socket.recv(1 << 20)
            except ConnectionError:
                raise Closed from None
            if not piece:
                raise Closed
            self._received += piece
        data, self._received = self._received[:count], self._received[count:]
        return data

    def receive(self):
        """One record, whole."""
        whole = b""
        while True:
            (mark,) = struct.unpack(">I", self._receive_exactly(4))
            whole += self._receive_exactly(mark & ~LAST_FRAGMENT)
            if mark & LAST_FRAGMENT:
                return whole

    def exchange(self, message):
        """Sends a call's bytes; returns the reply's."""
        self.send(record(message))
        reply = self.receive()
        assert reply[:4] == message[:4], "a reply to another call"
        return reply

    def call(self, procedure, body=b"", **words):
        return results_of(self.exchange(self.message(procedure, body, **words)))

    def _nfs(self, procedure, body, decode):
        results = self.call(procedure, body)
        reply = decode(results)
        results.finish()
        return reply

    # --- MOUNT ---

    def mount(self, path):
        results = self.call(1, opaque(os.fsencode(path)), program=MOUNT)
        number = results.u32()
        reply = Reply(status=STATUS.get(number, number), handle=None, flavors=[])
        if number == 0:
            reply.handle = results.opaque()
            reply.flavors = [results.u32() for _ in range(results.u32())]
        results.finish()
        return reply

    def mounts(self):
        results, found = self.call(2, program=MOUNT), []
        while results.flag():
            found.append((results.opaque(), results.opaque()))
        results.finish()
        return found

    def unmount(self, path):
        self.call(3, opaque(os.fsencode(path)), program=MOUNT).finish()

    def unmount_all(self):
        self.call(4, program=MOUNT).finish()

    def exports(self):
        results, found = self.call(5, program=MOUNT), []
        while results.flag():
            path, groups = results.opaque(), []
            while results.flag():
                groups.append(results.opaque())
            found.append((path, groups))
        results.finish()
        return found

    # --- NFS, in RFC 1813's order ---

    def null(self):
        self.call(NULL).finish()

    def getattr(self, handle):
        def decode(results):
            status = results.status()
            return Reply(status=status, attributes=results.attributes() if status == "OK" else None)
        return self._nfs(GETATTR, opaque(handle), decode)

    def setattr(self, handle, guard=None, **wanted):
        """`guard`: the ctime, in nanoseconds, that the file must have."""
        return self._nfs(SETATTR, opaque(handle) + settable(**wanted) + optional(guard, time_of),
                         lambda results: Reply(status=results.status(), wcc=results.wcc()))

    def lookup(self, directory, name):
        def decode(results):
            reply = Reply(status=results.status(), handle=None, attributes=None)
            if reply.status == "OK":
                reply.handle, reply.attributes = results.opaque(), results.post_op()
            reply.directory = results.post_op()
            return reply
        return self._nfs(LOOKUP, where(directory, name), decode)

    def access(self, handle, wanted=ACCESS_ALL):
        def decode(results):
            reply = Reply(status=results.status(), attributes=results.post_op(), granted=None)
            if reply.status == "OK":
                reply.granted = results.u32()
            return reply
        return self._nfs(ACCESS, opaque(handle) + u32(wanted), decode)

    def readlink(self, handle):
        def decode(results):
            reply = Reply(status=results.status(), attributes=results.post_op(), target=None)
            if reply.status == "OK":
                reply.target = results.opaque()
            return reply
        return self._nfs(READLINK, opaque(handle), decode)

    def read(self, handle, offset, count):
        def decode(results):
            reply = Reply(status=results.status(), attributes=results.post_op(), count=None, eof=None, data=None)
            if reply.status == "OK":
                reply.count, reply.eof, reply.data = results.u32(), results.flag(), results.opaque()
                assert reply.count == len(reply.data) <= count, "READ's count is not that of its bytes"
            return reply
        return self._nfs(READ, opaque(handle) + u64(offset) + u32(count), decode)

    def write(self, handle, offset, data, stable=UNSTABLE, count=None):
        def decode(results):
            reply = Reply(status=results.status(), wcc=results.wcc(), count=None, committed=None, verifier=None)
            if reply.status == "OK":
                reply.count, reply.committed, reply.verifier = results.u32(), results.u32(), results.take(8)
            return reply
        count = len(data) if count is None else count
        return self._nfs(WRITE, opaque(handle) + u64(offset) + u32(count, stable) + opaque(data), decode)

    def create(self, directory, name, how=UNCHECKED, verifier=None, **wanted):
        words = verifier if how == EXCLUSIVE else settable(**wanted)
        return self._made(CREATE, where(directory, name) + u32(how) + words)

    def mkdir(self, directory, name, **wanted):
        return self._made(MKDIR, where(directory, name) + settable(**wanted))

    def symlink(self, directory, name, target, **wanted):
        return self._made(SYMLINK, where(directory, name) + settable(**wanted) + opaque(target))

    def mknod(self, directory, name, kind, device=(0, 0), **wanted):
        words = settable(**wanted) if kind in (SOCKET, FIFO) else b""
        if kind in (CHARACTER, BLOCK):
            words = settable(**wanted) + u32(*device)
        return self._made(MKNOD, where(directory, name) + u32(kind) + words)

    def _made(self, procedure, body):
        def decode(results):
            reply = Reply(status=results.status(), handle=None, attributes=None)
            if reply.status == "OK":
                reply.handle, reply.attributes = results.optional(results.opaque), results.post_op()
            reply.wcc = results.wcc()
            return reply
        return self._nfs(procedure, body, decode)

    def remove(self, directory, name):
        return self._nfs(REMOVE, where(directory, name), lambda results: Reply(status=results.status(), wcc=results.wcc()))

    def rmdir(self, directory, name):
        return self._nfs(RMDIR, where(directory, name), lambda results: Reply(status=results.status(), wcc=results.wcc()))

    def rename(self, directory, name, other_directory, other_name):
        return self._nfs(RENAME, where(directory, name) + where(other_directory, other_name),
                         lambda results: Reply(status=results.status(), wcc=results.wcc(), other_wcc=results.wcc()))

    def link(self, handle, directory, name):
        return self._nfs(LINK, opaque(handle) + where(directory, name),
                         lambda results: Reply(status=results.status(), attributes=results.post_op(), wcc=results.wcc()))

    def readdir(self, directory, cookie=0, verifier=bytes(8), count=4096):
        body = opaque(directory) + u64(cookie) + verifier + u32(count)
        return self._listed(READDIR, body, lambda results: Reply(
            fileid=results.u64(), name=results.opaque(), cookie=results.u64()))

    def readdirplus(self, directory, cookie=0, verifier=bytes(8), count=4096, maximum=32768):
        body = opaque(directory) + u64(cookie) + verifier + u32(count, maximum)
        return self._listed(READDIRPLUS, body, lambda results: Reply(
            fileid=results.u64(), name=results.opaque(), cookie=results.u64(), attributes=results.post_op(),
            handle=results.optional(results.opaque)))

    def _listed(self, procedure, body, decode_entry):
        results = self.call(procedure, body)
        reply = Reply(status=results.status(), directory=results.post_op(), entries=[], eof=None, verifier=None)
        if reply.status == "OK":
            reply.verifier = results.take(8)
            while results.flag():
                reply.entries.append(decode_entry(results))
            reply.eof = results.flag()
        reply.bytes = results._at - 4  # of the struct that the client's counts are about
        results.finish()
        return reply

    def fsstat(self, handle):
        return self._about(FSSTAT, handle, lambda results: dict(
            bytes_total=results.u64(), bytes_free=results.u64(), bytes_available=results.u64(), files_total=results.u64(),
            files_free=results.u64(), files_available=results.u64(), steady_seconds=results.u32()))

    def fsinfo(self, handle):
        return self._about(FSINFO, handle, lambda results: dict(
            read_max=results.u32(), read_preferred=results.u32(), read_multiple=results.u32(), write_max=results.u32(),
            write_preferred=results.u32(), write_multiple=results.u32(), directory_preferred=results.u32(),
            size_max=results.u64(), time_delta=results.time(), properties=results.u32()))

    def pathconf(self, handle):
        return self._about(PATHCONF, handle, lambda results: dict(
            links_max=results.u32(), name_max=results.u32(), no_truncation=results.flag(), chown_restricted=results.flag(),
            case_insensitive=results.flag(), case_preserving=results.flag()))

    def _about(self, procedure, handle, decode_rest):
        def decode(results):
            reply = Reply(status=results.status(), attributes=results.post_op())
            if reply.status == "OK":
                reply.__dict__.update(decode_rest(results))
            return reply
        return self._nfs(procedure, opaque(handle), decode)

    def commit(self, handle, offset=0, count=0):
        def decode(results):
            reply = Reply(status=results.status(), wcc=results.wcc(), verifier=None)
            if reply.status == "OK":
                reply.verifier = results.take(8)
            return reply
        return self._nfs(COMMIT, opaque(handle) + u64(offset) + u32(count), decode)


# Calls of processes that were forked are not each other's repetitions.
os.register_at_fork(after_in_child=lambda: setattr(Client, "_xids", itertools.count(random.randrange(1 << 30))))


def where(directory, name):
    return opaque(directory) + opaque(name)


def results_of(reply):
    """The Decoder of a reply's results. Raises Refused."""
    decoder = Decoder(reply[4:])
    assert decoder.u32() == 1, "not a reply"
    if decoder.u32() == 1:  # denied
        if decoder.u32() == 0:
            raise Refused("RPC_MISMATCH", decoder.u32(), decoder.u32())
        raise Refused("AUTH_" + AUTHENTICATION[decoder.u32()])
    decoder.u32()
    decoder.opaque()
    accepted = ACCEPTED[decoder.u32()]
    if accepted == "PROG_MISMATCH":
        raise Refused(accepted, decoder.u32(), decoder.u32())
    if accepted != "SUCCESS":
        decoder.finish()
        raise Refused(accepted)
    return decoder


# --- checks ---


class Place:
    """A new directory for one check: `path` in the backing, `handle` over NFS."""

    def __init__(self, port, source, name):
        self.port = port
        self.source = source
        self.path = os.path.join(source, name)
        os.mkdir(self.path)
        os.chmod(self.path, 0o777)
        self.client = Client(port)
        self.root = self.client.mount("/").handle
        self.handle = expect(self.client.lookup(self.root, name.encode()), "OK").handle

    def at(self, name):
        return os.path.join(os.fsencode(self.path), os.fsencode(name))

    def file(self, name, data=b"", mode=0o644, owner=0, group=0):
        """Makes it in the backing; returns its handle."""
        with open(self.at(name), "wb") as file:
            file.write(data)
        os.chown(self.at(name), owner, group)
        os.chmod(self.at(name), mode)
        return self.find(name)

    def folder(self, name, mode=0o755, owner=0, group=0):
        os.mkdir(self.at(name))
        os.chown(self.at(name), owner, group)
        os.chmod(self.at(name), mode)
        return self.find(name)

    def find(self, name):
        handle = self.handle
        for part in os.fsencode(name).split(b"/"):
            handle = expect(self.client.lookup(handle, part), "OK").handle
        return handle

    def read(self, name):
        with open(self.at(name), "rb") as file:
            return file.read()

    def exists(self, name):
        return os.path.lexists(self.at(name))

    def as_user(self, user, groups=()):
        return Client(self.port, user, user, groups)


def expect(reply, *statuses):
    assert reply.status in statuses, f"the status is {reply.status}, not {' or '.join(statuses)}"
    return reply


def expect_refusal(reason, call, *arguments, **words):
    try:
        call(*arguments, **words)
    except Refused as refused:
        assert refused.args[0] == reason, f"refused with {refused.args}, not {reason}"
        return refused.args[1:]
    raise AssertionError(f"not refused with {reason}")


def same_attributes(found, path):
    """What the server says of a file is what the backing says."""
    assert found is not None, "no attributes"
    true = os.lstat(path)
    told = dict(type=found.type, mode=found.mode & 0o7777, links=found.links, user=found.user, group=found.group,
                size=found.size, used=found.used, fileid=found.fileid, atime=found.atime, mtime=found.mtime, ctime=found.ctime)
    wanted = dict(type=TYPES[stat.S_IFMT(true.st_mode)], mode=stat.S_IMODE(true.st_mode), links=true.st_nlink, user=true.st_uid,
                  group=true.st_gid, size=true.st_size, used=true.st_blocks * 512, fileid=true.st_ino, atime=true.st_atime_ns,
                  mtime=true.st_mtime_ns, ctime=true.st_ctime_ns)
    if found.type in (BLOCK, CHARACTER):
        told["device"], wanted["device"] = found.device, (os.major(true.st_rdev), os.minor(true.st_rdev))
    if found.type in (DIRECTORY, SYMBOLIC_LINK):
        del told["atime"]  # looking changes it, and by Linux's rules not always
    wrong = {key: (told[key], wanted[key]) for key in told if told[key] != wanted[key]}
    assert not wrong, f"attributes (told, true): {wrong}"


def state_of(path):
    """What a wcc's `before` is to say, if it is asked for now."""
    true = os.lstat(path)
    return Reply(size=true.st_size, mtime=true.st_mtime_ns, ctime=true.st_ctime_ns)


def same_wcc(wcc, before, path):
    assert wcc.before is not None, "no attributes from before"
    assert wcc.after is not None, "no attributes from after"
    assert wcc.before == before, f"attributes from before (told, true): {wcc.before}, {before}"
    same_attributes(wcc.after, path)


def run(names, port, source):
    """Calls each function of `names` whose one parameter is `place`, in a directory of its own. Exits with 1 if any failed."""
    failed = 0
    checks = [value for value in names.values() if inspect.isfunction(value)]
    for check in [value for value in checks if list(inspect.signature(value).parameters) == ["place"]]:
        try:
            place = Place(port, source, check.__name__)
            check(place)
            place.client.null()
            place.client.close()
        except Exception as error:
            failed += 1
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == sys.argv[0]]
            line = frames[-1].lineno if frames else "?"
            print(f"{check.__name__}, line {line}: {str(error) or repr(error)}", file=sys.stderr)
    sys.exit(1 if failed else 0)
