#!/bin/bash
# aria2: one file by 16 connections, its checksum, and a download that goes on where it was ended.
source "$(dirname "$0")/lib.sh"
need aria2c

readonly kSize=$((96 << 20))

mkdir "$WORK/source" "$WORK/got"
run_python "$E2E/lib_pattern.py" make "$WORK/source/file" "$kSize" 3
chmod -R a+rX "$WORK/source"
start_serve --cache-size 64M "$WORK/source"
fetch() {  # OPTION...
  aria2c --no-conf -q -x 16 -s 16 -k 1M --max-tries=1 --file-allocation=none -d "$WORK/got" "$@" "$HTTP/file"
}

fetch --checksum=sha-256="$(sha256sum "$WORK/source/file" | cut -d ' ' -f 1)" || fail "aria2 does not get the file"
same_bytes "$WORK/got/file" "$WORK/source/file"
at_least "connections" "$(status http.connections_accepted)" 16
at_least "answers that are parts" "$(status http.requests)" 16

rm "$WORK/got/file"
fetch --max-overall-download-limit=16M --stop=2 --auto-save-interval=1 || true
[[ -e $WORK/got/file.aria2 ]] || fail "the download was not ended in the middle"
fetch -c || fail "aria2 does not go on"
same_bytes "$WORK/got/file" "$WORK/source/file"
equal "failures of the server" "$(status http.responses_5xx)" 0
stop_gateway
