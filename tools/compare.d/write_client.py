"""Writes a file from end to end and waits for the disk.

    write_client.py PATH BYTES BLOCK_BYTES direct|buffered

PATH exists. The time is that of the writes and of one fsync after them. Prints what it did as one line of JSON.
"""

import json
import mmap
import os
import resource
import sys
import time


def write(path, size, block_size, how):
    block = mmap.mmap(-1, block_size)
    block.write(os.urandom(block_size))
    descriptor = os.open(path, os.O_WRONLY | (os.O_DIRECT if how == "direct" else 0))
    start, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    for offset in range(0, size, block_size):
        if os.pwrite(descriptor, block, offset) != block_size:
            raise OSError(0, "a write came short", path)
    os.fsync(descriptor)
    seconds, now = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF)
    os.close(descriptor)
    return {"seconds": seconds, "operations": size // block_size, "bytes": size, "disk_bytes": 0,
            "cpu_seconds": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime}


def main():
    path, size, block_size, how = sys.argv[1:]
    try:
        print(json.dumps(write(path, int(size), int(block_size), how)))
    except OSError as error:
        sys.exit(f"{error.filename or path}: {error.strerror}")


if __name__ == "__main__":
    main()
