#!/usr/bin/env bash
# tools/compare --quick measures every row, its JSON parses, its page is shown whole by a browser, and it leaves nothing
# behind, interrupted or not.
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

"$compare" all --quick --dir "$work/files" --json "$work/result.json" --html "$work/result.html" >"$work/table" 2>&1 &
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
    "mount": [mounts] * 6 + [mounts - {"backing"} | {"ceiling"}] * 3 + [mounts] * 7 +          # reads and names
             [mounts | {"sluice back", "page cache"}] * 4 +                                    # writes
             [mounts - {"backing"} | {"sluice back", "page cache"}] * 3 +                      # trees
             [mounts] * 4 + [mounts - {"backing"} | {"page cache"}] * 2 +                      # slow names, a slow disk
             [mounts] * 4,                                                                     # what files cost
    "http": [web] * 4 + [web | {"nginx-direct"}] * 11 + [web] * 5 + [web] * 3 + [web] * 4,     # slow names, connections
    "nfs": [{"sluice", "ganesha"}] * 6,
    "cache": [{"sluice", "page-cache"}] * 8 + [{"sluice", "page-cache"}] * 4,                  # what a GiB costs
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
            # A handful of connections or files cost less than the kernel's accounting shows.
            small = row["unit"] == "points" or row["curve"] and row["unit"] == "KiB"
            assert cell["skipped"] or cell["median"] > 0 or small and cell["median"] == 0, (row["key"], peer)
            assert cell["skipped"] or cell["memory_bytes"] is not None, (row["key"], peer)
            assert cell["skipped"] or cell["sluice_ratio"] or row["unit"] == "points" or small, (row["key"], peer)
            if not cell["skipped"] and row["key"].startswith("hot-"):
                assert all(0 <= sample["hits"] <= sample["operations"] for sample in cell["samples"]), (row["key"], peer)
                assert all(sample["latency_us"]["p99"] > 0 for sample in cell["samples"]), (row["key"], peer)
for peer in ("sluice", "ceiling"):  # neither has to be installed
    assert told["suites"]["mount"][6]["peers"][peer]["samples"], peer
for peer, cell in told["suites"]["cache"][0]["peers"].items():
    assert cell["skipped"] or any(peer in note for note in told["notes"]["cache"]), peer
assert told["versions"]["fio"] and told["machine"]["kernel"]
print("the table is complete")
END

# Nothing from elsewhere and no script; a row for each peer of each table, a chart for each row or curve.
whole_page() {  # FILE
  python3 - "$work/result.json" "$1" <<'END'
import html.parser
import json
import sys


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        assert tag not in ("script", "link", "img", "iframe"), tag
        assert not attributes.get("src") and attributes.get("href", "#").startswith("#"), attributes


with open(sys.argv[1], encoding="utf-8") as file:
    told = json.load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    page = Page()
    page.feed(file.read())
rows = [row for suite in told["suites"].values() for row in suite]
measured = [row for row in rows if any(cell.get("samples") for cell in row["peers"].values())]
charts = {row["curve"]["title"] if row["curve"] else row["key"] for row in measured}
ids = {attributes.get("id") for _, attributes in page.tags}
tags = [tag for tag, _ in page.tags]
assert {row["key"] for row in rows} <= ids, {row["key"] for row in rows} - ids
assert len(charts) == tags.count("svg"), (len(charts), tags.count("svg"))
assert tags.count("tr") == tags.count("table") + len(rows) + sum(len(row["peers"]) for row in rows)
assert tags.count("circle") >= len({row["curve"]["title"] for row in measured if row["curve"]})
END
}
whole_page "$work/result.html" || fail "the page is not complete"
! grep -qE 'url\(|@import' "$work/result.html" || fail "the page needs something else"

show_page() {
  local browser
  browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || command -v chromium-headless-shell) ||
    { echo "no browser: the page was not shown"; return 0; }
  mkdir "$work/profile"
  HOME=$work/profile timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
    --user-data-dir="$work/profile" --enable-logging=stderr --dump-dom "file://$work/result.html" \
    >"$work/dom" 2>"$work/browser.log" || { echo "chromium does not run here: $(tail -n 1 "$work/browser.log")"; return 0; }
  whole_page "$work/dom" || fail "the browser does not show all of the page"
  ! grep -q CONSOLE "$work/browser.log" || fail "the browser complains: $(grep -m 1 CONSOLE "$work/browser.log")"
  echo "the page is shown whole"
}
show_page

interrupt() {  # SIGNAL SUITE ROWS CONDITION...: a run of it, as soon as the condition holds
  local signal=$1 suite=$2 rows=$3
  shift 3
  "$compare" "$suite" --quick --rows "$rows" --dir "$work/files" >"$work/interrupted" 2>&1 &
  started=$!
  ran=$started
  until "$@" || grep -q skipped "$work/interrupted"; do
    kill -0 "$started" 2>/dev/null || break
    sleep 0.05
  done
  kill -"$signal" "$started" 2>/dev/null || true
  wait "$started" || true
  started=
  nothing_left "$suite, after SIG$signal"
}
hot_client_runs() { grep -lsF cache_client.py /proc/[0-9]*/cmdline | xargs -r grep -qsF "$work/files"; }
cgroup_and_clients_are_there() { cgroup_is_there && hot_client_runs; }
slow_mounts_are_there() { (($(grep -cF "$work/files" /proc/self/mountinfo) >= 2)); }

interrupt TERM mount warm- grep -qF "$work/files" /proc/self/mountinfo
interrupt INT mount slow-names slow_mounts_are_there
interrupt TERM cache hot- cgroup_and_clients_are_there
interrupt INT http idle- cgroup_is_there
