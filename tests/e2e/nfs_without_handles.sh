#!/bin/bash
# NFS over a backing that has no file handles: files are found again by where they were last seen, as a table in the
# state directory keeps it. Handles stay good over renames and over restarts, even after a kill, and are stale when the
# file is gone or another one has its place.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
source "$E2E/lib_faulty.sh"
need_root

mkdir "$WORK/state"
start_backing
choose_nfs_port

phase() {  # NAME: one of those below, with the same gateway
  PYTHONPATH=$E2E run_python "$WORK/phases.py" "$NFS_PORT" "$WORK" "$1" || fail "not so $1"
}
cat >"$WORK/phases.py" <<'PYTHON'
import json, os, sys
from lib_nfs import *

port, work, phase = int(sys.argv[1]), sys.argv[2], sys.argv[3]
source = os.path.join(work, "behind")
kept = os.path.join(work, "handles")
client = Client(port)
root = expect(client.mount(b"/"), "OK").handle


def find(path):
    handle = root
    for name in path.encode().split(b"/"):
        handle = expect(client.lookup(handle, name), "OK").handle
    return handle


def content(handle):
    return expect(client.read(handle, 0, 100), "OK").data


def before_the_restart():
    folder = expect(client.mkdir(root, b"folder", mode=0o755), "OK").handle
    below = expect(client.mkdir(folder, b"below", mode=0o755), "OK").handle
    handles = {}
    for name in (b"moved", b"linked", b"removed", b"replaced", b"stays"):
        handles[name.decode()] = expect(client.create(below, name, GUARDED, mode=0o644), "OK").handle
        expect(client.write(handles[name.decode()], 0, name, FILE_SYNC), "OK")
    expect(client.link(handles["linked"], root, b"other name"), "OK")
    assert find("other name") == handles["linked"], "hard links have different handles"
    # The directories above move, and the file itself.
    expect(client.rename(below, b"moved", root, b"moved here"), "OK")
    expect(client.rename(root, b"folder", root, b"renamed"), "OK")
    assert all(content(handle) == name.encode() for name, handle in handles.items())
    assert len(set(handles.values())) == len(handles) and all(len(handle) <= 64 for handle in handles.values())
    entries = expect(client.readdirplus(below), "OK").entries
    assert {entry.name.decode(): entry.handle for entry in entries if entry.name.decode() in handles} == {
        name: handle for name, handle in handles.items() if name != "moved"}
    handles["below"] = below
    with open(kept, "w") as file:
        json.dump({name: handle.hex() for name, handle in handles.items()}, file)


def load():
    with open(kept) as file:
        return {name: bytes.fromhex(handle) for name, handle in json.load(file).items()}


def after_a_restart():
    handles = load()
    for name, handle in handles.items():
        if name != "below":
            assert content(handle) == name.encode(), name
    # In any order, also from below: nothing above was named before.
    expect(client.getattr(handles["below"]), "OK")
    assert find("renamed/below/stays") == handles["stays"], "the same file has another handle"
    expect(client.write(handles["stays"], 0, b"STAYS", FILE_SYNC), "OK")
    expect(client.write(handles["stays"], 0, b"stays", FILE_SYNC), "OK")


def after_changes_by_others():
    handles = load()
    for name in ("removed", "replaced"):
        expect(client.getattr(handles[name]), "STALE")
        expect(client.read(handles[name], 0, 100), "STALE")
    assert content(find("renamed/below/replaced")) == b"another"
    assert find("renamed/below/replaced") != handles["replaced"]
    # Nor is a file where others moved it; nothing tells it from one that got its inode number. It has a new handle.
    expect(client.getattr(handles["stays"]), "STALE")
    assert content(find("renamed/stays elsewhere")) == b"stays"


def after_removal():
    handles = load()
    expect(client.remove(root, b"moved here"), "OK")
    expect(client.getattr(handles["moved"]), "STALE")
    expect(client.create(root, b"moved here", GUARDED, mode=0o644), "OK")
    expect(client.getattr(handles["moved"]), "STALE")


globals()[phase]()
PYTHON

serve() { start_nfs_server --attr-timeout 0 --entry-timeout 0 --state-dir "$WORK/state" --nfs-squash none "$WORK/backing" "$NFS_PORT"; }
serve
phase before_the_restart
stop_gateway
serve
phase after_a_restart
kill_nfs_server
serve
phase after_a_restart
stop_gateway
rm "$WORK/behind/renamed/below/removed"
echo -n another >"$WORK/behind/new"
mv "$WORK/behind/new" "$WORK/behind/renamed/below/replaced"
mv "$WORK/behind/renamed/below/stays" "$WORK/behind/renamed/stays elsewhere"
serve
phase after_changes_by_others
phase after_removal
kill_nfs_server
serve
stop_gateway
# Without its key, and without the table, nothing that a client holds is good; and that is said, not guessed.
rm "$WORK/state/"*.files*
serve
PYTHONPATH=$E2E run_python - "$NFS_PORT" "$WORK" <<'PYTHON'
import json, sys
from lib_nfs import *
client = Client(int(sys.argv[1]))
with open(sys.argv[2] + "/handles") as file:
    for name, handle in json.load(file).items():
        expect(client.getattr(bytes.fromhex(handle)), "STALE")
PYTHON
stop_gateway

# A key that came back from a copy.
empty "what the log says of the key" "$(grep "others may read" "$WORK"/log.* || true)"
chmod 644 "$WORK/state/"*.key
serve
grep -q "others may read '$WORK/state/.*chmod 600" "${LOG_OF[$GATEWAY]}" ||
  fail "a key that others may read is used without a word"
stop_gateway
