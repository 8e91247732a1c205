"""Files whose bytes are known at every offset, so that what comes back can be judged without a second copy.

A file is a row of pieces of 1 MiB, each cut from the same 2 MiB of random bytes at another place. Pages are different
from each other in the first 4 GiB, so that a page in the wrong place is seen.

    lib_pattern.py make PATH BYTES SEED [FIRST_OFFSET]
    lib_pattern.py check PATH BYTES SEED [FIRST_OFFSET]     reads it in 1 MiB pieces, from FIRST_OFFSET and round
"""
import functools
import os
import random
import sys

PIECE = 1 << 20


@functools.lru_cache(maxsize=64)
def base(seed):
    return random.Random(seed).randbytes(2 * PIECE)


def span(seed, offset, length):
    parts = []
    while length > 0:
        index, inside = divmod(offset, PIECE)
        start = index * 4099 % PIECE + inside
        count = min(PIECE - inside, length)
        parts.append(base(seed)[start:start + count])
        offset += count
        length -= count
    return b"".join(parts)


def make(path, size, seed):
    with open(path, "wb", buffering=0) as file:
        for offset in range(0, size, PIECE):
            file.write(span(seed, offset, min(PIECE, size - offset)))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def judge(what, seed, offset, got):
    expected = span(seed, offset, len(got))
    if got == expected:
        return
    wrong = [i for i in range(len(got)) if got[i] != expected[i]]
    sys.exit(f"{what}: {len(wrong)} of {len(got)} bytes at offset {offset} are wrong, the first at {offset + wrong[0]}")


def check(path, size, seed, first=0):
    with open(path, "rb", buffering=0) as file:
        for start in range(first, first + size, PIECE):
            offset = start % size
            length = min(PIECE, size - offset)
            got = os.pread(file.fileno(), length, offset)
            if len(got) != length:
                sys.exit(f"{path}: {len(got)} of {length} bytes at offset {offset}")
            judge(path, seed, offset, got)


if __name__ == "__main__":
    command, path, *numbers = sys.argv[1:]
    {"make": make, "check": check}[command](path, *map(int, numbers))
