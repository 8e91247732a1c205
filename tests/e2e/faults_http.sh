#!/bin/bash
# The faults of faults.sh under HTTP: GET, HEAD, ranges, directories, files that are not there. Each reply is right in status
# and in every byte, or has an error status, or is a connection that ends before its Content-Length: never short without a
# word, never wrong, never 404 for a file that is there.
#
# FAULT_SWEEP=all goes through every call and every error (some minutes).
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root

mkdir -p "$WORK/behind"
start_backing
start_serve --cache-size 16M --attr-timeout 0 --entry-timeout 0 --readahead 64K "$WORK/backing"
run_python "$E2E/lib_faults_http.py" "${HTTP#http://}" "$WORK/behind" "$WORK/faults" "${FAULT_SWEEP:-some}" || fail "see above"
is_alive "$GATEWAY" || fail "the gateway ended"
stop_gateway
stop_backing
