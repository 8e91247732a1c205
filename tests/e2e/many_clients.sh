#!/bin/bash
# More HTTP clients than the gateway may have descriptors take nothing from the mount: idle ones, and those that ask for a file
# each and do not read. When they leave, HTTP serves again.
source "$(dirname "$0")/lib.sh"

readonly kDescriptors=1024

# Connects CLIENTS times, asks for /big/N when PATHS is "ask", says "ready", and stays until its input ends.
clients() {  # CLIENTS idle|ask
  run_python - "${HTTP#http://}" "$1" "$2" 3<&0 <<'PYTHON'
import os, resource, socket, sys, time
address, count, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
host, port = address.rsplit(":", 1)
held = []
for number in range(count):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    try:
        client.connect((host, int(port)))
    except BlockingIOError:
        pass
    held.append(client)
if what == "ask":
    for number, client in enumerate(held):
        try:
            client.sendall(f"GET /big/{number % 600} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        except OSError:
            pass
print("ready", flush=True)
os.read(3, 1)
PYTHON
}

mount_works() {  # WHAT
  local name
  for name in "$WORK"/mount/small/*; do
    cat "$name" >/dev/null || fail "$1: $name cannot be opened in the mount"
  done
  ls -l "$WORK/mount" >/dev/null || fail "$1: the mount cannot be listed"
  echo new >"$WORK/mount/new" || fail "$1: no file can be made in the mount"
  status pid >/dev/null || fail "$1: the gateway does not answer"
}

with_clients() {  # CLIENTS idle|ask
  coproc CLIENTS { clients "$@"; }
  local line process=$CLIENTS_PID input=${CLIENTS[1]}
  read -r -t 60 line <&"${CLIENTS[0]}" || fail "the clients do not start"
  mount_works "$*"
  exec {input}>&-
  wait "$process" || fail "the clients failed"
  wait_until 20 http_serves || fail "$*: HTTP does not serve when the clients are gone"
}
http_serves() { [[ $(http_code --max-time 2 "$HTTP/small/1") == 200 ]]; }

mkdir -p "$WORK/source/big" "$WORK/source/small" "$WORK/mount"
for i in $(seq 0 599); do truncate -s 8M "$WORK/source/big/$i"; done
for i in $(seq 1 200); do echo "$i" >"$WORK/source/small/$i"; done
chmod -R a+rX "$WORK/source"
DAEMON_PREFIX=(sh -c "ulimit -n $kDescriptors; exec \"\$@\"" sh)
start_mount --cache-size 32M --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
equal "descriptors that the gateway may have" "$(awk '/Max open files/ { print $5 }' "/proc/$GATEWAY/limits")" "$kDescriptors"
with_clients 1500 idle
with_clients 300 ask
with_clients 1500 ask
