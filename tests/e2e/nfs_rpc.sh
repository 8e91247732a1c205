#!/bin/bash
# The RPC below NFS, by RFC 5531: what is refused and how, calls in pieces and in heaps, calls that are sent again after the
# connection broke, and garbage, which hurts nobody but its sender. A gateway with a sanitizer uses several times the memory:
# SLACK_MIB=500.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_root

mkdir "$WORK/source"
choose_nfs_port
start_nfs_server "${NFS_AT_ONCE[@]}" --nfs-squash none "$WORK/source" "$NFS_PORT"
cat >"$WORK/checks.py" <<'PYTHON'
import os, random, socket, stat, struct, sys
from lib_nfs import *

NLM, NFSACL = 100021, 100227

def who_is_not_there(place):
    client = place.client
    for program in (NLM, NFSACL, 100000, 0, 0xFFFFFFFF):
        expect_refusal("PROG_UNAVAIL", client.call, NULL, program=program)
    for version in (0, 2, 4, 0xFFFFFFFF):
        assert expect_refusal("PROG_MISMATCH", client.call, NULL, version=version) == (3, 3)
    lowest, highest = expect_refusal("PROG_MISMATCH", client.call, NULL, program=MOUNT, version=4)
    assert lowest <= 3 == highest
    for procedure in (22, 100, 0xFFFFFFFF):
        expect_refusal("PROC_UNAVAIL", client.call, procedure)
    expect_refusal("PROC_UNAVAIL", client.call, 6, program=MOUNT)
    for version in (0, 1, 3):
        assert expect_refusal("RPC_MISMATCH", client.call, NULL, rpc_version=version) == (2, 2)

def credentials(place):
    client = place.client
    handle = opaque(place.handle)
    client.call(NULL, cred=credential(AUTH_NONE)).finish()
    client.call(NULL, program=MOUNT, cred=credential(AUTH_NONE)).finish()
    try:  # nobody's, or too weak
        client.call(GETATTR, handle, cred=credential(AUTH_NONE))
    except Refused as refused:
        assert refused.args[0] == "AUTH_TOOWEAK", refused
    for flavor in (2, 3, 99, 0xFFFFFFFF):
        try:
            client.call(GETATTR, handle, cred=credential(flavor))
        except Refused as refused:
            assert refused.args[0] in ("AUTH_BADCRED", "AUTH_REJECTEDCRED", "AUTH_TOOWEAK"), (flavor, refused)
        else:
            raise AssertionError(f"the unknown flavor {flavor} will do")
    name = opaque(b"m")
    for bad in (b"", u32(0), u32(0) + name + u32(0, 0), u32(0) + name + u32(0, 0, 17) + u32(*range(17)),
                u32(0) + name + u32(0, 0, 5) + u32(1, 2), u32(0) + name + u32(0, 0, 0xFFFFFFFF),
                u32(0) + u32(256) + bytes(256) + u32(0, 0, 0), u32(0) + u32(0xFFFFFFFF) + bytes(20)):
        try:
            client.call(GETATTR, handle, cred=credential(AUTH_SYS, bad))
        except Refused as refused:
            assert refused.args[0] in ("AUTH_BADCRED", "AUTH_REJECTEDCRED", "GARBAGE_ARGS"), (bad, refused)
        else:
            raise AssertionError(f"these credentials will do: {bad}")
    whole = u32(0) + opaque(b"n" * 255) + u32(1, 1, 16) + u32(*range(16))
    client.call(GETATTR, handle, cred=credential(AUTH_SYS, whole))

def groups_count(place):
    place.file("file", b"for the group", 0o640, 0, 3456)
    handle = place.find("file")
    assert place.as_user(1000, [*range(5000, 5015), 3456]).read(handle, 0, 100).data == b"for the group"
    expect(place.as_user(1000, range(5000, 5016)).read(handle, 0, 100), "ACCES")
    assert Client(place.port, 1000, 3456).read(handle, 0, 100).data == b"for the group"
    # One connection, many callers.
    client = place.client
    for user, status in ((1000, "ACCES"), (0, "OK"), (1001, "ACCES"), (0, "OK")):
        client.user = client.group = user
        expect(client.read(handle, 0, 100), status)
    client.user = client.group = 0

