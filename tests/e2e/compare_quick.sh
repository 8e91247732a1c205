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
  ! cgroup_is_there || fail "$1: a memory cgroup is left"
}

cgroup_is_there() {
  [ -n "$(find /sys/fs/cgroup -name "sluice-compare.$ran*" 2>/dev/null)" ]
}

"$compare" all --quick --dir "$work/files" --json "$work/result.json" >"$work/table" 2>&1 &
started=$!
ran=$started
status=0
wait "$started" || status=$?
[ "$status" = 0 ] || { cat "$work/table"; fail "it ended with status $status"; }
started=
cat "$work/table"
nothing_left "after a run"

python3 - "$work/result.json" "$work/table" <<'END'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    told = json.load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    table = file.read()
mounts = {"sluice", "backing", "bindfs", "mergerfs", "rclone"}
web = {"sluice", "nginx", "rclone"}
wanted = {
    "mount": [mounts] * 6 + [mounts - {"backing"} | {"ceiling"}] * 3 + [mounts] * 7 +
             [mounts | {"sluice back", "page cache"}] * 4 + [mounts - {"backing"} | {"sluice back", "page cache"}] * 3 +
             [mounts] * 4 + [mounts - {"backing"} | {"page cache"}] * 2,
    "http": [web] * 4 + [web | {"nginx-direct"}] * 11 + [web] * 8,
    "nfs": [{"sluice", "ganesha"}] * 6,
    "cache": [{"sluice", "page-cache"}] * 8,
}
assert set(told["suites"]) == set(wanted), told["suites"].keys()
for name, peers_of_rows in wanted.items():
    assert len(told["suites"][name]) == len(peers_of_rows), name
    for row, peers in zip(told["suites"][name], peers_of_rows):
        assert set(row["peers"]) == peers, row["key"]
        assert row["title"] in table, row["title"]
        for peer, cell in row["peers"].items():
            assert cell["failed"] is None, (row["key"], peer, cell["failed"])
            assert cell["skipped"] or len(cell["samples"]) == told["pairs"], (row["key"], peer)
            assert cell["skipped"] or row["unit"] == "points" or cell["median"] > 0, (row["key"], peer)
            if not cell["skipped"] and row["key"].startswith("hot-"):
                assert all(0 <= sample["hits"] <= sample["operations"] for sample in cell["samples"]), (row["key"], peer)
                assert all(sample["latency_us"]["p99"] > 0 for sample in cell["samples"]), (row["key"], peer)
for peer in ("sluice", "ceiling"):  # neither has to be installed
    assert told["suites"]["mount"][6]["peers"][peer]["samples"], peer
for peer, cell in told["suites"]["cache"][0]["peers"].items():
    assert cell["skipped"] or any(peer in note for note in told["notes"]["cache"]), peer
print("the table is complete")
END

interrupt() {  # SUITE CONDITION...: a run of it, as soon as the condition holds
  "$compare" "$1" --quick --dir "$work/files" >"$work/interrupted" 2>&1 &
  started=$!
  ran=$started
  until "${@:2}" || grep -q skipped "$work/interrupted"; do
    kill -0 "$started" 2>/dev/null || break
    sleep 0.05
  done
  kill -TERM "$started" 2>/dev/null || true
  wait "$started" || true
  started=
  nothing_left "$1, after SIGTERM"
}
hot_client_runs() { grep -lsF cache_client.py /proc/[0-9]*/cmdline | xargs -r grep -qsF "$work/files"; }
cgroup_and_clients_are_there() { cgroup_is_there && hot_client_runs; }

interrupt mount grep -qF "$work/files" /proc/self/mountinfo
interrupt cache cgroup_and_clients_are_there
interrupt http cgroup_is_there
