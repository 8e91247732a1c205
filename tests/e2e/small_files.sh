#!/bin/bash
# 256 MiB of cache keep 50,000 files of 4 KiB: a second pass over them reads nothing from the disk.
source "$(dirname "$0")/lib.sh"

readonly kFiles=50000

make_files() {
  run_python - "$1" "$kFiles" <<'PYTHON'
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for i in range(count):
    if i % 1000 == 0:
        os.mkdir(f"{root}/{i // 1000}")
    descriptor = os.open(f"{root}/{i // 1000}/{i}", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(descriptor, (b"%08d" % i) * 512)
    os.close(descriptor)
PYTHON
}

# O_DIRECT: every read reaches the gateway, whatever the kernel kept.
read_files() {  # FIRST STEP
  run_python - "$WORK/mount" "$kFiles" "$1" "$2" <<'PYTHON'
import mmap, os, sys
root, count, first, step = sys.argv[1], *map(int, sys.argv[2:])
page = mmap.mmap(-1, 4096)
for i in range(first, count, step):
    descriptor = os.open(f"{root}/{i // 1000}/{i}", os.O_RDONLY | os.O_DIRECT)
    if os.preadv(descriptor, [page], 0) != 4096 or page[:] != (b"%08d" % i) * 512:
        sys.exit(f"file {i} has not its bytes")
    os.close(descriptor)
PYTHON
}
pass_over_all() {
  background read_files 0 2
  local one=$JOB
  background read_files 1 2
  wait "$one" && wait "$JOB" || fail "$1: a file could not be read"
}

own_disk "$WORK/disk" 640M
readonly SOURCE=$WORK/disk/source
mkdir "$SOURCE" "$WORK/mount"
make_files "$SOURCE"
sync -f "$SOURCE"
start_mount --cache-size 256M "$SOURCE" "$WORK/mount"
pass_over_all "first pass"
at_least "memory with valid pages" "$(status cache.resident_bytes)" $((kFiles * 4096))
at_least "reads of the first pass" "$(status disk.reads)" $((kFiles / 16))
reads=$(status disk.reads)
read_bytes=$(status disk.read_bytes)
hits=$(status cache.hits)

pass_over_all "second pass"
equal "reads after the second pass" "$(status disk.reads)" "$reads"
equal "bytes read after the second pass" "$(status disk.read_bytes)" "$read_bytes"
at_least "hits of the second pass" "$(($(status cache.hits) - hits))" "$kFiles"
equal "evictions" "$(status cache.evictions)" 0
stop_gateway