def arguments_that_are_none(place):
    client = place.client
    place.file("file", b"untouched")
    handle = place.find("file")
    whole = {
        GETATTR: opaque(handle), SETATTR: opaque(handle) + settable(size=0) + u32(0), LOOKUP: where(place.handle, b"file"),
        ACCESS: opaque(handle) + u32(1), READLINK: opaque(handle), READ: opaque(handle) + u64(0) + u32(10),
        WRITE: opaque(handle) + u64(0) + u32(4, 0) + opaque(b"data"), CREATE: where(place.handle, b"new") + u32(0) + settable(),
        MKDIR: where(place.handle, b"new") + settable(), SYMLINK: where(place.handle, b"new") + settable() + opaque(b"target"),
        MKNOD: where(place.handle, b"new") + u32(FIFO) + settable(), REMOVE: where(place.handle, b"file"),
        RMDIR: where(place.handle, b"file"), RENAME: where(place.handle, b"file") + where(place.handle, b"new"),
        LINK: opaque(handle) + where(place.handle, b"new"), READDIR: opaque(place.handle) + u64(0) + bytes(8) + u32(1000),
        READDIRPLUS: opaque(place.handle) + u64(0) + bytes(8) + u32(1000, 1000), FSSTAT: opaque(handle), FSINFO: opaque(handle),
        PATHCONF: opaque(handle), COMMIT: opaque(handle) + u64(0) + u32(0),
    }
    assert sorted(whole) == list(range(1, 22))
    for procedure, body in whole.items():
        for length in sorted({*range(0, len(body), 4)}):
            expect_refusal("GARBAGE_ARGS", client.call, procedure, body[:length])
        expect_refusal("GARBAGE_ARGS", client.call, procedure, u32(0xFFFFFFFF) + body[4:])
        expect_refusal("GARBAGE_ARGS", client.call, procedure, u32(65) + bytes(68) + body)
    for number, bad in ((CREATE, where(place.handle, b"new") + u32(3) + settable()),
                        (WRITE, opaque(handle) + u64(0) + u32(4, 3) + opaque(b"data")),
                        (SETATTR, opaque(handle) + u32(2, 0, 0, 0, 0, 0, 0, 0)),
                        (SETATTR, opaque(handle) + u32(0, 0, 0, 0, 3, 0, 0, 0, 0))):
        try:
            results = client.call(number, bad)
            assert results.status() in ("INVAL", "BADTYPE"), number
        except Refused as refused:
            assert refused.args[0] == "GARBAGE_ARGS", refused
    assert os.listdir(place.path) == ["file"] and place.read("file") == b"untouched"

def calls_in_pieces(place):
    client = place.client
    call = client.message(GETATTR, opaque(place.handle))
    for size in (1, 3, 4, 7, 40):
        pieces = [call[at : at + size] for at in range(0, len(call), size)]
        fragments = [u32(len(piece)) + piece for piece in pieces[:-1]] + [record(pieces[-1])]
        client.send(b"".join(fragments))
        assert results_of(client.receive()).status() == "OK"
    client.send(u32(0) + u32(0) + u32(len(call)) + call + u32(LAST_FRAGMENT))  # empty ones too
    assert results_of(client.receive()).status() == "OK"
    for byte in record(call):
        client.send(bytes([byte]))
    assert results_of(client.receive()).status() == "OK"
    data = os.urandom(100_000)
    place.file("file")
    call = client.message(WRITE, opaque(place.find("file")) + u64(0) + u32(len(data), FILE_SYNC) + opaque(data))
    fragments = [u32(1000) + call[at : at + 1000] for at in range(0, len(call) - 1000, 1000)]
    client.send(b"".join(fragments) + record(call[len(fragments) * 1000 :]))
    assert results_of(client.receive()).status() == "OK"
    assert place.read("file") == data

def writes_in_pieces(place):
    """Their data are used as they come: wherever the stream is cut, and whatever follows."""
    client, random_ = place.client, random.Random(1)
    handle = place.file("file")
    expected, end, stream, calls = bytearray(3 << 20), 0, b"", 0
    for size in (1, 3, 4, 4095, 4096, 4097, 8192, 16384, 65_537, 200_001, 1 << 20):
        offset, data = end + random_.randrange(5000), os.urandom(size)  # apart: they may run in any order
        end = offset + size
        count = size - random_.choice((0, 0, 1, size - 1))  # less than there is
        expected[offset : offset + count] = data[:count]
        stream += record(client.message(WRITE, opaque(handle) + u64(offset) + u32(count, FILE_SYNC) + opaque(data)))
        stream += record(client.message(GETATTR, opaque(handle)))
        calls += 2
        if size != 1 << 20:
            continue
        for most in (1 << 21, 30_000, 1000):
            at = 0
            while at < len(stream):
                piece = random_.randrange(most) + 1
                client.send(stream[at : at + piece])
                at += piece
            for _ in range(calls):
                assert results_of(client.receive()).status() == "OK"
            content = place.read("file")
            assert content == expected[: len(content)] and not any(expected[len(content) :])
            os.truncate(place.at("file"), 0)
    call = record(client.message(WRITE, opaque(handle) + u64(0) + u32(200, FILE_SYNC) + opaque(data[:200])))
    for byte in call + record(client.message(GETATTR, opaque(handle))):
        client.send(bytes([byte]))
    for _ in range(2):
        assert results_of(client.receive()).status() == "OK"
    assert place.read("file") == data[:200]

