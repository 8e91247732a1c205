#!/bin/bash
# A gateway that is told to end accepts nobody, lets a slow client have its whole reply, and breaks off one that takes longer
# than --drain-timeout.
source "$(dirname "$0")/lib.sh"

readonly kSize=$((64 << 20))

# Reads its first bytes, says "begun", and the rest once its input ends: "whole" or "broken off".
slow_client() {
  run_python - "$HTTP/file" 3<&0 <<'PYTHON'
import os, sys
import lib_http
response = lib_http.Response(sys.argv[1], receive_buffer=4096)
offset = response.judge(5, 0, 1 << 20)
print("begun", flush=True)
os.read(3, 1)
try:
    response.judge(5, offset)
    print("whole", flush=True)
except (SystemExit, OSError):
    print("broken off", flush=True)
PYTHON
}
start_client() {
  coproc CLIENT { slow_client; }
  local line
  read -r -t 30 line <&"${CLIENT[0]}" || fail "the client does not start"
  equal "the client" "$line" begun
}
end_client() {  # EXPECTED
  local line input=${CLIENT[1]} process=$CLIENT_PID
  exec {input}>&-
  read -r -t 60 line <&"${CLIENT[0]}" || fail "the client says nothing"
  equal "reply to the slow client" "$line" "$1"
  wait "$process" || true
}
refuses_clients() { [[ $(curl -sS -o /dev/null -w '%{http_code}' --max-time 5 "$HTTP/file" -r 0-0 2>/dev/null) == 000 ]]; }

mkdir "$WORK/source"
run_python "$E2E/lib_pattern.py" make "$WORK/source/file" "$kSize" 5
chmod -R a+rX "$WORK/source"

start_serve --cache-size 32M --drain-timeout 60s "$WORK/source"
start_client
kill -TERM "$GATEWAY"
wait_until 10 refuses_clients || fail "a gateway that ends still accepts clients"
is_alive "$GATEWAY" || fail "the gateway did not wait for its client"
end_client whole
wait_until 20 has_ended "$GATEWAY" || fail "the gateway does not end after its last reply"
await_end "$GATEWAY"

start_serve --cache-size 32M --drain-timeout 1s "$WORK/source"
start_client
kill -TERM "$GATEWAY"
wait_until 15 has_ended "$GATEWAY" || fail "the gateway waits longer than --drain-timeout"
await_end "$GATEWAY"
end_client "broken off"
