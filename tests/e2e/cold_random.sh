#!/bin/bash
# 10,000 random reads of 4 KiB from a cold file of 1 GiB (SLUICE_TEST_GIB=4: of 4 GiB) read at most 4 times their bytes
# from the disk, by our own count and by the kernel's.
source "$(dirname "$0")/lib.sh"

readonly kSize=$((${SLUICE_TEST_GIB:-1} << 30)) kReads=10000

read_at_random() {
  run_python - "$WORK/mount/big" "$kSize" "$kReads" <<'PYTHON'
import os, random, sys
import lib_pattern
path, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seed = random.randrange(1 << 32)
chosen = random.Random(seed)
with open(path, "rb", buffering=0) as file:
    for _ in range(count):
        offset = chosen.randrange(size // 4096) * 4096
        lib_pattern.judge(f"seed {seed}", 3, offset, os.pread(file.fileno(), 4096, offset))
PYTHON
}

mkdir "$WORK/source" "$WORK/mount"
run_python "$E2E/lib_pattern.py" make "$WORK/source/big" "$kSize" 3
start_mount --cache-size 64M "$WORK/source" "$WORK/mount"
by_kernel=$(fields_of_io read_bytes)
by_status=$(status disk.read_bytes)
read_at_random
readonly kLimit=$((4 * kReads * 4096)) kLeast=$((kReads * 4096 * 9 / 10))
at_most "bytes read by our count" "$(($(status disk.read_bytes) - by_status))" "$kLimit"
at_least "bytes read by our count" "$(($(status disk.read_bytes) - by_status))" "$kLeast"
at_most "bytes read by the kernel's count" "$(($(fields_of_io read_bytes) - by_kernel))" "$kLimit"
at_least "bytes read by the kernel's count" "$(($(fields_of_io read_bytes) - by_kernel))" "$kLeast"
equal "pages in the page cache" "$(resident_pages "$WORK/source/big")" 0
stop_gateway
