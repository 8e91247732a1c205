#!/bin/bash
# A file of 16 times the cache (SLUICE_TEST_GIB=4: 64 times) is exact to the byte by mount and by HTTP at once, from 8
# clients at different offsets. The gateway, alone in a memory group, is charged at most the cache and 64 MiB, and
# nothing of the file stays in the kernel's page cache.
source "$(dirname "$0")/lib.sh"
need fincore

readonly kSize=$((${SLUICE_TEST_GIB:-1} << 30)) kMiB=$((1 << 20))

read_by_mount() { run_python "$E2E/lib_pattern.py" check "$WORK/mount/big" "$kSize" 1 "$1"; }  # FIRST_OFFSET
read_by_http() {  # FIRST_OFFSET; in ranges that begin and end anywhere
  run_python - "$HTTP/big" "$kSize" "$1" <<'PYTHON'
import random, sys
import lib_http
url, size, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
offset, left = first, size // 2
while left > 0:
    length = min(random.randrange(1, 64 << 20), left, size - offset)
    lib_http.check_range(url, 1, offset, length)
    left -= length
    offset = (offset + length) % size
PYTHON
}

mkdir "$WORK/source" "$WORK/mount"
run_python "$E2E/lib_pattern.py" make "$WORK/source/big" "$kSize" 1
equal "pages of the file before" "$(resident_pages "$WORK/source/big")" 0
use_memory_group || say "no memory groups here: the charge is not looked at"
start_mount --cache-size 64M --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"

clients=()
for i in 0 1 2 3; do
  background read_by_mount $((i * 256 * kMiB))
  clients+=("$JOB")
  background read_by_http $(((i * 256 + 100) * kMiB + 777))
  clients+=("$JOB")
done
for client in "${clients[@]}"; do wait "$client" || fail "a client did not get the bytes of the file"; done

[[ -z $CGROUP ]] || at_most "memory charged to the gateway" "$(memory_peak)" $(((64 + 64) * kMiB))
at_most "memory of the cache" "$(status cache.resident_bytes)" $((64 * kMiB))
equal "pages of the file in the page cache" "$(resident_pages "$WORK/source/big")" 0
equal "errors of the disk" "$(status disk.errors)" 0
stop_gateway
equal "pages of the file after all" "$(resident_pages "$WORK/source/big")" 0
