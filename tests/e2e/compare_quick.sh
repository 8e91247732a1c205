#!/usr/bin/env bash
# tools/compare --quick measures every row, its JSON parses, and it leaves nothing behind, interrupted or not.
set -euo pipefail

for tool in fio wrk curl python3; do
  command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done

source_dir=${SLUICE_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
compare=$source_dir/tools/compare
work=$(mktemp -d /var/tmp/compare_quick.XXXXXX)
started=
finish() {
  if [ -n "$started" ]; then
    kill "$started" 2>/dev/null || true
    wait "$started" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
chmod 755 "$work"
mkdir "$work/files"

fail() {
  echo "FAILED: $*"
  exit 1
}

nothing_left() {
  [ -z "$(ls -A "$work/files")" ] || fail "$1: files are left: $(ls -A "$work/files")"
  ! grep -qF "$work" /proc/self/mountinfo || fail "$1: a mount is left"
  ! grep -lqF "$work/files" /proc/[0-9]*/cmdline 2>/dev/null || fail "$1: a process is left"
}

"$compare" all --quick --dir "$work/files" --json "$work/result.json" | tee "$work/table"
nothing_left "after a run"

python3 - "$work/result.json" "$work/table" <<'END'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    told = json.load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    table = file.read()
wanted = {"mount": ({"sluice", "backing", "bindfs"}, 5), "http": ({"sluice", "nginx"}, 4)}
assert set(told["suites"]) == set(wanted), told["suites"].keys()
for name, (peers, rows) in wanted.items():
    assert len(told["suites"][name]) == rows, name
    for row in told["suites"][name]:
        assert set(row["peers"]) == peers, row["key"]
        assert row["title"] in table, row["title"]
        for peer, cell in row["peers"].items():
            assert cell["failed"] is None, (row["key"], peer, cell["failed"])
            assert cell["skipped"] or len(cell["samples"]) == told["pairs"], (row["key"], peer)
            assert cell["skipped"] or cell["median"] > 0, (row["key"], peer)
print("the table is complete")
END

"$compare" mount --quick --dir "$work/files" >"$work/interrupted" 2>&1 &
started=$!
until grep -qF "$work/files" /proc/self/mountinfo || grep -q skipped "$work/interrupted"; do
  kill -0 "$started" 2>/dev/null || break
  sleep 0.05
done
kill -TERM "$started" 2>/dev/null || true
wait "$started" || true
started=
nothing_left "after SIGTERM"
