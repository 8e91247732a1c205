#!/bin/bash
# The benchmark of caches prints a row per workload, cache and number of threads, JSON on demand, and refuses what it
# cannot measure with one line.
source "$(dirname "$0")/lib.sh"
need "$PYTHON"

refused() { refuses "$1" "$2" bench "${@:3}"; }  # CODE PATTERN ARGUMENT...

refused 2 "bench takes WHAT"
refused 2 "bench does not measure 'disk'; it knows: cache, fuse" disk
refused 2 "--seconds: 'soon' is not a duration" --seconds soon cache

if ! "$SLUICE" bench --seconds 0.001 --filter compute cache >"$WORK/compute" 2>"$WORK/err"; then
  grep -q "install libbenchmark-dev" "$WORK/err" || fail "no remedy in '$(cat "$WORK/err")'"
  exit 0
fi
equal "rows of the filter 'compute'" "$(tail -n +2 "$WORK/compute" | wc -l)" 2
refused 1 "--filter: '\[' is not a regular expression" --filter '[' cache
refused 1 "--filter: no row matches 'nothing'" --filter nothing cache

"$SLUICE" bench --json --seconds 0.01 cache 2>"$WORK/err" | "$PYTHON" -c '
import json, sys
rows = json.load(sys.stdin)
ours = [row for row in rows if row["cache"] == "sluice"]
assert [(row["workload"], row["threads"]) for row in ours] == [
    (workload, threads) for workload in ("hit-zipf", "hit-hot", "mixed", "miss") for threads in (1, 2)] + [
    ("p99-still", 1), ("p99-resize", 1)], ours
assert all(row["ns_per_read"] > 0 and row["speedup"] > 0 for row in rows), rows
for row in ours:
    ratio = row["hit_ratio"]
    expected = {"hit-zipf": ratio == 1, "hit-hot": ratio == 1, "mixed": 0.5 < ratio < 1, "miss": ratio == 0,
                "p99-still": ratio == 1, "p99-resize": 0 < ratio <= 1}
    assert expected[row["workload"]], row
assert any(row["cache"] == "list-lru" for row in rows), rows' || fail "the JSON is not as documented"
