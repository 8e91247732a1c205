"""The clients of the cache suite: one reads small files, one streams a large one.

    cache_client.py hot FOLDER COUNT FILES_PER_FOLDER direct|buffered
    cache_client.py stream FILE direct|buffered

Each says when it is ready, holding then all the memory that it will use, and does what it is told on its standard input:

    prove           hot: read all files once, in order, and digest what they hold
    random SECONDS  hot: read files at random, until the time is over or another line comes
    enough          hot: that other line
    go              stream: read the file once, from end to end

direct: open with O_DIRECT. A miss is a read for which this process itself had to read from a disk, which is so where the page
cache answers. A read is timed from before its open to after its close.
"""

import hashlib
import json
import mmap
import os
import random
import resource
import select
import sys
import time
from array import array

PIECE_BYTES = 1 << 20
LEAST_BYTES = 1 << 10  # of a small file
SLOWEST_US = 1_000_000  # whatever took longer counts as this
READS_AT_ONCE = 32  # between two looks at the clock
SECTOR_BYTES = 512


class HotReader:
    def __init__(self, folder, count, files_per_folder, how):
        self._names = [f"{folder}/{i // files_per_folder}/{i}" for i in range(count)]
        self._flags = os.O_RDONLY | (os.O_DIRECT if how == "direct" else 0)
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self._page[0] = 1
        self._times = array("I", bytes(4 * (SLOWEST_US + 1)))  # how many reads took so many microseconds
        self._reads = self._bytes = self._misses = self._disk_blocks = 0

    def do(self, line):
        words = line.split()
        if words[0] == "prove":
            return self._measured(self._prove)
        return self._measured(lambda: self._random(float(words[1])))

    def _measured(self, work):
        used = usage()
        self._disk_blocks = used[1]
        start = time.monotonic()
        told = work()
        told |= {"seconds": time.monotonic() - start, "operations": self._reads, "bytes": self._bytes,
                 "misses": self._misses, "latency_us": {"p50": self._percentile(0.5), "p99": self._percentile(0.99)},
                 **usage_since(used)}
        self._forget()
        return told

    def _forget(self):
        self._reads = self._bytes = self._misses = 0
        for time_us in range(len(self._times)):
            self._times[time_us] = 0

    def _prove(self):
        digest = hashlib.sha256()
        for name in self._names:
            digest.update(self._page[: self._read(name)])
        return {"sha256": digest.hexdigest()}

    def _random(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not select.select([0], [], [], 0)[0]:
            for name in random.choices(self._names, k=READS_AT_ONCE):
                self._read(name)
        return {}

    def _read(self, name):
        start = time.perf_counter_ns()
        descriptor = os.open(name, self._flags)
        try:
            got = os.preadv(descriptor, [self._page], 0)
        finally:
            os.close(descriptor)
        taken_us = (time.perf_counter_ns() - start) // 1000
        if got < LEAST_BYTES:
            raise OSError(0, "the file is too short", name)
        self._times[min(taken_us, SLOWEST_US)] += 1
        self._reads += 1
        self._bytes += got
        self._count_miss()
        return got

    def _count_miss(self):
        read_so_far = resource.getrusage(resource.RUSAGE_SELF).ru_inblock
        self._misses += read_so_far != self._disk_blocks
        self._disk_blocks = read_so_far

    def _percentile(self, share):
        seen = 0
        for time_us, reads in enumerate(self._times):
            seen += reads
            if seen >= share * self._reads:
                return time_us
        return SLOWEST_US


class Stream:
    def __init__(self, file, how):
        self._file = file
        self._flags = os.O_RDONLY | (os.O_DIRECT if how == "direct" else 0)
        self._piece = mmap.mmap(-1, PIECE_BYTES)
        for page in range(0, PIECE_BYTES, mmap.PAGESIZE):
            self._piece[page] = 1

    def do(self, _line):
        used = usage()
        start = time.monotonic()
        descriptor = os.open(self._file, self._flags)
        reads = size = 0
        while got := os.readv(descriptor, [self._piece]):
            reads += 1
            size += got
        os.close(descriptor)
        return {"seconds": time.monotonic() - start, "operations": reads, "bytes": size, **usage_since(used)}


def usage():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_inblock


def usage_since(before):
    now = usage()
    return {"cpu_seconds": now[0] - before[0], "disk_bytes": (now[1] - before[1]) * SECTOR_BYTES}


def main():
    kind, path, *rest = sys.argv[1:]
    try:
        if kind == "hot":
            client = HotReader(path, int(rest[0]), int(rest[1]), rest[2])
        else:
            client = Stream(path, rest[0])
        print(json.dumps({"ready": True}), flush=True)
        for line in lines():
            if line == "enough":
                continue
            print(json.dumps(client.do(line)), flush=True)
    except OSError as error:
        print(json.dumps({"error": f"{error.filename or path}: {error.strerror}"}), flush=True)


def lines():
    """Without a buffer: a line that has come must be seen by select."""
    text = b""
    while got := os.read(0, 4096):
        *whole, text = (text + got).split(b"\n")
        yield from (line.decode() for line in whole if line)


if __name__ == "__main__":
    main()
