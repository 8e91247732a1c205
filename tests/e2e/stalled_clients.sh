#!/bin/bash
# 150 clients that ask for much and stop reading hold no more memory than --send-pinned-max (a quarter of the cache) beside
# the cache, by every send method, nor keep it from a smaller size for longer than they hold it. Beyond it they get copies.
source "$(dirname "$0")/lib.sh"

readonly kMiB=$((1 << 20))
# Beside the cache: what clients may hold of it, and the gateway with 150 connections.
readonly kOther=$(((16 + 40) * kMiB))

use_memory_group || skip "no memory groups here"
mkdir "$WORK/source" "$WORK/mount"
run_python "$E2E/lib_pattern.py" make "$WORK/source/big" $((600 * kMiB)) 1

# Holds until END is there; the connections are open and full when READY is.
stall() {  # READY END
  run_python - "$HTTP" "$1" "$2" <<'PYTHON'
import os, socket, sys, time, urllib.parse
url, ready, end = sys.argv[1:]
address = urllib.parse.urlsplit(url)
clients = []
for i in range(150):
    client = socket.create_connection((address.hostname, address.port))
    client.sendall(f"GET /big HTTP/1.1\r\nHost: h\r\nRange: bytes={i * 4 << 20}-\r\n\r\n".encode())
    clients.append(client)
# Each has got its head, and what the kernel takes without a reader.
for client in clients:
    assert client.recv(16, socket.MSG_PEEK), "no answer"
open(ready, "w").close()
while not os.path.exists(end):
    time.sleep(0.05)
PYTHON
}

for method in auto copy vmsplice zerocopy; do
  rm -f "$WORK/ready" "$WORK/end"
  echo 0 >"$CGROUP/memory.max_usage_in_bytes" 2>/dev/null || true
  start_mount --cache-size 64M --send-method "$method" --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
  background stall "$WORK/ready" "$WORK/end"
  clients=$JOB
  wait_until 30 test -e "$WORK/ready" || fail "$method: the clients were not served"
  # More than that was sent, so the rest was copied.
  sent=$(status send)
  lent=$(($(field vmsplice_bytes <<<"$sent") + $(field zerocopy_bytes <<<"$sent")))
  at_least "$method: bytes that were copied" "$(field copy_bytes <<<"$sent")" $((16 * kMiB))
  [[ $method == zerocopy ]] || at_most "$method: bytes that went by reference" "$lent" $((16 * kMiB))
  # Others need memory meanwhile.
  run_python "$E2E/lib_pattern.py" check "$WORK/mount/big" $((600 * kMiB)) 1 || fail "$method: wrong bytes"
  at_most "$method: charged beside stalled clients" "$(memory_now)" $((64 * kMiB + kOther))
  [[ ! -e $CGROUP/memory.max_usage_in_bytes ]] || at_most "$method: charged at most" "$(memory_peak)" $((64 * kMiB + kOther))
  touch "$WORK/end"
  wait "$clients" || fail "$method: a client was not served"
  "$SLUICE" cache resize 8M "$WORK/mount" >/dev/null || fail "$method: no smaller size"
  wait_until 20 eval '(($(memory_now) < 8 * kMiB + kOther))' || fail "$method: $(memory_now) bytes are charged with 8M"
  stop_gateway
done
