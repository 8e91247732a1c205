#!/bin/bash
# `sluice bench nfs` measures every row of a server, leaves the directory as it was, and says in one line what it cannot do.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"

mkdir -p "$WORK/source/folder"
head -c 3M /dev/urandom >"$WORK/source/file"
touch "$WORK/source/folder/"{1..1000}
chmod -R a+rwX "$WORK/source"  # whoever calls is squashed
choose_nfs_port
start_nfs_server "$WORK/source" "$NFS_PORT"
url=nfs://127.0.0.1:$NFS_PORT

measured() {  # PATH
  "$SLUICE" bench --seconds 0.1 --json nfs "$url/$1" >"$WORK/rows" || fail "bench nfs of /$1"
  run_python - "$WORK/rows" <<'PYTHON'
import json, sys
rows = json.load(open(sys.argv[1]))
for row in rows:
    assert row["operations"] > 0 and 0 < row["seconds"] < 20 and 0 < row["p50_us"] <= row["p99_us"], row
sizes = {"read-sequential": 1 << 20, "read-random": 4096, "write-sequential": 1 << 20, "write-sync": 4096, "getattr": 0}
for row in rows:
    if row["workload"] in sizes:
        assert row["bytes"] == row["operations"] * sizes[row["workload"]], row
print(*(row["workload"] for row in rows))
PYTHON
}
equal "rows of a file" "$(measured file)" "read-sequential read-random getattr"
equal "rows of a directory" "$(measured folder)" "listing write-sequential write-sync"
equal "names in the directory afterwards" "$(find "$WORK/source/folder" -type f | wc -l)" 1000
equal "rows that are wanted" "$("$SLUICE" bench --seconds 0.1 --filter getattr nfs "$url/file" | wc -l)" 2

refuses 1 "no row matches 'listing'" bench --filter listing nfs "$url/file"
refuses 1 "missing: the server answers with status 2" bench nfs "$url/missing"
refuses 1 "is no URL" bench nfs /srv
stop_gateway
refuses 1 "Connection refused" bench nfs "$url/file"
