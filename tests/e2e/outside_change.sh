#!/bin/bash
# A file that is changed from outside between two opens, in whatever way, even without a new size or time: the second open
# through the mount and the next GET see the new bytes, and the ETag is another. Immediately, and again and again. Without
# and with --watch, under which names, listings and open files follow at once as well, and hot opens ask nothing.
source "$(dirname "$0")/lib.sh"

mkdir "$WORK/source" "$WORK/mount"
change_and_look() {  # ROUNDS
  run_python - "$WORK/source" "$WORK/mount" "$HTTP" "$1" <<'PYTHON'
import http.client, os, random, sys, time, urllib.parse

source, mount, url, rounds = sys.argv[1:]
connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
failures = []


def get(name, headers={}):
    connection.request("GET", f"/{name}", headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("ETag"), answer.read()


def read(path):
    with open(path, "rb", buffering=0) as file:
        parts = iter(lambda: file.read(1 << 20), b"")
        return b"".join(parts)


def write(path, data, flags=os.O_WRONLY):
    descriptor = os.open(path, flags, 0o644)
    assert os.write(descriptor, data) == len(data)
    os.close(descriptor)


def rewrite(path, new):
    write(path, new)


def rewrite_with_old_mtime(path, new):
    before = os.stat(path)
    write(path, new)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rewrite_by_mmap(path, new):
    import mmap
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:] = new


def replace(path, new):
    write(path + ".new", new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.rename(path + ".new", path)


def replace_with_old_mtime(path, new):
    before = os.stat(path)
    write(path + ".new", new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.utime(path + ".new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.rename(path + ".new", path)


def replace_keeping_old(path, new):
    os.link(path, path + f".{time.monotonic_ns()}")
    replace(path, new)


def truncate(path, new):
    os.truncate(path, len(new))


def grow(path, new):
    old_size = os.stat(path).st_size
    write(path, new[old_size:], os.O_WRONLY | os.O_APPEND)


def delete_and_create(path, new):
    os.unlink(path)
    write(path, new, os.O_WRONLY | os.O_CREAT)


def change_one_byte(path, new):
    old = read(path)
    descriptor = os.open(path, os.O_WRONLY)
    for i in range(len(new)):
        if new[i] != old[i]:
            os.pwrite(descriptor, new[i:i + 1], i)
    os.close(descriptor)


def fresh(old):
    return random.randbytes(len(old))


def flipped(old):
    i = random.randrange(len(old))
    return old[:i] + bytes([old[i] ^ 0x55]) + old[i + 1:]


CASES = [
    (rewrite, fresh), (rewrite_with_old_mtime, fresh), (rewrite_by_mmap, fresh), (change_one_byte, flipped),
    (replace, fresh), (replace_with_old_mtime, fresh), (replace_keeping_old, fresh), (replace, lambda old: random.randbytes(len(old) + 5000)),
    (truncate, lambda old: old[:len(old) // 2]), (truncate, lambda old: old[:-1]), (truncate, lambda old: b""),
    (truncate, lambda old: old + bytes(10000)), (grow, lambda old: old + random.randbytes(1)),
    (grow, lambda old: old + random.randbytes(70000)), (delete_and_create, fresh),
]


def check(case, change, make, size, round_number):
    name = f"file_{case}_{size}_{round_number}"
    path, mounted = f"{source}/{name}", f"{mount}/{name}"
    old = random.randbytes(size)
    write(path, old, os.O_WRONLY | os.O_CREAT)
    for step in range(3):
        label = f"{change.__name__}, {size} bytes, step {step}"
        if read(mounted) != old:
            failures.append(f"{label}: the mount has not the bytes before the change")
        status, tag, body = get(name)
        if (status, body) != (200, old):
            failures.append(f"{label}: GET has not the bytes before the change")
        new = make(old)
        change(path, new)
        by_mount_first = (step + round_number) % 2 == 0
        if by_mount_first and read(mounted) != new:
            failures.append(f"{label}: the second open through the mount sees old bytes")
        conditional, new_tag, body = get(name, {"If-None-Match": tag})
        if conditional != 200:
            failures.append(f"{label}: If-None-Match of the old ETag gives {conditional}")
        elif body != new:
            failures.append(f"{label}: the next GET sees old bytes")
        if new_tag == tag:
            failures.append(f"{label}: the ETag is the same")
        if not by_mount_first and read(mounted) != new:
            failures.append(f"{label}: the open through the mount after the GET sees old bytes")
        deadline = time.monotonic() + 2  # of --attr-timeout, and some
        while os.stat(mounted).st_size != len(new) and time.monotonic() < deadline:
            time.sleep(0.02)
        if os.stat(mounted).st_size != len(new):
            failures.append(f"{label}: stat says {os.stat(mounted).st_size} bytes, not {len(new)}")
        old = new
        if len(old) < 2:
            break
    os.unlink(path)


for round_number in range(int(rounds)):
    for case, (change, make) in enumerate(CASES):
        for size in (100, 4096, 200000):
            check(case, change, make, size, round_number)
for line in sorted(set(failures), key=failures.index)[:40]:
    print(line, file=sys.stderr)
if failures:
    sys.exit(f"{len(failures)} changes were not seen")
PYTHON
}

start_mount --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
change_and_look 3
at_least "changes that were noticed" "$(status store.outside_changes)" 100
stop_gateway

start_mount --http 127.0.0.1:0 --kernel-cache auto "$WORK/source" "$WORK/mount"
change_and_look 1
stop_gateway

[[ $EUID == 0 ]] || exit 0
if [[ ${E2E_BACKING-} == fuse ]]; then  # which has no file handles
  refuses 1 "cannot be watched" mount --watch "$WORK/source" "$WORK/mount"
  exit 0
fi
# Nothing is seen by time passing.
for_ever=(--attr-timeout 1h --entry-timeout 1h --negative-timeout 1h)
start_mount --http 127.0.0.1:0 --watch --kernel-cache auto "${for_ever[@]}" "$WORK/source" "$WORK/mount"
change_and_look 1
at_least "changes that were noticed" "$(status store.outside_changes)" 30
run_python - "$WORK/source" "$WORK/mount" "$HTTP" <<'PYTHON'
import os, sys, time, urllib.error, urllib.request

source, mount, url = sys.argv[1:]


def soon(what, condition):
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not seen: {what}")
        time.sleep(0.005)


def get(path):
    try:
        with urllib.request.urlopen(f"{url}/{path}") as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.code


def is_there(path):
    return os.path.lexists(f"{mount}/{path}")


os.makedirs(f"{source}/d/e")
with open(f"{source}/d/e/f", "w") as file:
    file.write("1")
soon("new directories", lambda: is_there("d/e/f"))
assert not is_there("d/g") and get("d/g") == 404 and get("d/e/f") == b"1"
assert sorted(os.listdir(f"{mount}/d")) == ["e"]
os.symlink("e", f"{source}/d/g")
soon("a new name that was absent", lambda: is_there("d/g"))
assert get("d/g/f") == b"1" and sorted(os.listdir(f"{mount}/d")) == ["e", "g"]
os.rename(f"{source}/d/e", f"{source}/d/h")
assert get("d/e/f") == 404 and get("d/g/f") == 404 and get("d/h/f") == b"1"
soon("a directory renamed", lambda: is_there("d/h/f") and not is_there("d/e/f"))
assert sorted(os.listdir(f"{mount}/d")) == ["g", "h"]
os.chmod(f"{source}/d/h", 0o700)
assert get("d/h/f") in (403, 404), "a directory that HTTP's user may not enter"
soon("a mode", lambda: os.stat(f"{mount}/d/h").st_mode & 0o777 == 0o700)
os.chmod(f"{source}/d/h", 0o755)
assert get("d/h/f") == b"1"
# A file that stays open.
with open(f"{mount}/d/h/f", "rb", buffering=0) as opened:
    assert opened.read() == b"1"
    with open(f"{source}/d/h/f", "w") as file:
        file.write("another")
    soon("the bytes of an open file", lambda: os.pread(opened.fileno(), 100, 0) == b"another")
    soon("its size", lambda: os.fstat(opened.fileno()).st_size == 7)
os.unlink(f"{source}/d/h/f")
assert get("d/h/f") == 404
soon("a name that is gone", lambda: not is_there("d/h/f"))
with open(f"{source}/hot", "w") as file:
    file.write("hot")
assert get("hot") == b"hot"
soon("a new file", lambda: is_there("hot"))
PYTHON
hot() {
  run_python - "$WORK/mount/hot" "$HTTP/hot" <<'PYTHON'
import sys, urllib.request
for _ in range(300):
    with open(sys.argv[1]) as file:
        assert file.read() == "hot"
    with urllib.request.urlopen(sys.argv[2]) as answer:
        assert answer.read() == b"hot"
PYTHON
}
hot
for attempt in {1..5}; do  # another test may drop the kernel's caches, and what is known with them
  before=$(status store.metadata_misses)
  hot
  asked=$(($(status store.metadata_misses) - before))
  ((asked > 6)) || break
done
at_most "questions that 600 hot opens ask, in attempt $attempt" "$asked" 6
equal "whether it watches" "$(status store.watching)" true
stop_gateway

mkdir "$WORK/tmpfs"
mount -t tmpfs -o size=1m tmpfs "$WORK/tmpfs" 2>/dev/null || exit 0
start_mount --watch "$WORK/tmpfs" "$WORK/mount"
echo 1 >"$WORK/tmpfs/f"
equal "a watched tmpfs" "$(cat "$WORK/mount/f")" 1
echo 2 >"$WORK/tmpfs/f"
equal "a watched tmpfs, changed" "$(cat "$WORK/mount/f")" 2
stop_gateway
umount "$WORK/tmpfs"
