#!/bin/bash
# A file that grows through the mount can be downloaded while it does, as long as it was when the download began; one that
# is written over meanwhile is cut short, or refused before anything was sent, never mixed.
source "$(dirname "$0")/lib.sh"

readonly kSize=$((48 << 20))

# Writes until the file `stop` appears; makes the file `written` again and again.
writer() {  # append | overwrite
  run_python - "$WORK/mount/log" "$WORK/stop" "$WORK/written" "$1" <<'PYTHON'
import os, sys
path, stop, written, how = sys.argv[1:]
file = os.open(path, os.O_WRONLY | (os.O_APPEND if how == "append" else 0))
while not os.path.exists(stop):
    for _ in range(10):
        if how == "append":
            os.write(file, b"one more line\n")
        else:
            os.pwrite(file, b"another", 47 << 20)
    open(written, "w").close()
PYTHON
}

# Takes a part, waits until more was written, takes the rest: "whole" when it is what the file held, else what is wrong.
download() {
  run_python - "$HTTP" "$WORK/source/log" "$WORK/written" <<'PYTHON'
import http.client, os, sys, time
url, source, written = sys.argv[1:]
client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
client.request("GET", "/log")
response = client.getresponse()
if response.status == 503:  # it changed before any of it could be sent, several times
    sys.exit(print("refused"))
length = int(response.headers["Content-Length"])
got = response.read(1 << 20)
for _ in range(2):  # the second time is surely after the first part
    os.path.exists(written) and os.unlink(written)
    while not os.path.exists(written):
        time.sleep(0.001)
try:
    got += response.read()
except http.client.IncompleteRead as short:
    got += short.partial
with open(source, "rb") as file:
    expected = file.read(length)
if got == expected:
    print("whole")
elif len(got) < length:
    print("short")
else:
    print("mixed")
PYTHON
}

downloads_while() {  # HOW EXPECTED
  local process outcome i
  rm -f "$WORK/stop"
  writer "$1" &
  process=$!
  for i in 1 2 3; do
    outcome=$(download)
    [[ $outcome =~ ^($2)$ ]] || fail "download $i of a file that others $1 is $outcome, not $2"
  done
  touch "$WORK/stop"
  wait "$process" || fail "the writer failed"
}

mkdir "$WORK/source" "$WORK/mount"
run_python "$E2E/lib_pattern.py" make "$WORK/source/log" "$kSize" 1
start_mount --cache-size 64M --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
downloads_while append whole
equal "replies broken off" "$(status http.broken_off)" 0
downloads_while overwrite "short|refused"
equal "replies broken off or refused" "$(($(status http.broken_off) + $(status http.responses_5xx)))" 3
