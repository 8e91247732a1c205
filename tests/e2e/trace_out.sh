#!/bin/bash
# --trace-out records what the mount and HTTP ask of the cache, so that `sluice sim` counts the same hits; it survives a
# kill, counts what it leaves out, and never writes where it should not.
source "$(dirname "$0")/lib.sh"
need_root
need curl zstd

readonly kFilePages=64
readonly kFiles=20

simulated() {  # FIELD SIM-ARGUMENT...
  local name=$1
  shift
  "$SLUICE" sim --json --format sluice --policy lru "$@" | "$PYTHON" -c '
import json, sys
print(json.load(sys.stdin)[0][sys.argv[1]])' "$name"
}

refused() {  # PATTERN TRACE
  local code=0
  "$SLUICE" mount --foreground --trace-out "$2" "$WORK/source" "$WORK/mount" >"$WORK/out" 2>&1 || code=$?
  equal "exit code with --trace-out $2" "$code" 1
  equal "lines about --trace-out $2" "$(wc -l <"$WORK/out")" 1
  grep -q -e "--trace-out: .*$1" "$WORK/out" || fail "--trace-out $2: '$(cat "$WORK/out")' says nothing of '$1'"
  ! is_mounted "$WORK/mount" || fail "--trace-out $2: mounted nevertheless"
}

read_all() { cat "$WORK"/mount/file.* >/dev/null; }

check_counts() {
  local live_hits live_misses bytes
  start_mount --cache-size 32M --cache-policy lru --readahead 0 --http 127.0.0.1:0 --trace-out "$WORK/trace" \
    "$WORK/source" "$WORK/mount"
  read_all
  read_all
  curl -sS -o /dev/null "$HTTP/file.1"
  live_hits=$(status cache.hits)
  live_misses=$(status cache.misses)
  bytes=$(($(status arena.frames_max) * 4096))
  equal "file of the status" "$(status trace.file)" "$WORK/trace"
  equal "requests left out" "$(status trace.dropped_rate) $(status trace.dropped_memory) $(status trace.error)" "0 0 null"
  "$SLUICE" status "$WORK/mount" | grep -q "^trace .*$WORK/trace: .*records" || fail "the text tells nothing of the trace"
  stop_gateway
  equal "rights of the trace" "$(stat -c %a "$WORK/trace")" 600
  equal "pages asked for" "$((live_hits + live_misses))" $(((2 * kFiles + 1) * kFilePages))
  equal "requests" "$(simulated requests --cache-bytes "$bytes" "$WORK/trace")" "$((live_hits + live_misses))"
  equal "hits" "$(simulated hits --cache-bytes "$bytes" "$WORK/trace")" "$live_hits"
  equal "hits of a cache of 64K" "$(simulated hits --cache-bytes 64K "$WORK/trace")" 0
  zstd -q -d -c "$WORK/trace" >"$WORK/unpacked"
  equal "hits of the unpacked trace" "$(simulated hits --cache-bytes "$bytes" "$WORK/unpacked")" "$live_hits"
}

check_kill() {
  recorded() { (($(status trace.records) > 0)); }
  start_mount --trace-out "$WORK/killed" "$WORK/source" "$WORK/mount"
  read_all
  wait_until 10 recorded || fail "nothing is written while the gateway runs"
  kill -KILL "$GATEWAY"
  await_end "$GATEWAY" 2>/dev/null || true
  "$SLUICE" umount "$WORK/mount"
  at_least "requests of the killed gateway" "$(simulated requests --cache-bytes 32M "$WORK/killed")" 1
  { cat "$WORK/killed" && printf '\x28\xb5\x2f\xfd'; } >"$WORK/torn"
  at_least "requests of the torn trace" "$(simulated requests --cache-bytes 32M "$WORK/torn" 2>"$WORK/err")" 1
  grep -q "the end is torn" "$WORK/err" || fail "nothing is said of the torn end"
}

check_rate() {
  start_mount --trace-out "$WORK/limited" --trace-rate 5 "$WORK/source" "$WORK/mount"
  read_all
  at_least "requests above the rate" "$(status trace.dropped_rate)" 10
  stop_gateway
  simulated requests --cache-bytes 32M "$WORK/limited" >/dev/null 2>"$WORK/err"
  grep -q "requests were not recorded: .* above --trace-rate" "$WORK/err" || fail "nothing is said of what is missing"
}

# A file system of one page is full at once.
check_full_disk() {
  ended() { [[ $(status trace.error) == "No space left on device" ]]; }
  mkdir "$WORK/small"
  mount -t tmpfs -o size=4k tmpfs "$WORK/small" 2>/dev/null || return 0
  start_mount --trace-out "$WORK/small/trace" "$WORK/source" "$WORK/mount"
  dd if=/dev/zero of="$WORK/small/rest" bs=4k count=1 status=none || true
  read_all
  wait_until 10 ended || fail "a full disk does not end the recording"
  same_bytes "$WORK/source/file.3" "$WORK/mount/file.3"
  equal "warnings" "$(grep -c "recording has ended" "${LOG_OF[$GATEWAY]}")" 1
  stop_gateway
  umount "$WORK/small"
}

check_refusals() {
  echo text >"$WORK/text"
  ln -s nowhere "$WORK/link"
  refused "is no empty file of yours" "$WORK/text"
  refused "is a symbolic link" "$WORK/link"
  refused "is below MOUNTPOINT" "$WORK/mount/trace"
  refused "No such file or directory" "$WORK/missing/trace"
  equal "the file that was refused" "$(cat "$WORK/text")" text
  [[ ! -e $WORK/nowhere && ! -e $WORK/mount/trace ]] || fail "something was made of a refused trace"
}

mkdir "$WORK/source" "$WORK/mount"
for ((i = 0; i < kFiles; i++)); do
  run_python "$E2E/lib_pattern.py" make "$WORK/source/file.$i" $((kFilePages * 4096)) "$i"
done
check_counts
check_kill
check_rate
check_full_disk
check_refusals