def writes_that_do_not_end(place):
    """Many of them take no memory that others need, and change nothing."""
    data = os.urandom(4 << 20)
    handle = place.file("file", data)
    clients = [Client(place.port) for _ in range(100)]
    call = record(place.client.message(WRITE, opaque(handle) + u64(0) + u32(1 << 20, UNSTABLE) + opaque(bytes(1 << 20))))
    for client in clients:
        client.send(call[:-100_000])
    for offset in range(0, len(data), 1 << 20):
        assert place.client.read(handle, offset, 1 << 20).data == data[offset : offset + (1 << 20)]
    expect(place.client.write(handle, 0, data[: 1 << 20]), "OK")
    for client in clients[::2]:
        client.close()
    for client in clients[1::2]:
        client.send(call[-100_000:])
        assert results_of(client.receive()).status() == "OK"
        client.close()
    assert place.read("file") == bytes(1 << 20) + data[1 << 20 :]

def calls_in_heaps(place):
    client = place.client
    data = os.urandom(1 << 20)
    handle = place.file("file", data)
    waiting = {}
    heap = b""
    for i in range(500):
        offset, count = random.Random(i).randrange(1 << 20), i * 7
        xid = client.next_xid()
        waiting[xid] = data[offset : offset + count]
        heap += record(client.message(READ, opaque(handle) + u64(offset) + u32(count), xid=xid))
    client.send(heap)
    while waiting:
        reply = client.receive()
        results = results_of(reply)
        wanted = waiting.pop(struct.unpack(">I", reply[:4])[0])
        assert results.status() == "OK"
        results.post_op()
        count, _ = results.u32(), results.flag()
        assert results.opaque() == wanted and count == len(wanted)
    # Writes of one client, all under way together.
    order = [os.urandom(4096) for _ in range(200)]
    for i, piece in enumerate(order):
        client.send(record(client.message(WRITE, opaque(handle) + u64(i * 4096) + u32(4096, UNSTABLE) + opaque(piece))))
    for _ in order:
        assert results_of(client.receive()).status() == "OK"
    expect(client.commit(handle), "OK")
    assert place.read("file")[: 200 * 4096] == b"".join(order)

def calls_that_are_answered_at_once(place):
    """More of them in one piece than a connection may have under way."""
    client = place.client
    xids = [client.next_xid() for _ in range(3000)]
    client.send(b"".join(record(client.message(NULL, xid=xid, cred=credential(AUTH_NONE))) for xid in xids))
    for xid in xids:
        reply = client.receive()
        assert reply[:4] == u32(xid)
        results_of(reply).finish()

def calls_before_the_end(place):
    """All that was sent before the client's FIN is answered, however much that is, and then the connection ends."""
    for chosen in (NULL, LOOKUP, WRITE, None):
        client = Client(place.port)
        handle = place.file("file", b"x" * 1000)
        bodies = {NULL: b"", LOOKUP: where(place.handle, b"file"),
                  WRITE: opaque(handle) + u64(0) + u32(1000, UNSTABLE) + opaque(bytes(1000))}
        xids = [client.next_xid() for _ in range(1500)]
        for number, xid in enumerate(xids):
            procedure = (NULL, LOOKUP, WRITE)[number % 3] if chosen is None else chosen
            client.send(record(client.message(procedure, bodies[procedure], xid=xid)))
        client.send(record(client.message(NULL))[:-4])  # not whole, so no call
        client.socket.shutdown(socket.SHUT_WR)
        told = set()
        for answered in range(len(xids)):
            try:
                reply = client.receive()
            except Closed:
                raise AssertionError(f"{answered} of {len(xids)} calls are answered") from None
            results_of(reply)
            told.add(struct.unpack(">I", reply[:4])[0])
        assert told == set(xids)
        try:
            client.receive()
            raise AssertionError("more replies than calls")
        except Closed:
            pass

