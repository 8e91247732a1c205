#!/bin/bash
# A backing that fails the n-th call that it gets, with every error, once or from then on, for every n of a fixed piece of
# work: what was reported as done is there, what was reported as failed may be there or not, and no byte is ever
# anything else. The gateway neither ends nor hangs.
#
# FAULT_SWEEP=all goes through every n of every error (some minutes); else each error has its share of them.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root

mkdir -p "$WORK/behind" "$WORK/mount"
start_backing
start_mount --cache-size 16M --attr-timeout 0 --entry-timeout 0 --readahead 64K "$WORK/backing" "$WORK/mount"
run_python "$E2E/lib_faults.py" "$WORK/mount" "$WORK/behind" "$WORK/faults" "${FAULT_SWEEP:-some}" || fail "see above"
is_alive "$GATEWAY" || fail "the gateway ended"
stop_gateway
stop_backing
