#!/bin/bash
# rclone's http backend sees the tree by its pages: every name, size and byte, and dates to the second.
source "$(dirname "$0")/lib.sh"
need rclone

export RCLONE_CONFIG=/dev/null

mkdir -p "$WORK/source/a b/deep" "$WORK/source/many"
run_python - "$WORK/source" <<'PYTHON'
import os, sys
os.chdir(sys.argv[1])
for name in ["plain", "a b/100%", "a b/q?r#s", "a b/quote\"'&<b>", "a b/colon:x", "a b/\u00fc\u20ac", "a b/deep/+plus",
             "a b/back\\slash", "a b/semi;colon", "a b/index.htm"]:
    with open(name, "w") as file:
        file.write(name * 1000)
    os.utime(name, (1600000000, 1600000000))
for i in range(500):
    with open(f"many/{i}", "w") as file:
        file.write(str(i))
PYTHON
chmod -R a+rX "$WORK/source"
start_serve "$WORK/source"
rclone check -q --download --http-url "$HTTP" :http: "$WORK/source" || fail "rclone finds differences"
equal "files that rclone lists" "$(rclone lsf -R --files-only --http-url "$HTTP" :http: | wc -l)" 510
equal "date" "$(rclone lsf --format t --http-url "$HTTP" :http:plain)" "$(date -d @1600000000 '+%F %T')"
rclone copy -q --http-url "$HTTP" :http: "$WORK/copy" || fail "rclone cannot copy"
empty "differences of the copy" "$(diff -r "$WORK/source" "$WORK/copy" 2>&1)"
stop_gateway
