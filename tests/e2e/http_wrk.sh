#!/bin/bash
# wrk: many connections that ask without a pause get no error, small files, ranges and directories alike.
source "$(dirname "$0")/lib.sh"
need wrk

mkdir -p "$WORK/source/dir"
head -c 4096 /dev/urandom >"$WORK/source/small"
head -c 2000000 /dev/urandom >"$WORK/source/large"
for i in $(seq 100); do echo "$i" >"$WORK/source/dir/$i"; done
chmod -R a+rX "$WORK/source"
start_serve --cache-size 32M "$WORK/source"
hammer() {  # WRK-ARGUMENT...
  wrk -t 1 -c 64 -d 2s "$@" >"$WORK/out"
  empty "errors of wrk $*" "$(grep -E 'Socket errors|Non-2xx' "$WORK/out")"
  at_least "requests per second of wrk $*" "$(sed -n 's/^Requests\/sec: *\([0-9]*\).*/\1/p' "$WORK/out")" 10
}
hammer "$HTTP/small"
hammer -H 'Range: bytes=1000-1999' "$HTTP/large"
hammer -H 'Range: bytes=0-9,1000-1009,5000-5009' "$HTTP/large"
hammer "$HTTP/dir/"
equal "failures of the server" "$(status http.responses_5xx)" 0
stop_gateway
