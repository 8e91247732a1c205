#!/bin/bash
# `sluice status` tells everything, as text and as JSON, of a gateway named by its mountpoint, its source or its socket, and its
# counters count what happened.
source "$(dirname "$0")/lib.sh"
need_root

readonly kSize=$((16 << 20))

check_shape() {
  status '' | run_python -c '
import json, sys
status = json.load(sys.stdin)
expected = {
    "cache": "size_bytes resident_bytes blocks hits misses evictions policy",
    "checksum": "mode pages_verified pages_bad",
    "disk": "read_bytes written_bytes reads writes errors",
    "readahead": "issued_bytes used_bytes wasted_bytes",
    "send": "copy_bytes vmsplice_bytes zerocopy_bytes",
    "fuse": "", "http": "",
}
for name, fields in expected.items():
    assert isinstance(status[name], dict), name
    for field in fields.split():
        value = status[name][field]
        assert isinstance(value, str if field in ("policy", "mode") else int), (name, field, value)
assert "nfs" in status
' || fail "status --json is not complete"
}

check_text() {
  local text word
  text=$("$SLUICE" status "$WORK/mount")
  for word in "$WORK/source" "$WORK/mount" "pid $GATEWAY" cache hits misses evicted disk readahead fuse http send copy vmsplice \
    zerocopy checksums; do
    grep -q -F -e "$word" <<<"$text" || fail "the text says nothing of '$word'"
  done
}

check_names() {
  equal "by source" "$(status pid "$WORK/source")" "$GATEWAY"
  equal "by socket" "$(status pid "$WORK/socket")" "$GATEWAY"
  equal "by mountpoint, otherwise written" "$(status pid "$WORK/../$(basename "$WORK")/mount/")" "$GATEWAY"
  equal "rights of the socket" "$(stat -c %a "$WORK/socket")" 600
}

check_watch() {
  "$SLUICE" status --watch --json "$WORK/mount" >"$WORK/watched" 2>&1 &
  local watcher=$!
  JOBS_OF_OURS+=("$watcher")
  printed_twice() { (($(grep -c '"uptime_seconds"' "$WORK/watched") >= 2)); }
  wait_until 10 printed_twice || fail "--watch does not print again"
  kill "$watcher"
}

read_direct() {
  run_python - "$WORK/mount/file" "$kSize" <<'PYTHON'
import mmap, os, sys
buffer = mmap.mmap(-1, 1 << 17)
descriptor = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
for offset in range(0, int(sys.argv[2]), 1 << 17):
    assert os.preadv(descriptor, [buffer], offset) == 1 << 17
PYTHON
}

check_counters() {
  local before_hits
  read_direct
  at_least "bytes read from the disk" "$(status disk.read_bytes)" "$kSize"
  at_most "bytes read from the disk" "$(status disk.read_bytes)" $((kSize + kSize / 8))
  at_least "resident bytes" "$(status cache.resident_bytes)" "$kSize"
  at_least "misses and pages read ahead" "$(($(status cache.misses) + $(status readahead.issued_bytes) / 4096))" $((kSize / 4096))
  at_least "bytes read ahead of a stream" "$(status readahead.issued_bytes)" $((kSize / 2))
  at_least "used readahead" "$(status readahead.used_bytes)" $((kSize / 2))
  before_hits=$(status cache.hits)
  local reads
  reads=$(status disk.reads)
  read_direct
  equal "hits of a second reading" "$(($(status cache.hits) - before_hits))" $((kSize / 4096))
  equal "disk reads of a second reading" "$(status disk.reads)" "$reads"
  at_least "bytes read through fuse" "$(status fuse.read_bytes)" $((2 * kSize))

  curl -sS -o /dev/null "$HTTP/file"
  local sent
  sent=$(status send)
  sent=$(($(field copy_bytes <<<"$sent") + $(field vmsplice_bytes <<<"$sent") + $(field zerocopy_bytes <<<"$sent")))
  at_least "bytes sent" "$sent" "$kSize"
  at_most "bytes sent, the head of the answer among them" "$sent" $((kSize + 1024))
  equal "requests" "$(status http.requests)" 1
  equal "answers 2xx" "$(status http.responses_2xx)" 1
  http_code "$HTTP/nothing" >/dev/null
  equal "answers 4xx" "$(status http.responses_4xx)" 1

  local written
  written=$(status disk.written_bytes)
  head -c 1000000 "$WORK/mount/file" >"$WORK/mount/copy"
  at_least "bytes written" "$(($(status disk.written_bytes) - written))" 1000000
  equal "bytes written through fuse" "$(status fuse.write_bytes)" 1000000
}

check_scrub() {
  scrubbed() { (($(status checksum.pages_verified) >= kSize / 4096)); }
  wait_until 20 scrubbed || fail "no checksum was compared"
  equal "mode of checksums" "$(status checksum.mode)" scrub
  equal "bad pages" "$(status checksum.pages_bad)" 0
}

mkdir "$WORK/source" "$WORK/mount"
run_python "$E2E/lib_pattern.py" make "$WORK/source/file" "$kSize" 1
let_settle "$WORK/source"
start_mount --cache-size 32M --checksum scrub --checksum-period 1s --http 127.0.0.1:0 --control "$WORK/socket" "$WORK/source" "$WORK/mount"
check_shape
check_text
check_names
check_counters
check_scrub
check_watch
equal "errors" "$(status disk.errors)" 0
stop_gateway
[[ ! -e $WORK/socket ]] || fail "the control socket is left"
