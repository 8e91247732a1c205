#!/bin/bash
# `sluice cache resize` makes the cache smaller and larger while clients read by mount and by HTTP: every byte is right,
# the memory of a smaller cache goes back to the system, and what is hot stays.
source "$(dirname "$0")/lib.sh"

readonly kMiB=$((1 << 20)) kSize=$((400 << 20))
# Of the gateway beside its cache.
readonly kOther=$((48 * kMiB))

resize() { "$SLUICE" cache resize "$1" "$WORK/mount" || fail "resize to $1 was refused"; }
refused() {  # TEXT ARGUMENT...
  local expected=$1 output size
  shift
  size=$(status cache.size_bytes)
  if output=$("$SLUICE" cache resize "$@" 2>&1); then fail "resize $*: was not refused: $output"; fi
  [[ $output == *"$expected"* ]] || fail "resize $*: '$output' does not say '$expected'"
  equal "lines of the refusal of $*" "$(wc -l <<<"$output")" 1
  equal "size after the refusal of $*" "$(status cache.size_bytes)" "$size"
}
charge_is_below() {  # CACHE_SIZE
  [[ -z $CGROUP ]] || wait_until 20 eval "((\$(memory_now) < $1 + $kOther))" ||
    fail "$(memory_now) bytes are charged with a cache of $1"
}
read_big() { run_python "$E2E/lib_pattern.py" check "$WORK/mount/big" "$kSize" 1; }
read_hot() { run_python -c "import lib_http; lib_http.check_range('$HTTP/hot', 2, 0, $((10 * kMiB)))"; }
repeat_to_the_end() {
  while [[ ! -e $WORK/end ]]; do
    "$@" || return 1
  done
}

need_root
mkdir "$WORK/source" "$WORK/mount"
run_python "$E2E/lib_pattern.py" make "$WORK/source/big" "$kSize" 1
run_python "$E2E/lib_pattern.py" make "$WORK/source/hot" $((10 * kMiB)) 2
use_memory_group || say "no memory groups here: the charge is not looked at"
start_mount --cache-size 256M --large-file 2G --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
read_big || fail "the file is not as it was made"
at_least "resident in 256M" "$(status cache.resident_bytes)" $((230 * kMiB))

background repeat_to_the_end read_big
by_mount=$JOB
background repeat_to_the_end read_hot
by_http=$JOB
for size in 32 200 8 300 64; do
  equal "answer to ${size}M" "$(resize ${size}M | cut -d';' -f1)" "resize: the cache has ${size}M"
  equal "size" "$(status cache.size_bytes)" $((size * kMiB))
  charge_is_below $((size * kMiB))
  at_most "resident in ${size}M" "$(status cache.resident_bytes)" $((size * kMiB))
  hits=$(status cache.hits)
  wait_until 60 eval '(($(status cache.hits) > hits + 5000))' || fail "the readers do not go on with ${size}M"
done
touch "$WORK/end"
wait "$by_mount" && wait "$by_http" || fail "a client did not get the bytes of the file"

# What a client has read is freed by the processor that sent it, when that has its next packet.
packet_on_each_processor() {
  run_python -c '
import os, socket
for processor in os.sched_getaffinity(0):
    os.sched_setaffinity(0, {processor})
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9))'
}

# Nobody reads: all goes back at once.
packet_on_each_processor
resize 300M >/dev/null
read_big || fail "the file is not as it was made"
at_least "resident in 300M" "$(status cache.resident_bytes)" $((270 * kMiB))
equal "answer, idle" "$(resize 8M)" "resize: the cache has 8M"
equal "slabs that still retire" "$(status arena.slabs_retiring)" 0
charge_is_below $((8 * kMiB))

resize 64M >/dev/null
"$SLUICE" cache pin "$WORK/mount/hot" >/dev/null
refused "pinned files need more than half" 16M "$WORK/mount"
refused "at least 8M" 1M "$WORK/mount"
refused "more than this gateway can have" 900T "$WORK/mount"
refused "takes SIZE"
refused "much" much
resize 24M >/dev/null
equal "pinned after it all" "$(status cache.pinned_bytes)" $((10 * kMiB))
stop_gateway
