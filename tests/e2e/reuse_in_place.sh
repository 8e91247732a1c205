#!/bin/bash
# A gateway that reuses lent memory in place is found out by the judges of disconnects.sh: where bytes go by reference clients
# get foreign ones, and where they are copied they do not.
source "$(dirname "$0")/lib.sh"

SLUICE=${SLUICE_REUSE_IN_PLACE:-$(dirname "$SLUICE")/tests/sluice_reuse_in_place}
[[ -x $SLUICE ]] || skip "$SLUICE is not built"

run_clients() {  # METHOD
  start_mount --cache-size 32M --send-method "$1" --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
  code=0
  seen=$(run_python "$E2E/lib_disconnects.py" run "$HTTP" "$WORK/source" "$WORK/mount" 2000 2>"$WORK/judge") || code=$?
  stop_gateway
}

mkdir "$WORK/source" "$WORK/mount"
run_python "$E2E/lib_disconnects.py" make "$WORK/source"
for method in vmsplice zerocopy; do
  run_clients "$method"
  equal "$method: exit code of the judges" "$code" 1
  [[ $seen == *"are foreign bytes"* ]] || fail "$method: the judges say '$seen' $(cat "$WORK/judge")"
done
run_clients copy
equal "copy: exit code of the judges, who say '$seen'" "$code" 0
