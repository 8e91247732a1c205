#!/bin/bash
# The simulator prints a row per policy and size, JSON on demand, and refuses what it cannot replay with one line.
source "$(dirname "$0")/lib.sh"
need "$PYTHON" gzip

refused() { refuses "$1" "$2" sim "${@:3}"; }  # CODE PATTERN ARGUMENT...

# a b c a b c ...: a cache of 3 misses three times, one of 2 always by LRU.
for ((i = 0; i < 10; i++)); do printf 'a\nb\nc\n'; done >"$WORK/loop"
hits() {  # SIZE-OPTION...
  "$SLUICE" sim --json --policy lru "$@" | "$PYTHON" -c 'import json, sys; print(*[run["hits"] for run in json.load(sys.stdin)])'
}
equal "hits at 2 and 3 blocks" "$(hits --cache-blocks 2,3 "$WORK/loop")" "0 27"
gzip -c "$WORK/loop" >"$WORK/no-telling-name"
equal "hits of the gzipped trace" "$(hits --cache-blocks 3 "$WORK/no-telling-name")" 27
equal "hits of standard input" "$(hits --cache-blocks 3 - <"$WORK/no-telling-name")" 27
equal "rows for all policies" "$("$SLUICE" sim --cache-blocks 1,2 "$WORK/loop" | tail -n +2 | wc -l)" 8

"$SLUICE" sim --json --policy lru,arc --cache-blocks 3 "$WORK/loop" | "$PYTHON" -c '
import json, sys
for run, policy in zip(json.load(sys.stdin), ["lru", "arc"], strict=True):
    seconds = run.pop("seconds")
    assert seconds >= 0, seconds
    assert run == {"policy": policy, "blocks": 3, "bytes": None, "requests": 30, "hits": 27, "misses": 3,
                   "hit_ratio": 0.9, "requested_bytes": None, "missed_bytes": None}, run' || fail "the JSON is not as documented"

refused 2 "--policy: 'fifo' is not known; choose from lru|" --policy lru,fifo --cache-blocks 3 "$WORK/loop"
refused 2 "--policy: '' is not known" --policy lru, --cache-blocks 3 "$WORK/loop"
refused 2 "--cache-blocks: '3x' is not a whole number" --cache-blocks 3x "$WORK/loop"
refused 2 "--cache-blocks: a cache of nothing" --cache-blocks 3,0 "$WORK/loop"
refused 2 "--cache-bytes: '1Q' is not a size" --cache-bytes 1Q "$WORK/loop"
refused 2 "needs a size; give" "$WORK/loop"
refused 2 "--block-size" --block-size 4K --cache-blocks 3 "$WORK/loop"
refused 2 "sim takes TRACE" --cache-blocks 3
refused 2 "--format: 'csv' is not known; choose one of arc|oracle|vscsi|lines" --format csv --cache-blocks 3 "$WORK/loop"
refused 1 "--cache-bytes: a trace of format lines has no sizes; give --cache-blocks" --cache-bytes 1M "$WORK/loop"
refused 1 "'$WORK/loop', line 1: 'a', not .*--format" --format arc --cache-blocks 3 "$WORK/loop"
refused 1 "'$WORK/loop', record 1: .*--format" --format oracle --cache-blocks 3 "$WORK/loop"
refused 1 "'$WORK/nothing': No such file" --cache-blocks 3 "$WORK/nothing"
refused 1 "'$WORK': Is a directory" --cache-blocks 3 "$WORK"
head -c 20 "$WORK/no-telling-name" >"$WORK/short"
refused 1 "'$WORK/short' is damaged or cut short" --cache-blocks 3 "$WORK/short"
refused 1 "'standard input' holds no request" --cache-blocks 3 - </dev/null
