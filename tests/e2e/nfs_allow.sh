#!/bin/bash
# Who may use the export: nobody but this machine by itself, and whom the first rule that holds for an address allows. The
# connections of others end at once, so that however many they make, there is room for those of clients that may.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_root

mkdir -p "$WORK/source/folder"
echo "for who may" >"$WORK/source/file"
choose_nfs_port

WHO="everybody of this machine"
start_nfs_server "$WORK/source" "$NFS_PORT"
run_python - "$NFS_PORT" <<'PYTHON' || fail "$WHO: see above"
import sys
from lib_nfs import *
for address in ("127.0.0.1", "127.0.0.2"):
    client = Client(int(sys.argv[1]), address=address)
    root = expect(client.mount("/"), "OK").handle
    expect(client.lookup(root, b"file"), "OK")
PYTHON
stop_gateway

# Room for 16 connections, by the limit of descriptors.
WHO="one that is denied"
DAEMON_PREFIX=(bash -c 'ulimit -n 256; exec "$@"' --)
start_nfs_server --nfs-threads 1 --nfs-squash none \
  --nfs-allow 127.0.0.2:ro,127.0.0.4:secure,127.0.0.0/30 "$WORK/source" "$NFS_PORT"
run_python - "$NFS_PORT" "$WORK/source" <<'PYTHON' || fail "$WHO: see above"
import sys
from lib_nfs import *

port = int(sys.argv[1])

def is_let_in(client):
    try:
        return expect(client.mount("/"), "OK").status == "OK"
    except Closed:
        return False

def denied(address):
    client = Client(port, address=address)
    assert not is_let_in(client), address
    return client

# Those that are denied keep their side open.
strangers = [denied("127.0.0.9") for _ in range(40)]
insecure = [denied("127.0.0.4") for _ in range(40)]
clients = [Client(port, address="127.0.0.1") for _ in range(8)]
assert all(is_let_in(client) for client in clients)
reader = Client(port, address="127.0.0.2")
root = expect(reader.mount("/"), "OK").handle
folder, file = (expect(reader.lookup(root, name), "OK").handle for name in (b"folder", b"file"))
source = sys.argv[2]
for path, call in (
    (source, lambda: reader.create(root, b"new")), (source, lambda: reader.mkdir(root, b"new")),
    (source, lambda: reader.symlink(root, b"new", b"x")), (source, lambda: reader.mknod(root, b"new", FIFO)),
    (source, lambda: reader.remove(root, b"file")), (source, lambda: reader.rmdir(root, b"folder")),
    (source, lambda: reader.rename(root, b"file", folder, b"file")), (source, lambda: reader.link(file, root, b"new")),
    (source + "/file", lambda: reader.setattr(file, mode=0o600)), (source + "/file", lambda: reader.setattr(file, size=0)),
    (source + "/file", lambda: reader.write(file, 0, b"new")), (source + "/file", lambda: reader.commit(file)),
):
    before = state_of(path)
    reply = expect(call(), "ROFS")
    same_wcc(reply.wcc, before, path)
    if hasattr(reply, "other_wcc"):
        same_wcc(reply.other_wcc, state_of(source + "/folder"), source + "/folder")
same_attributes(reader.link(file, root, b"new").attributes, source + "/file")
with open(source + "/file") as unchanged:
    assert unchanged.read() == "for who may\n"
expect(clients[0].create(root, b"new"), "OK")
assert {client.decode() for client, _ in reader.mounts()} == {"127.0.0.1", "127.0.0.2"}
PYTHON
equal "connections that were denied" "$(status nfs.denied)" 80
equal "connections that were not" "$(status nfs.connections_accepted)" 9
stop_gateway
