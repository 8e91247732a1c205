#!/bin/bash
# The benchmark of the mount prints a row per workload, JSON on demand, and leaves nothing behind, also when it is
# interrupted.
source "$(dirname "$0")/lib.sh"
need "$PYTHON"
need_fuse
export TMPDIR=$WORK

nothing_left() {
  [[ -z $(find "$WORK" -maxdepth 1 -name 'sluice-bench-*') ]] || fail "files are left"
  ! grep -q "$WORK/sluice-bench" /proc/self/mountinfo || fail "a mount is left"
}

refuses 1 "--filter: no row matches 'nothing'; rows are named as 'random-4k'" bench --filter nothing fuse
"$SLUICE" bench --json --seconds 0.2 fuse 2>"$WORK/err" | "$PYTHON" -c '
import json, sys
rows = json.load(sys.stdin)
assert [row["workload"] for row in rows] == ["random-4k", "random-4k-shared", "random-4k-deep", "sequential-1m"], rows
for row in rows:
    assert row["ratio"] > 0, row
    for side in ("sluice", "ceiling"):
        assert row[side]["reads_per_second"] > 0 and row[side]["megabytes_per_second"] > 0, row' ||
  fail "the JSON is not as documented: $(cat "$WORK/err")"
nothing_left
equal "lines of the table" "$("$SLUICE" bench --filter deep --seconds 0.1 fuse | wc -l)" 2
nothing_left

"$SLUICE" bench --seconds 600 fuse >"$WORK/out" 2>"$WORK/err" &
bench=$!
JOBS_OF_OURS+=("$bench")
wait_until 20 grep -q "$WORK/sluice-bench.*sluice" /proc/self/mountinfo || fail "it does not start"
kill -TERM "$bench"
wait "$bench" && fail "an interrupted benchmark ended well"
grep -q interrupted "$WORK/err" || fail "it does not say that it was interrupted: $(cat "$WORK/err")"
nothing_left
