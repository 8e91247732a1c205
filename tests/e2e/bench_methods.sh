#!/bin/bash
# `sluice bench methods` measures every way to send a file, cold and warm, with the right bytes; what is exact is as it
# must be: calls, copies and pages that are left behind. It draws them, leaves nothing, and says in one line what it
# cannot do. No time is judged.
source "$(dirname "$0")/lib.sh"

export TMPDIR=$WORK
"$SLUICE" bench --size 16M --svg "$WORK/picture.svg" --json methods >"$WORK/rows" || fail "bench methods"
empty "what is left in the folder" "$(find "$WORK" -name 'sluice-bench*')"

cat >"$WORK/judge.py" <<'PYTHON'
import json, sys
MIB = 16
rows = {(row["method"], row["state"]): row for row in json.load(open(sys.argv[1]))}
methods = ["read-write", "mmap-write", "sendfile", "splice", "splice-direct", "direct-write", "uring-write",
           "msg-zerocopy", "send-zc", "sluice-copy", "sluice-vmsplice", "sluice-zerocopy"]
assert list(rows) == [(method, state) for method in methods for state in ("cold", "warm")], list(rows)

known = ("sluice-copy", "read-write", "mmap-write", "sendfile", "splice", "direct-write")
for (method, state), row in rows.items():
    if row["refused"] is not None:  # containers forbid io_uring; what every system has must run
        assert method not in known, row
        continue
    what = f"{method}, {state}: {row}"
    assert row["bytes"] == MIB << 20 and row["seconds"] > 0, what
    assert row["sender_cpu_seconds"] >= 0 and row["receiver_cpu_seconds"] > 0, what
    own, calls = row["system_calls_by_sender"], row["system_calls"]
    assert (own is None) == method.startswith("sluice"), what
    if own is not None:  # two ways to count say the same
        assert calls == own, what
    copies = {"read-write": 2, "mmap-write": 1, "direct-write": 1, "uring-write": 1, "sluice-copy": 1}.get(method, 0)
    if method in ("msg-zerocopy", "send-zc", "sluice-zerocopy"):
        assert row["copied_bytes"] <= MIB << 20, what  # as the kernel says
    else:
        assert row["copied_bytes"] == copies * MIB << 20, what
    if "direct" in method or method.startswith(("uring", "sluice")):
        assert row["page_cache_pages"] == 0, what
    else:
        assert row["page_cache_pages"] <= MIB * 256, what

def calls(method):
    return {rows[method, state]["system_calls"] for state in ("cold", "warm")}
assert calls("read-write") == {2 * MIB * 32}, calls("read-write")
assert calls("sendfile") == {12}, calls("sendfile")
assert calls("mmap-write") == {MIB + 2}, calls("mmap-write")
assert calls("splice") == {2 * MIB}, calls("splice")
assert calls("direct-write") == {2 * MIB}, calls("direct-write")
for method, switches, copied in (("read-write", 2000, 4), ("sendfile", 20, 2)):
    row = rows[method, "cold"]
    assert row["textbook_switches"] == switches and row["textbook_copied_bytes"] == copied * MIB << 20, row

pipe = rows["sluice-vmsplice", "warm"]
if rows["uring-write", "warm"]["refused"] is None and pipe["system_calls"] is not None:  # else by epoll: more
    # Whatever else the store's own threads do in such a time. A wait of SEND_ZC is two calls at most.
    assert pipe["system_calls"] <= pipe["system_calls_goal"] + 20, pipe
    assert pipe["system_calls"] >= 2 * MIB, pipe
    zerocopy = rows["sluice-zerocopy", "warm"]
    if zerocopy["refused"] is None:
        assert MIB <= zerocopy["system_calls"] <= MIB + 2 * zerocopy["waits"] + 20, zerocopy
print(rows["read-write", "cold"]["counted_by"])
PYTHON
counted_by=$(run_python "$WORK/judge.py" "$WORK/rows") || fail "the rows are not as they must be"

run_python - "$WORK/picture.svg" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
width, height = (float(root.get(side)) for side in ("width", "height"))
names = {"{http://www.w3.org/2000/svg}" + name for name in ("rect", "text")}
for part in root:
    if part.tag in names and part.get("x") is not None:
        assert 0 <= float(part.get("x")) < width and 0 <= float(part.get("y")) < height, tree.tostring(part)
text = [part.text for part in root if part.text]
assert len([line for line in text if "Sluice" in line]) == 3, text
PYTHON

# Who may not use the tracepoint counts by ptrace; the figures are the same. Who may lock little memory, less than the
# send path has under way, is sent copies in the place of some references.
if [[ $EUID == 0 && $counted_by == tracepoint ]] && id nobody >/dev/null 2>&1 && command -v setpriv >/dev/null; then
  as_nobody=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  mkdir -m 777 "$WORK/nobody"
  TMPDIR=$WORK/nobody "${as_nobody[@]}" "$SLUICE" bench --size 16M --json methods >"$WORK/rows" ||
    fail "bench methods as nobody"
  equal "who counts for nobody" "$(run_python "$WORK/judge.py" "$WORK/rows")" ptrace
  TMPDIR=$WORK/nobody prlimit --memlock=1048576 "${as_nobody[@]}" \
    "$SLUICE" bench --size 16M --filter sluice-zerocopy methods >"$WORK/rows" || fail "bench methods with little to lock"
fi

equal "rows that are wanted" "$("$SLUICE" bench --size 1M --filter 'sendfile/cold' methods | grep -c '^sendfile')" 2
refuses 1 "no row matches 'nothing'" bench --filter nothing methods
refuses 1 "'\[' is not a regular expression" bench --filter '[' methods
refuses 2 "--size: 100K is too small; the least is 1M" bench --size 100K methods
refuses 2 "is not whole MiB" bench --size 1500K methods
refuses 1 "--svg: cannot write '$WORK/missing/a.svg': No such file" bench --svg "$WORK/missing/a.svg" methods
refuses 2 "--svg: draws methods only" bench --svg a.svg cache
TMPDIR=$WORK/missing refuses 1 "set TMPDIR to a directory that you may write" bench --size 1M methods
mkdir "$WORK/memory"
if mount -t tmpfs none "$WORK/memory" 2>/dev/null; then
  TMPDIR=$WORK/memory refuses 1 "set TMPDIR to a directory on a disk" bench --size 1M methods
  umount "$WORK/memory"
fi
