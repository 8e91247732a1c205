#!/bin/bash
# A database in WAL mode, which maps memory shared between processes, works in the mount; and bytes written through
# MAP_SHARED of files of any size are in the backing and in the next GET after msync.
source "$(dirname "$0")/lib.sh"
need sqlite3

database_works() {
  local database=$WORK/mount/test.db reader
  equal "journal mode" "$(sqlite3 "$database" 'PRAGMA journal_mode=WAL; CREATE TABLE t(n INTEGER PRIMARY KEY, s TEXT);')" wal
  background read_while_written "$database"
  reader=$JOB
  for i in $(seq 1 1000); do echo "INSERT INTO t VALUES($i, hex(randomblob($((i % 300)))));"; done | sqlite3 -cmd '.timeout 10000' "$database"
  wait "$reader" || fail "a second process could not read while the first wrote"
  equal "rows" "$(sqlite3 "$database" 'SELECT count(*), sum(n) FROM t')" "1000|500500"
  equal "integrity" "$(sqlite3 "$database" 'PRAGMA integrity_check')" ok
  sqlite3 "$database" 'PRAGMA wal_checkpoint(TRUNCATE); VACUUM;' >/dev/null
}

# Counts only grow, until all rows are there.
read_while_written() {
  local count=0 before
  until ((count == 1000)); do
    before=$count
    count=$(sqlite3 -cmd '.timeout 10000' "$1" 'SELECT count(*) FROM t') || return 1
    ((count >= before)) || return 1
  done
}

shared_memory_works() {
  run_python - "$WORK/source" "$WORK/mount" "$HTTP" <<'PYTHON'
import mmap, os, random, sys, urllib.request

source, mount, url = sys.argv[1:]
for size in (1, 100, 4096, 4097, 100000, 3 << 20):
    name = f"mapped_{size}"
    with open(f"{source}/{name}", "wb") as file:
        file.write(random.randbytes(size))
    expected = bytearray(open(f"{source}/{name}", "rb").read())
    urllib.request.urlopen(f"{url}/{name}").read()  # in the cache before
    with open(f"{mount}/{name}", "r+b") as file, mmap.mmap(file.fileno(), 0) as first, \
            mmap.mmap(file.fileno(), 0) as second:
        for offset in {0, size // 2, size - 1, random.randrange(size)}:
            expected[offset] ^= 0xff
            first[offset] ^= 0xff
        if second[:] != expected:
            sys.exit(f"{size} bytes: a second mapping sees other bytes")
        first.flush()
        for where, got in (("backing", open(f"{source}/{name}", "rb").read()),
                           ("GET", urllib.request.urlopen(f"{url}/{name}").read()),
                           ("read", os.pread(file.fileno(), size + 1, 0))):
            if got != expected:
                sys.exit(f"{size} bytes: the {where} has not what was written to the mapping")
        os.pwrite(file.fileno(), b"\x01", size - 1)
        expected[size - 1] = 1
        if first[:] != expected:
            sys.exit(f"{size} bytes: a write() is not seen in the mapping")
    if os.stat(f"{source}/{name}").st_size != size:
        sys.exit(f"{size} bytes: the file has {os.stat(f'{source}/{name}').st_size} now")
PYTHON
}

mkdir "$WORK/source" "$WORK/mount"
start_mount --cache-size 32M --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
database_works
shared_memory_works
stop_gateway
equal "integrity on the backing" "$(sqlite3 "$WORK/source/test.db" 'PRAGMA integrity_check; SELECT count(*) FROM t')" $'ok\n1000'
