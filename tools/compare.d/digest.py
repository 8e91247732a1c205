"""Prints the SHA-256 of files, one after the other as one: OpenSSL's, which is many times as fast as sha256sum's where that was built without it."""

import hashlib
import sys

PIECE_BYTES = 1 << 20


def main():
    digest = hashlib.sha256()
    piece = memoryview(bytearray(PIECE_BYTES))
    for path in sys.argv[1:]:
        with open(path, "rb", buffering=0) as file:
            while got := file.readinto(piece):
                digest.update(piece[:got])
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