def memory():
    with open(f"/proc/{sys.argv[3]}/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))

def listings_that_nobody_reads(place):
    """They wait in the server, but not all that a client may ask for."""
    for i in range(5000):
        open(place.at(b"f%0100d" % i), "x").close()
    body = opaque(place.handle) + u64(0) + bytes(8) + u32(1 << 20, 1 << 20)
    assert len(place.client.exchange(place.client.message(READDIRPLUS, body))) > 900_000
    before = memory()
    slow = [Client(place.port) for _ in range(2)]
    for client in slow:
        for _ in range(90):
            client.send(record(client.message(READDIRPLUS, body)))
    for _ in range(500):
        expect(place.client.getattr(place.handle), "OK")
        expect(place.client.lookup(place.handle, b"f%0100d" % 7), "OK")
    grown = memory() - before
    assert grown < 60 + int(os.environ.get("SLACK_MIB", 0)) << 20, f"{grown >> 20} MiB for two clients"
    for client in slow:
        for _ in range(90):
            assert results_of(client.receive()).status() == "OK"

def replies_to_who_reads_late(place):
    handle = place.file("file", bytes(1 << 20))
    slow = Client(place.port)
    for _ in range(60):  # more than sockets hold
        slow.send(record(slow.message(READ, opaque(handle) + u64(0) + u32(1 << 20))))
    for _ in range(50):
        expect(place.client.getattr(handle), "OK")
    for _ in range(60):
        assert results_of(slow.receive()).status() == "OK"

def sent_again(place):
    """The connection broke before the reply was read, so the client asks again, with the same bytes, on a new one."""
    client = place.client
    place.file("removed")
    place.file("renamed")
    place.file("linked")
    place.folder("gone")
    guarded = place.file("guarded")
    ctime = client.getattr(guarded).attributes.ctime
    calls = {
        "REMOVE": (REMOVE, where(place.handle, b"removed")), "RMDIR": (RMDIR, where(place.handle, b"gone")),
        "RENAME": (RENAME, where(place.handle, b"renamed") + where(place.handle, b"new name")),
        "LINK": (LINK, opaque(place.find("linked")) + where(place.handle, b"link")),
        "CREATE": (CREATE, where(place.handle, b"created") + u32(GUARDED) + settable(mode=0o600)),
        "MKDIR": (MKDIR, where(place.handle, b"made") + settable()),
        "SYMLINK": (SYMLINK, where(place.handle, b"symlink") + settable() + opaque(b"target")),
        "MKNOD": (MKNOD, where(place.handle, b"fifo") + u32(FIFO) + settable()),
        "SETATTR": (SETATTR, opaque(guarded) + settable(mode=0o640) + u32(1) + time_of(ctime)),
    }
    for name, (procedure, body) in calls.items():
        message = client.message(procedure, body)
        first = client.exchange(message)
        assert results_of(first).status() == "OK", name
        for _ in range(2):
            with Client(place.port) as again:
                second = again.exchange(message)
                assert second == first, f"{name} again: {results_of(second).status()}"
    assert sorted(os.listdir(place.path)) == sorted(
        ["created", "fifo", "guarded", "link", "linked", "made", "new name", "symlink"])

def sent_again_with_another_stamp(place):
    """The first word of an AUTH_SYS credential, in which some clients have the time."""
    place.file("file")
    def removal(stamp):
        cred = credential(AUTH_SYS, u32(stamp) + opaque(b"test") + u32(0, 0, 0))
        return place.client.message(REMOVE, where(place.handle, b"file"), xid=place.client.next_xid() if stamp == 1 else xid,
                                    cred=cred)
    first = removal(1)
    xid = struct.unpack(">I", first[:4])[0]
    assert results_of(place.client.exchange(first)).status() == "OK"
    with Client(place.port) as again:
        assert results_of(again.exchange(removal(2))).status() == "OK"

def sent_again_and_not_the_same(place):
    client = place.client
    place.file("file")
    message = client.message(REMOVE, where(place.handle, b"file"))
    assert results_of(client.exchange(message)).status() == "OK"
    other = client.message(REMOVE, where(place.handle, b"another"), xid=struct.unpack(">I", message[:4])[0])
    assert results_of(client.exchange(other)).status() == "NOENT", "another call gets the answer of the one with its number"
    with Client(place.port, address="127.0.0.2") as neighbour:
        assert results_of(neighbour.exchange(message)).status() == "NOENT", "another client gets this one's answer"
    # A new call is carried out, however much it looks like one that was answered.
    for _ in range(3):
        assert client.create(place.handle, b"file", GUARDED).status == "OK"
        assert client.remove(place.handle, b"file").status == "OK"
    # What changes nothing is not remembered.
    handle = place.file("growing", b"1")
    message = client.message(GETATTR, opaque(handle))
    client.exchange(message)
    place.file("growing", b"1234")
    results = results_of(client.exchange(message))
    assert results.status() == "OK" and results.attributes().size == 4

def sent_twice_at_once(place):
    """Both on their way: one is carried out, and both hear of that one."""
    for i in range(20):
        name = b"file%d" % i
        place.file(name)
        one, other = Client(place.port), Client(place.port)
        message = one.message(REMOVE, where(place.handle, name))
        one.send(record(message))
        other.send(record(message))
        told = []
        for client in (one, other):
            told.append(results_of(client.receive()).status())
            client.close()
        assert told == ["OK", "OK"], (i, told)

def closed_or_refused(client):
    """What a client may see after it sent garbage."""
    client.socket.settimeout(0.3)
    try:
        while True:
            client.receive()
    except (Closed, TimeoutError):
        pass
    client.close()

def garbage(place):
    handle = place.file("file", b"safe")
    chosen = random.Random(7)
    call = place.client.message(GETATTR, opaque(handle))
    pieces = [
        u32(0x7FFFFFFF), u32(0xFFFFFFFF) + bytes(100_000), u32(0x7FFFFFFF) + bytes(5_000_000), record(b""), record(b"abc"),
        record(call[:8]), record(call[:24]), record(call[:30]), record(call[:40]), u32(0) * 100_000, bytes(1000),
        b"\xff" * 1000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", u32(len(call) + 10 | LAST_FRAGMENT) + call,
        record(call[:4] + u32(1) + call[8:]), record(u32(7, 2) + call[8:]), record(u32(7, 1, 0, 0, 0, 0)),
    ]
    pieces += [chosen.randbytes(chosen.randrange(2000)) for _ in range(30)]
    for piece in pieces:
        bad = Client(place.port)
        try:
            bad.send(piece)
        except (Closed, TimeoutError):
            pass
        expect(place.client.getattr(handle), "OK")  # at the same time
        if chosen.random() < 0.5:
            bad.close()
        else:
            closed_or_refused(bad)

def calls_with_one_byte_changed(place):
    """Some are refused, some do something else, none ends the server, and none is answered with what is no reply."""
    chosen = random.Random(11)
    place.file("file", b"x" * 1000)
    handle = place.find("file")
    sane = [place.client.message(procedure, body) for procedure, body in (
        (READ, opaque(handle) + u64(0) + u32(1000)), (LOOKUP, where(place.handle, b"file")),
        (READDIRPLUS, opaque(place.handle) + u64(0) + bytes(8) + u32(1000, 1000)),
        (ACCESS, opaque(handle) + u32(1)), (FSINFO, opaque(handle)))]
    client = Client(place.port)
    client.socket.settimeout(0.3)
    for _ in range(600):
        call = bytearray(chosen.choice(sane))
        call[chosen.randrange(len(call))] = chosen.randrange(256)
        try:
            client.send(record(bytes(call)))
            reply = client.receive()
            assert reply[:4] == call[:4]
            results_of(reply)
        except Refused:
            pass
        except (Closed, TimeoutError):
            client.close()
            client = Client(place.port)
            client.socket.settimeout(0.3)
    expect(place.client.getattr(handle), "OK")

def many_connections(place):
    clients = [Client(place.port) for _ in range(200)]
    for client in clients:
        client.send(record(client.message(GETATTR, opaque(place.handle))))
    for client in clients:
        assert results_of(client.receive()).status() == "OK"
    for client in clients[::2]:
        client.send(record(client.message(GETATTR, opaque(place.handle)))[:-5])
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # by a reset, in the middle of a call
    for client in clients[1::2]:
        expect(client.getattr(place.handle), "OK")
        client.close()

run(dict(globals()), int(sys.argv[1]), sys.argv[2])
PYTHON
before=$(open_descriptors)
run_python - "$NFS_PORT" <<'PYTHON' || fail "writes are not counted"
import sys
from lib_nfs import *
client = Client(int(sys.argv[1]))
root = expect(client.mount("/"), "OK").handle
file = expect(client.create(root, b"counted"), "OK").handle
expect(client.write(file, 0, bytes(1000)), "OK")
expect(client.write(file, 0, bytes(30), count=20), "OK")
expect(client.write(root, 0, bytes(500)), "INVAL", "ISDIR")
expect(client.remove(root, b"counted"), "OK")
PYTHON
equal "WRITEs" "$(status nfs.writes)" 3
equal "bytes that they wrote" "$(status nfs.write_bytes)" 1020
run_python "$WORK/checks.py" "$NFS_PORT" "$WORK/source" "$GATEWAY" || fail "not as RFC 5531 says"
settled() { (($(open_descriptors) <= before + 40)); }  # it may keep some of the last files open
wait_until 20 settled || fail "connections stay open: $(open_descriptors) descriptors, and $before before"
stop_gateway
