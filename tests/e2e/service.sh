#!/bin/bash
# What systemd sees of a gateway: ready when the mount answers, stopping at SIGTERM, lines with their priority in the
# journal, and units that run a configuration file which says all.
source "$(dirname "$0")/lib.sh"

mkdir -p "$WORK/source" "$WORK/mount"
echo hello >"$WORK/source/file"
cat >"$WORK/films.conf" <<END
source = $WORK/source
mountpoint = $WORK/mount
cache-size = 16M
log-level = debug
END

# Starts the gateway as systemd does, with standard error as its journal, and writes down what it is told: a line for
# each message, and what the mount showed at that moment.
cat >"$WORK/manager.py" <<'PYTHON'
import os, signal, socket, subprocess, sys
binary, config, mount, journal, address = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\0" + address[1:] if address[0] == "@" else address)
listener.settimeout(30)
with open(journal, "wb") as log:
    seen = os.fstat(log.fileno())
    environment = os.environ | {"NOTIFY_SOCKET": address, "JOURNAL_STREAM": f"{seen.st_dev}:{seen.st_ino}"}
    gateway = subprocess.Popen([binary, "mount", "--foreground", "--config", config], env=environment, stderr=log)
try:
    ready = listener.recv(4096).decode()
    with open(f"{mount}/file") as file:
        print(ready.replace("\n", "|") + file.read().strip())
    gateway.send_signal(signal.SIGHUP)  # systemctl reload: nothing to reopen here, and no reason to end
    listener.settimeout(0.3)
    try:
        print("after a reload:", listener.recv(4096).decode())
    except TimeoutError:
        pass
    listener.settimeout(30)
    gateway.send_signal(signal.SIGTERM)
    print(listener.recv(4096).decode().replace("\n", "|"))
finally:
    gateway.terminate()
    print("exit", gateway.wait(30))
PYTHON

for address in "$WORK/notify" "@sluice-e2e-$$"; do
  told=$(run_python "$WORK/manager.py" "$SLUICE" "$WORK/films.conf" "$WORK/mount" "$WORK/journal" "$address") ||
    fail "the gateway could not be managed: $told $(cat "$WORK/journal")"
  equal "what the manager was told at $address" "$told" "READY=1|STATUS=$WORK/source is mounted at $WORK/mount|hello
STOPPING=1|STATUS=replies under way are finished|
exit 0"
  grep -q "^<6>$WORK/source is mounted at" "$WORK/journal" || fail "no priority in the journal: $(cat "$WORK/journal")"
done

# Nobody listens, or the name is no socket's: no reason not to serve.
for address in "$WORK/none" "none" "@"; do
  NOTIFY_SOCKET=$address "$SLUICE" mount --config "$WORK/films.conf" || fail "not mounted with NOTIFY_SOCKET=$address"
  equal "the file" "$(cat "$WORK/mount/file")" hello
  "$SLUICE" umount "$WORK/mount" || fail "not unmounted"
done
output=$("$SLUICE" mount --source "$WORK/source" 2>&1) && fail "mounted nowhere"
[[ $output == *"mount takes SOURCE MOUNTPOINT"* ]] || fail "the complaint about a missing mountpoint: $output"

if command -v systemd-analyze >/dev/null && [[ -e $(dirname "$SLUICE")/systemd/sluice-mount@.service ]]; then
  for command in mount serve; do
    sed "s|^ExecStart=[^ ]*|ExecStart=$SLUICE|" "$(dirname "$SLUICE")/systemd/sluice-$command@.service" \
      >"$WORK/sluice-$command@films.service"
    empty "systemd-analyze of sluice-$command@" \
      "$(systemd-analyze verify --man=no "$WORK/sluice-$command@films.service" 2>&1 | grep sluice || true)"
  done
fi
