#!/bin/bash
# READDIR and READDIRPLUS: every name once, whatever the counts; replies as small as was asked for; cookies that stay good while
# others make, remove and rename entries, and over a restart of the gateway.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_root

mkdir "$WORK/source"
choose_nfs_port
start_nfs_server "${NFS_AT_ONCE[@]}" --nfs-squash none "$WORK/source" "$NFS_PORT"
cat >"$WORK/checks.py" <<'PYTHON'
import os, random, stat, subprocess, sys
from lib_nfs import *

DOTS = {b".", b".."}

def fill(place, count, length=20):
    names = {b"%0*d" % (length, i) for i in range(count)}
    for name in names:
        os.close(os.open(place.at(name), os.O_CREAT | os.O_WRONLY, 0o644))
    return names

def pages(ask, cookie=0, verifier=bytes(8)):
    """Replies from `cookie` to the end."""
    while True:
        reply = expect(ask(cookie, verifier), "OK")
        assert reply.entries or reply.eof, "a reply with neither entries nor the end"
        yield reply
        if reply.eof:
            return
        cookie, verifier = reply.entries[-1].cookie, reply.verifier

def entries_of(ask, *start):
    return [entry for reply in pages(ask, *start) for entry in reply.entries]

def plain(place, count=4096):
    return lambda cookie, verifier: place.client.readdir(place.handle, cookie, verifier, count)

def plus(place, count=4096, maximum=8192):
    return lambda cookie, verifier: place.client.readdirplus(place.handle, cookie, verifier, count, maximum)

def every_name_once(place):
    names = fill(place, 1000)
    place.folder("folder")
    os.symlink("x", place.at("link"))
    os.mkfifo(place.at("fifo"))
    names |= {b"folder", b"link", b"fifo"}
    for ask in (plain(place), plain(place, 512), plain(place, 1 << 20), plus(place), plus(place, 512, 1024),
                plus(place, 1 << 20, 1 << 20)):
        entries = entries_of(ask)
        seen = [entry.name for entry in entries if entry.name not in DOTS]
        assert sorted(seen) == sorted(names), (len(seen), len(set(seen)), len(names))
        cookies = [entry.cookie for entry in entries]
        assert len(set(cookies)) == len(cookies) and 0 not in cookies, "cookies are not of one entry each"
        for entry in entries:
            if entry.name not in DOTS:
                assert entry.fileid == os.lstat(place.at(entry.name)).st_ino, entry
        for entry in entries:
            if entry.name == b".":
                assert entry.fileid == os.stat(place.path).st_ino
            if entry.name == b"..":
                assert entry.fileid == os.stat(place.source).st_ino

def plus_tells_what_lookup_and_getattr_do(place):
    fill(place, 50)
    place.folder("folder", 0o1751, 3, 4)
    os.symlink("x", place.at("link"))
    os.mkfifo(place.at("fifo"))
    for entry in entries_of(plus(place)):
        if entry.name in DOTS:
            continue
        assert entry.handle == place.find(entry.name), entry.name
        same_attributes(entry.attributes, place.at(entry.name))
        same_attributes(place.client.getattr(entry.handle).attributes, place.at(entry.name))

def replies_are_as_small_as_asked(place):
    fill(place, 300, 100)
    for count in (512, 1000, 1024, 4096, 8191, 32768):
        for reply in pages(plain(place, count)):
            assert reply.bytes <= count, (reply.bytes, count)
        for reply in pages(plus(place, count, count)):
            assert reply.bytes <= count, (reply.bytes, count)
        list(pages(plus(place, count, 1 << 20)))  # its first count is a hint, which Linux's server ignores
    expect(place.client.readdir(place.handle, count=20), "TOOSMALL")
    expect(place.client.readdirplus(place.handle, count=20, maximum=20), "TOOSMALL")

def from_every_cookie(place):
    fill(place, 100)
    for ask in (plain(place), plus(place, 4096, 32768)):
        entries = entries_of(ask)
        verifier = expect(ask(0, bytes(8)), "OK").verifier
        for at, entry in enumerate(entries):
            rest = entries_of(ask, entry.cookie, verifier)
            assert [other.name for other in rest] == [other.name for other in entries[at + 1 :]], (at, entry.name)
    last = expect(place.client.readdir(place.handle, entries[-1].cookie, verifier), "OK")
    assert last.eof and last.entries == []

def both_procedures_share_cookies(place):
    fill(place, 100)
    plain_entries = entries_of(plain(place))
    verifier = place.client.readdir(place.handle).verifier
    rest = entries_of(plus(place), plain_entries[40].cookie, verifier)
    assert [entry.name for entry in rest] == [entry.name for entry in plain_entries[41:]]

