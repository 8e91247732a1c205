#!/bin/bash
# What the system refuses is done another way: threads instead of io_uring, buffered reads instead of O_DIRECT (still leaving
# nothing in the page cache), a SOURCE in memory, a gateway without a proof of release. The bytes are the same.
source "$(dirname "$0")/lib.sh"
need fincore

readonly kSize=$((48 << 20))

# Reads everything by mount and by HTTP, with more files than the cache holds; writes and reads back.
works() {  # WHAT
  run_python "$E2E/lib_pattern.py" check "$WORK/mount/big" "$kSize" 1 || fail "$1: wrong bytes by mount"
  run_python -c 'import sys, lib_http; lib_http.check_range(sys.argv[1], 1, 12345, 40 << 20)' "$HTTP/big" ||
    fail "$1: wrong bytes by HTTP"
  head -c 300001 "$WORK/mount/big" >"$WORK/mount/copy"
  printf 'patched' | dd of="$WORK/mount/copy" bs=1 seek=65530 conv=notrunc status=none
  truncate -s 200001 "$WORK/mount/copy"
  cmp "$WORK/mount/copy" "$SOURCE/copy" >&2 || fail "$1: the backing has not what was written"
  equal "$1: written bytes by HTTP" "$(curl -sS -r 65530-65536 "$HTTP/copy")" patched
  equal "$1: errors of the disk" "$(status disk.errors)" 0
  rm "$WORK/mount/copy"
}
with_options() {  # WHAT OPTION...
  forget_pages "$SOURCE/big"
  start_mount --cache-size 32M --http 127.0.0.1:0 "${@:2}" "$SOURCE" "$WORK/mount"
  works "$1"
}

SOURCE=$WORK/source
mkdir "$SOURCE" "$WORK/mount"
run_python "$E2E/lib_pattern.py" make "$SOURCE/big" "$kSize" 1

with_options "--disk-engine threads" --disk-engine threads
equal "engine" "$(status disk.engine)" threads
equal "threads: pages in the page cache" "$(resident_pages "$SOURCE/big")" 0
stop_gateway

with_options "--no-direct-io" --no-direct-io
equal "--no-direct-io: pages in the page cache" "$(resident_pages "$SOURCE/big")" 0
stop_gateway

with_options "--no-direct-io, threads" -o direct_io=false,disk_engine=threads
equal "--no-direct-io, threads: pages in the page cache" "$(resident_pages "$SOURCE/big")" 0
stop_gateway

with_options "--release-proof replace" --release-proof replace
equal "proof" "$(status send.release_proof)" replace
stop_gateway

DAEMON_PREFIX=("$PYTHON" "$E2E/lib_without_io_uring.py")
with_options "io_uring refused"
equal "engine when io_uring is refused" "$(status disk.engine)" threads
warnings=$(grep -i 'warning.*io_uring' "${LOG_OF[$GATEWAY]}" || true)
at_least "warnings of io_uring" "$(grep -c . <<<"$warnings")" 1
empty "warnings told twice" "$(sort <<<"$warnings" | uniq -d)"
stop_gateway
DAEMON_PREFIX=()

if [[ $EUID == 0 ]]; then
  SOURCE=$WORK/memory
  mkdir "$SOURCE"
  mount -t tmpfs -o size=64M none "$SOURCE"
  run_python "$E2E/lib_pattern.py" make "$SOURCE/big" "$kSize" 1
  start_mount --cache-size 32M --http 127.0.0.1:0 "$SOURCE" "$WORK/mount"
  works "SOURCE on tmpfs"
  stop_gateway
  umount "$SOURCE"
fi
