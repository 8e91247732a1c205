"""Prints the SHA-256 of files, one after the other as one: OpenSSL's, which is many times as fast as sha256sum's where that
was built without it.

    digest.py FILE...
    digest.py --small FOLDER COUNT PER_FOLDER    see SmallFiles in files.py: more than fit on a command line
    digest.py --open direct|buffered FILE        direct: by O_DIRECT
"""

import hashlib
import mmap
import os
import sys

PIECE_BYTES = 1 << 20


def digest_files(paths):
    digest = hashlib.sha256()
    piece = memoryview(bytearray(PIECE_BYTES))
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while got := file.readinto(piece):
                digest.update(piece[:got])
    return digest.hexdigest()


def digest_opened(how, path):
    digest = hashlib.sha256()
    piece = mmap.mmap(-1, PIECE_BYTES)
    descriptor = os.open(path, os.O_RDONLY | (os.O_DIRECT if how == "direct" else 0))
    while got := os.readv(descriptor, [piece]):
        digest.update(memoryview(piece)[:got])
    os.close(descriptor)
    return digest.hexdigest()


def main():
    if sys.argv[1] == "--small":
        folder, count, per_folder = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        print(digest_files(f"{folder}/{i // per_folder}/{i}" for i in range(count)))
    elif sys.argv[1] == "--open":
        print(digest_opened(sys.argv[2], sys.argv[3]))
    else:
        print(digest_files(sys.argv[1:]))


if __name__ == "__main__":
    main()
