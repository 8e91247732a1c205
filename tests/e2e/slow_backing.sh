#!/bin/bash
# A backing that takes 20 ms for each metadata call: what is known is not asked for again. Hot opens, through the mount and
# by HTTP, and the second `ls -l`, make no call at all, so they take less than a millisecond.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_faulty.sh"
need_root

start_backing
mkdir "$WORK/mount" "$WORK/behind/directory"
for i in {1..20}; do echo "$i" >"$WORK/behind/directory/file$i"; done
head -c 4096 /dev/urandom >"$WORK/behind/directory/hot"

calls() {
  run_python - "$WORK/faults" <<'PYTHON'
import struct, sys
print(struct.unpack("6Q", open(sys.argv[1], "rb").read(48))[0])
PYTHON
}
run_python - "$WORK/faults" <<'PYTHON'
import struct, sys
LOOK, CHANGE, READ = 1, 2, 4
with open(sys.argv[1], "r+b") as control:
    control.write(struct.pack("6Q", 0, 0, 0, 0, LOOK | CHANGE | READ, 20_000))
PYTHON

look() {
  run_python - "$WORK/mount/directory" "$HTTP/directory/hot" <<'PYTHON'
import http.client, statistics, sys, time, urllib.parse

directory, url = sys.argv[1:]
parts = urllib.parse.urlsplit(url)
connection = http.client.HTTPConnection(parts.netloc)


def get():
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, answer.status
    return body


def open_and_read():
    with open(f"{directory}/hot", "rb", buffering=0) as file:
        return file.read()


def median_ms(what):
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        assert len(what()) == 4096
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


print(f"{median_ms(get):.3f} {median_ms(open_and_read):.3f}")
PYTHON
}

# Once without a call. When another test drops the kernel's caches, those of our mount go too, and the kernel tells us to
# forget what it had: then what was known is asked for again, so it is tried a few times.
without_calls() {  # WHAT COMMAND...
  local before attempt
  for attempt in {1..5}; do
    before=$(calls)
    "${@:2}" || fail "$1 fails"
    [[ $(calls) != "$before" ]] || return 0
  done
  fail "$1: $(($(calls) - before)) calls of the backing, in attempt $attempt"
}

relied_on=(--entry-timeout 1h --attr-timeout 1h)
start_mount --http 127.0.0.1:0 --open-cache 1h "${relied_on[@]}" "$WORK/backing" "$WORK/mount"
look >"$WORK/first"
at_least "calls of the first look" "$(calls)" 5
look_again() { look >"$WORK/again"; }
without_calls "hot opens" look_again
read -r by_http by_mount <"$WORK/again"
say "a hot GET takes $by_http ms, open and read $by_mount ms"
below_1_ms() { run_python -c 'import sys; sys.exit(float(sys.argv[1]) >= 1)' "$1"; }
below_1_ms "$by_http" || fail "the median of a hot GET is $by_http ms"
below_1_ms "$by_mount" || fail "the median of a hot open and read is $by_mount ms"

ls -l "$WORK/mount/directory" >"$WORK/listed"
equal "entries" "$(wc -l <"$WORK/listed")" 22
list_again() { ls -l "$WORK/mount/directory" | cmp - "$WORK/listed"; }
without_calls "the second ls -l" list_again
echo 3 >/proc/sys/vm/drop_caches  # what the kernel keeps; the store keeps its own as long as somebody uses it
ls -l "$WORK/mount/directory" | cmp - "$WORK/listed" || fail "ls -l says something else"

# What is changed through us is seen at once all the same.
echo new >"$WORK/mount/directory/new"
equal "entries with the new one" "$(find "$WORK/mount/directory" -type f | wc -l)" 22
mv "$WORK/mount/directory/new" "$WORK/mount/directory/hot"
equal "the file that took its place" "$(cat "$WORK/mount/directory/hot")" new
equal "the same by HTTP" "$(curl -sf "$HTTP/directory/hot")" new
stop_gateway
stop_backing
