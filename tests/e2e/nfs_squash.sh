#!/bin/bash
# Who a caller is: root is nobody by default, everybody is with --nfs-squash all, and nobody else is somebody else. ACCESS, what
# then succeeds and whom new files belong to agree.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_root

mkdir "$WORK/source"
cat >"$WORK/checks.py" <<'PYTHON'
import os, sys
from lib_nfs import *

NOBODY = 65534
squashed = {"none": [], "root": [0], "all": [0, 1000]}[sys.argv[3]]

def callers_are_who_they_are_taken_for(place):
    for user in (0, 1000):
        is_nobody = user in squashed
        true_user = NOBODY if is_nobody else user
        client = Client(place.port, user, user, [3456])
        name = b"made by %d" % user
        made = expect(client.create(place.handle, name, GUARDED, mode=0o640), "OK")
        found = os.stat(place.at(name))
        assert (found.st_uid, found.st_gid) == (true_user, true_user), found
        assert made.attributes.user == true_user
        for owner in (0, 1000, NOBODY):
            file = place.file(f"of {owner} for {user}", b"private", 0o600, owner, owner)
            may = owner == true_user or true_user == 0
            granted = expect(client.access(file), "OK").granted
            assert granted & ACCESS_READ == (ACCESS_READ if may else 0), (user, owner, granted)
            assert granted & ACCESS_MODIFY == (ACCESS_MODIFY if may else 0), (user, owner, granted)
            expect(client.read(file, 0, 10), "OK" if may else "ACCES")
            expect(client.write(file, 0, b"PRIVATE"), "OK" if may else "ACCES")
            expect(client.setattr(file, mode=0o640), "OK" if may else "PERM")
            expect(client.setattr(file, user=1234), "OK" if true_user == 0 else "PERM")
        # Groups go with the user.
        shared = place.file(f"shared with {user}", b"shared", 0o640, 77, 3456)
        expect(client.read(shared, 0, 10), "ACCES" if is_nobody else "OK")
        closed = place.folder(f"closed for {user}", 0o700, 77, 77)
        expect(client.lookup(closed, b"x"), "NOENT" if true_user == 0 else "ACCES")

def a_group_of_root_is_none(place):
    """Who claims group 0 has not root's group where root is nobody."""
    if squashed:
        file = place.file("file", b"for wheel", 0o640, 77, 0)
        expect(Client(place.port, 0, 0, [0]).read(file, 0, 10), "ACCES")

run(dict(globals()), int(sys.argv[1]), sys.argv[2])
PYTHON

for squash in default none root all; do
  options=()
  [[ $squash == default ]] || options=(--nfs-squash "$squash")
  choose_nfs_port
  start_nfs_server "${NFS_AT_ONCE[@]}" "${options[@]}" "$WORK/source" "$NFS_PORT"
  run_python "$WORK/checks.py" "$NFS_PORT" "$WORK/source" "${squash/default/root}" || fail "squashing is not as it should be"
  stop_gateway
  rm -r "${WORK:?}/source"/*
done

# A gateway of an ordinary user acts as him for everybody, and what he may do is not refused because he could not read it.
if command -v setpriv >/dev/null; then
  chmod 777 "$WORK"
  cp "$SLUICE" "$WORK/sluice"  # where the user may run it
  chown 65534:65534 "$WORK/source"
  SLUICE=$WORK/sluice
  DAEMON_PREFIX=(setpriv --reuid 65534 --regid 65534 --clear-groups)
  choose_nfs_port
  start_nfs_server --state-dir "$WORK/state" "$WORK/source" "$NFS_PORT"
  run_python - "$NFS_PORT" "$WORK/source" <<'PYTHON' || fail "a user's gateway refuses what he may do"
import itertools, os, sys
from lib_nfs import *
client = Client(int(sys.argv[1]), 1000, 1000)
root = client.mount("/").handle
file = expect(client.create(root, b"file", mode=0o644), "OK")
assert file.attributes.user == 65534, file.attributes
folder = expect(client.mkdir(root, b"folder", mode=0o755), "OK").handle
for mode in (0o200, 0o000, 0o600):
    expect(client.setattr(file.handle, mode=mode, mtime=1_000_000_007), "OK")
    assert os.stat(sys.argv[2] + "/file").st_mode & 0o777 == mode
for mode, how in itertools.product((0o400, 0o000), (GUARDED, EXCLUSIVE)):  # as cp makes a copy that nobody may write
    name, verifier = b"%d with %o" % (how, mode), b"verifier"
    held = expect(client.create(root, name, how, verifier, mode=mode), "OK").handle
    if how == EXCLUSIVE:
        expect(client.setattr(held, mode=mode, atime=SERVER_TIME, mtime=SERVER_TIME), "OK")
    expect(client.write(held, 0, b"content", FILE_SYNC), "OK")
    expect(client.setattr(held, size=4), "OK")
    assert expect(client.read(held, 0, 10), "OK").data == b"cont"
    assert expect(client.getattr(held), "OK").attributes.mode == mode
expect(client.setattr(folder, mode=0o300), "OK")
expect(client.create(folder, b"new"), "OK")
expect(client.remove(folder, b"new"), "OK")
PYTHON
  stop_gateway
fi
