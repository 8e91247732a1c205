#!/bin/bash
# 300 clients that go away in the middle of a body leave nothing behind: no descriptors, no connections, no memory that
# nobody can use, and the next client gets exact bytes.
source "$(dirname "$0")/lib.sh"

readonly kSize=$((64 << 20))

go_away() {
  run_python - "$HTTP/big" "$kSize" 300 <<'PYTHON'
import random, socket, struct, sys
import lib_http
url, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seed = random.randrange(1 << 32)
chosen = random.Random(seed)
lingering = []
for i in range(count):
    first = chosen.randrange(size // 2)
    response = lib_http.Response(url, {"Range": f"bytes={first}-"}, receive_buffer=chosen.choice([None, 65536]))
    response.judge(1, first, chosen.randrange(1 << 20))
    if chosen.random() < 0.5:  # end by RST
        response.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    lingering.append(response)
    if len(lingering) > chosen.randrange(20):
        lingering.pop(chosen.randrange(len(lingering))).close()
PYTHON
}
check_all() {
  run_python -c 'import sys, lib_http; lib_http.Response(sys.argv[1]).judge(1, 0)' "$HTTP/big"
}
no_connections() { [[ $(status http.connections_open) == 0 ]]; }
descriptors_are_back() { (($(open_descriptors) <= descriptors)); }
# Cooled memory is looked at when memory is wanted, so what the last reply left may cool on; nothing else may, and the cache
# must be able to fill.
memory_is_usable() {
  at_most "$1: frames that cool" "$(status arena.frames_cooling)" $(((5 << 20) / 4096))
  at_least "$1: memory that holds the file" "$(status cache.resident_bytes)" $(((32 << 20) * 8 / 10))
}

mkdir "$WORK/source"
run_python "$E2E/lib_pattern.py" make "$WORK/source/big" "$kSize" 1
for method in vmsplice copy zerocopy; do
  start_serve --cache-size 32M --send-method "$method" "$WORK/source"
  check_all  # the pools of pipes and descriptors are filled
  descriptors=$(open_descriptors)
  go_away
  check_all || fail "$method: the file is not exact after the disconnects"
  wait_until 10 no_connections || fail "$method: $(status http.connections_open) connections are left"
  wait_until 10 descriptors_are_back || fail "$method: $(open_descriptors) descriptors, $descriptors before"
  for _ in 1 2; do check_all; done  # what cooled is wanted now
  memory_is_usable "$method"
  stop_gateway
done