def while_others_change_it(place):
    chosen = random.Random(1)
    for ask in (plain(place, 1500), plus(place, 1500, 4000)):
        for name in os.listdir(place.path):
            os.unlink(place.at(name))
        staying = fill(place, 400)
        fleeting = {b"fleeting%d" % i for i in range(300)}
        for name in fleeting:
            os.close(os.open(place.at(name), os.O_CREAT, 0o644))
        seen, number = [], 0
        for reply in pages(ask):
            seen += [entry.name for entry in reply.entries]
            for name in chosen.sample(sorted(fleeting), min(20, len(fleeting))):
                fleeting.remove(name)
                if number % 2:
                    os.unlink(place.at(name))
                else:
                    expect(place.client.remove(place.handle, name), "OK")
            for _ in range(10):
                expect(place.client.create(place.handle, b"new%d" % number, GUARDED), "OK")
                os.close(os.open(place.at(b"their%d" % number), os.O_CREAT, 0o644))
                number += 1
            expect(place.client.rename(place.handle, b"new%d" % (number - 1), place.handle, b"renamed%d" % number), "OK")
            if len(seen) > 5000:
                raise AssertionError("the listing has no end")
        for name in staying:
            assert seen.count(name) == 1, f"{name} is seen {seen.count(name)} times"

def after_the_entry_of_the_cookie_is_gone(place):
    names = fill(place, 200)
    reply = expect(place.client.readdir(place.handle, count=1000), "OK")
    seen = [entry.name for entry in reply.entries]
    for name in seen:
        if name not in DOTS:
            os.unlink(place.at(name))
    seen += [entry.name for entry in entries_of(plain(place), reply.entries[-1].cookie, reply.verifier)]
    assert sorted(name for name in seen if name not in DOTS) == sorted(names)

def rm_as_linux_does(place):
    names = fill(place, 1000)
    while True:  # lists a page, removes what it saw, goes on from there
        left = 0
        for reply in pages(plain(place, 2000)):
            for entry in reply.entries:
                if entry.name not in DOTS:
                    left += 1
                    expect(place.client.remove(place.handle, entry.name), "OK")
        if not left:
            break
    assert os.listdir(place.path) == [] and names

def errors(place):
    client = place.client
    file = place.file("file")
    expect(client.readdir(file), "NOTDIR")
    expect(client.readdirplus(file), "NOTDIR")
    closed = place.folder("closed", 0o700)
    same_attributes(expect(place.as_user(1000).readdir(closed), "ACCES").directory, place.at("closed"))
    expect(place.as_user(1000).readdirplus(closed), "ACCES")
    same_attributes(expect(client.readdir(place.handle), "OK").directory, place.path)
    same_attributes(expect(client.readdirplus(place.handle), "OK").directory, place.path)
    empty = place.folder("empty")
    reply = expect(client.readdir(empty), "OK")
    assert reply.eof and {entry.name for entry in reply.entries} <= DOTS
    # Only names are to be seen without x.
    listed = place.folder("listed", 0o744)
    place.file("listed/file", b"", 0o600)
    reply = expect(place.as_user(1000).readdir(listed), "OK")
    assert b"file" in [entry.name for entry in reply.entries]
    for cookie in (1 << 63, (1 << 64) - 1, 0x7FFFFFFFFFFFFFFF, 12345678901234567):
        for call in (client.readdir, client.readdirplus):
            expect(call(place.handle, cookie), "OK", "BAD_COOKIE", "INVAL")
    for count in (0, 0xFFFFFFFF):
        expect(client.readdir(place.handle, count=count), "OK", "TOOSMALL", "INVAL")
        expect(client.readdirplus(place.handle, count=count, maximum=count), "OK", "TOOSMALL", "INVAL")

def over_a_restart(place):
    names = fill(place, 500)
    reply = expect(place.client.readdirplus(place.handle, count=2000, maximum=6000), "OK")
    seen = reply.entries
    assert not reply.eof
    print("restart", flush=True)
    assert sys.stdin.readline() == "restarted\n"
    place.client.close()
    place.client = Client(place.port)
    assert expect(place.client.getattr(seen[-1].handle), "OK").attributes.fileid == seen[-1].fileid
    seen += entries_of(plus(place), seen[-1].cookie, reply.verifier)
    assert sorted(entry.name for entry in seen if entry.name not in DOTS) == sorted(names)

run(dict(globals()), int(sys.argv[1]), sys.argv[2])
PYTHON
coproc CHECKS { run_python "$WORK/checks.py" "$NFS_PORT" "$WORK/source"; }
process=$CHECKS_PID
JOBS_OF_OURS+=("$process")
exec 6<&"${CHECKS[0]}" 7>&"${CHECKS[1]}"
if read -r -t 60 <&6; then
  equal "what the checks ask for" "$REPLY" restart
  kill_nfs_server
  start_nfs_server "${NFS_AT_ONCE[@]}" --nfs-squash none "$WORK/source" "$NFS_PORT"
  echo restarted >&7
fi
wait "$process" || fail "not as RFC 1813 says"
stop_gateway
