#!/bin/bash
# Whatever order reads, writes, truncates, appends and mappings come in, at whatever offsets, through the mount or by HTTP:
# everybody sees the bytes that were written last, and so does the backing. Also when several processes write to neighbouring
# bytes of the same pages at once.
source "$(dirname "$0")/lib.sh"

# One process, one file, random operations against a copy in memory.
one_after_the_other() {  # SECONDS OPTION (of open)
  run_python - "$WORK/source/one" "$WORK/mount/one" "$HTTP/one" "$1" "$2" <<'PYTHON'
import http.client, mmap, os, random, sys, time, urllib.parse

backing, mounted, url, seconds, extra = sys.argv[1:]
seed = random.randrange(1 << 32)
chosen = random.Random(seed)
MOST = 3 << 20
shadow = bytearray()
history = []
connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
open(mounted, "wb").close()
flags = os.O_RDWR | getattr(os, extra, 0)
file = os.open(mounted, flags)


def fail(what):
    for line in history[-12:]:
        print("  ", line, file=sys.stderr)
    sys.exit(f"seed {seed}, operation {len(history)}: {what}")


def compare(who, offset, got, length):
    expected = shadow[offset:offset + length]
    if bytes(got) == bytes(expected):
        return
    if len(got) != len(expected):
        fail(f"{who}: {len(got)} bytes at {offset}, not {len(expected)}")
    wrong = [i for i in range(len(got)) if got[i] != expected[i]]
    fail(f"{who}: {len(wrong)} wrong bytes at {offset}, the first at {offset + wrong[0]}")


def place():
    offset = chosen.randrange(max(1, min(MOST, len(shadow) + 70000)))
    if chosen.random() < 0.3:
        offset = offset // 4096 * 4096
    return offset, chosen.choice([1, 7, 512, 4095, 4096, 4097, 8192, 65536, 100001, chosen.randrange(1, 300000)])


def put(offset, data):
    if len(shadow) < offset + len(data):
        shadow.extend(bytes(offset + len(data) - len(shadow)))
    shadow[offset:offset + len(data)] = data


def write():
    offset, length = place()
    data = chosen.randbytes(length)
    history.append(f"pwrite {length} at {offset} of {len(shadow)}")
    if os.pwrite(file, data, offset) != length:
        fail("a short write")
    put(offset, data)


def append():
    data = chosen.randbytes(chosen.randrange(1, 20000))
    history.append(f"append {len(data)} to {len(shadow)}")
    other = os.open(mounted, os.O_WRONLY | os.O_APPEND)
    os.write(other, data)
    os.close(other)
    put(len(shadow), data)


def truncate():
    size = chosen.choice([0, len(shadow) // 2, max(0, len(shadow) - 1), len(shadow) + chosen.randrange(100000),
                          len(shadow) // 4096 * 4096, chosen.randrange(len(shadow) + 1)])
    size = min(size, MOST)
    history.append(f"truncate to {size} of {len(shadow)}")
    os.ftruncate(file, size)
    del shadow[size:]
    shadow.extend(bytes(size - len(shadow)))


def write_mapped():
    if not shadow:
        return
    offset, length = chosen.randrange(len(shadow)), chosen.randrange(1, 10000)
    data = chosen.randbytes(min(length, len(shadow) - offset))
    history.append(f"write {len(data)} to a mapping at {offset} of {len(shadow)}")
    with mmap.mmap(file, len(shadow)) as memory:
        memory[offset:offset + len(data)] = data
        memory.flush()
    put(offset, data)


def read():
    offset, length = place()
    history.append(f"pread {length} at {offset} of {len(shadow)}")
    compare("read", offset, os.pread(file, length, offset), length)


def read_mapped():
    if shadow:
        history.append(f"read all {len(shadow)} of a mapping")
        with mmap.mmap(file, len(shadow), prot=mmap.PROT_READ) as memory:
            compare("mapping", 0, memory[:], len(shadow))


def get():
    if not shadow:
        return
    offset, length = chosen.randrange(len(shadow)), chosen.randrange(1, 400000)
    history.append(f"GET {length} at {offset} of {len(shadow)}")
    connection.request("GET", urllib.parse.urlsplit(url).path, headers={"Range": f"bytes={offset}-{offset + length - 1}"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 206:
        fail(f"GET: status {answer.status}")
    compare("GET", offset, body, length)


def read_backing():
    history.append(f"read all {len(shadow)} of the backing")
    if os.environ["WRITE_MODE"] == "back":
        os.fsync(file)
    with open(backing, "rb") as other:
        compare("backing", 0, other.read(), MOST * 2)
    if os.fstat(file).st_size != len(shadow):
        fail(f"size is {os.fstat(file).st_size}, not {len(shadow)}")


def reopen():
    global file
    history.append("reopen")
    os.close(file)
    file = os.open(mounted, flags)


WEIGHTS = {write: 30, append: 6, truncate: 6, write_mapped: 6, read: 25, read_mapped: 2, get: 12, read_backing: 3, reopen: 2}
deadline = time.monotonic() + float(seconds)
try:
    while time.monotonic() < deadline:
        chosen.choices(list(WEIGHTS), WEIGHTS.values())[0]()
    read_backing()
except OSError as error:
    fail(error)
if len(history) < 200:
    sys.exit(f"only {len(history)} operations")
PYTHON
}

# Each process owns every fourth of small unequal stripes. Nobody's bytes may be lost to a neighbour's write.
all_at_once() {  # SECONDS
  run_python - "$WORK/source/many" "$WORK/mount/many" "$1" <<'PYTHON'
import multiprocessing, os, random, sys, time

backing, mounted, seconds = sys.argv[1:]
STRIPE, STRIPES, WRITERS = 1500, 400, 4
seed = random.randrange(1 << 32)
open(mounted, "wb").close()


def work(number):
    chosen = random.Random(seed + number)
    file = os.open(mounted, os.O_RDWR)
    own = {}
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        stripe = chosen.randrange(STRIPES // WRITERS) * WRITERS + number
        if chosen.random() < 0.6 or stripe not in own:
            own[stripe] = chosen.randbytes(STRIPE)
            assert os.pwrite(file, own[stripe], stripe * STRIPE) == STRIPE
        elif os.pread(file, STRIPE, stripe * STRIPE) != own[stripe]:
            sys.exit(f"seed {seed}: writer {number} does not read what it wrote to stripe {stripe}")
    if os.environ["WRITE_MODE"] == "back":
        os.fsync(file)
    with open(backing, "rb") as other:
        for stripe, data in own.items():
            if os.pread(other.fileno(), STRIPE, stripe * STRIPE) != data:
                sys.exit(f"seed {seed}: stripe {stripe} of writer {number} is lost on the backing")


workers = [multiprocessing.Process(target=work, args=(n,)) for n in range(WRITERS)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
sys.exit(any(worker.exitcode for worker in workers))
PYTHON
}

mkdir "$WORK/source" "$WORK/mount"
start_mount --cache-size 8M --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
one_after_the_other 8 O_RDWR || fail "wrong bytes"
one_after_the_other 3 O_SYNC || fail "wrong bytes with O_SYNC"
all_at_once 4 || fail "writers at once lose bytes"
stop_gateway
