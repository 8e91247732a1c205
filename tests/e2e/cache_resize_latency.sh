#!/bin/bash
# While the cache is made smaller and larger, 99 of 100 reads of what is cached are as fast as ever: at most twice as slow.
# Reads with a resize and without one take turns; of a machine that does other work as well, the best of five rounds counts.
source "$(dirname "$0")/lib.sh"

need_root
mkdir "$WORK/source" "$WORK/mount"
truncate -s 600M "$WORK/source/large"
head -c 8M /dev/urandom >"$WORK/source/hot"
start_mount --control "$WORK/control" --cache-size 600M --kernel-cache off --large-file 2G "$WORK/source" "$WORK/mount"

cat >"$WORK/latency.py" <<'PYTHON'
import mmap, os, random, socket, sys, threading, time
control, mount, source = sys.argv[1:]
PAGES, QUIET = 2048, 3000
page = memoryview(mmap.mmap(-1, 4096))
hot = os.open(f"{mount}/hot", os.O_RDONLY | os.O_DIRECT)
with open(f"{source}/hot", "rb") as file:
    expected = [file.read(4096) for _ in range(PAGES)]

def read(number):
    began = time.perf_counter_ns()
    count = os.preadv(hot, [page], number * 4096)
    took = time.perf_counter_ns() - began
    assert count == 4096 and page == expected[number], f"page {number} has not its bytes"
    return took

def reads_until(condition):
    times = []
    while not condition(len(times)):
        times.append(read(random.randrange(PAGES)))
    return times

def resize(size):
    """As `sluice cache resize`, whose own start would take a processor from the readers."""
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(control)
        asker.sendall(f"cache resize {size}\n".encode())
        answer = b""
        while piece := asker.recv(4096):
            answer += piece
    assert answer.splitlines()[-1].startswith(b"done resize"), answer

def fill():
    with open(f"{mount}/large", "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
    for number in range(PAGES):
        read(number)

def percentile(times):
    return sorted(times)[len(times) * 99 // 100] / 1000

ratios = []
for _ in range(5):
    quiet, resizing = [], []
    for size in ("64M", "600M") * 4:
        fill()
        quiet += reads_until(lambda count: count == QUIET)
        thread = threading.Thread(target=resize, args=(size,))
        thread.start()
        resizing += reads_until(lambda _: not thread.is_alive())
        thread.join()
    ratios.append(percentile(resizing) / percentile(quiet))
    print(f"99th percentile: {percentile(quiet):.0f} us, while resizing {percentile(resizing):.0f} us, "
          f"of {len(quiet)} and {len(resizing)} reads")
    if ratios[-1] <= 2:
        sys.exit(0)
sys.exit(f"reads take {min(ratios):.1f} times as long during a resize")
PYTHON
run_python "$WORK/latency.py" "$WORK/control" "$WORK/mount" "$WORK/source" || fail "see above"
