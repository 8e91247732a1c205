#!/bin/bash
# 10,000 small files that fill half of the cache stay in it while two clients stream files of twenty times its size,
# whichever policy chooses what goes.
source "$(dirname "$0")/lib.sh"

readonly kFiles=10000

make_files() {
  run_python - "$1" "$kFiles" <<'PYTHON'
import os, random, sys
root, count = sys.argv[1], int(sys.argv[2])
sizes = random.Random(1)
for i in range(count):
    if i % 1000 == 0:
        os.mkdir(f"{root}/{i // 1000}")
    with open(f"{root}/{i // 1000}/{i}", "wb") as file:
        file.write((b"%08d" % i) * sizes.randrange(128, 513))
PYTHON
}

# O_DIRECT: every read reaches the gateway, whatever the kernel kept.
read_files() {  # once, or at random until FILE is there
  run_python - "$WORK/mount" "$kFiles" "${1-}" <<'PYTHON'
import mmap, os, random, sys
root, count, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pages = mmap.mmap(-1, 4096)
def read(i):
    descriptor = os.open(f"{root}/{i // 1000}/{i}", os.O_RDONLY | os.O_DIRECT)
    if os.preadv(descriptor, [pages], 0) < 1024 or pages[:8] != b"%08d" % i:
        sys.exit(f"file {i} has not its bytes")
    os.close(descriptor)
if not end:
    for i in range(count):
        read(i)
while end and not os.path.exists(end):
    for i in random.sample(range(count), 500):
        read(i)
PYTHON
}
stream() { dd if="$WORK/mount/$1" of=/dev/null bs=1M iflag=direct status=none; }

# Of 1000 hot files that are asked for now, those that are there.
hot_hits() {
  local misses
  misses=$(status cache.misses)
  read_files || fail "a hot file could not be read"
  echo $((1000 - ($(status cache.misses) - misses) * 1000 / kFiles))
}

need_root
mkdir "$WORK/source" "$WORK/mount"
make_files "$WORK/source"
truncate -s 1600M "$WORK/source/film" "$WORK/source/image"

for policy in lru midpoint s3fifo arc; do
  start_mount --cache-size 80M --cache-policy "$policy" "$WORK/source" "$WORK/mount"
  read_files || fail "a file could not be read"
  equal "$policy: hot files there without streams, of 1000" "$(hot_hits)" 1000
  background read_files "$WORK/end"
  hot=$JOB
  background stream film
  film=$JOB
  background stream image
  wait "$film" && wait "$JOB" || fail "$policy: a stream could not be read"
  touch "$WORK/end"
  wait "$hot" || fail "$policy: a hot file could not be read"
  rm "$WORK/end"
  at_least "$policy: bytes streamed" "$(status disk.read_bytes)" $((3200 << 20))
  at_least "$policy: hot files there beside two streams, of 1000" "$(hot_hits)" 990
  stop_gateway
done
