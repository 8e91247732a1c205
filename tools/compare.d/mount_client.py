"""The client of the mount suite for what fio does not do: many files, by name.

    mount_client.py OPERATION FOLDER COUNT SECONDS [PER_FOLDER]

FOLDER holds files named 0 to COUNT - 1; with PER_FOLDER it holds folders, see SmallFiles in files.py. OPERATION is one of

    stat       every name once, in a random order
    open       opens and closes every name once, in a random order
    open-read-each  opens, reads and closes every name once, in a random order
    list       the names of FOLDER, until SECONDS are over
    list-stat  the names of FOLDER and the attributes of each, once: ls -l
    create     makes and removes a new file at a time, until SECONDS are over
    read       opens some hundred files first; then reads them whole at random, until SECONDS are over
    open-read  opens, reads and closes files at random, until SECONDS are over

Prints what it did and what that cost as one line of JSON. Names count as operations.
"""

import json
import os
import random
import resource
import sys
import time

FILES_OPEN_MOST = 500
AT_ONCE = 64  # between two looks at the clock
PIECE_BYTES = 4096
SECTOR_BYTES = 512


class Client:
    def __init__(self, folder, count, seconds, per_folder=None):
        self._folder = folder
        self._names = [f"{folder}/{i // per_folder}/{i}" if per_folder else f"{folder}/{i}" for i in range(count)]
        self._seconds = seconds
        self.operations = self.bytes = 0

    def stat(self):
        for name in shuffled(self._names):
            os.stat(name)
            self.operations += 1

    def open(self):
        for name in shuffled(self._names):
            os.close(os.open(name, os.O_RDONLY))
            self.operations += 1

    def list(self):
        self._repeat(lambda: len(os.listdir(self._folder)), at_once=1)

    def list_stat(self):
        with os.scandir(self._folder) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                self.operations += 1

    def create(self):
        name = f"{self._folder}/made-{os.getpid()}"

        def once():
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            os.unlink(name)
            return 1

        self._repeat(once)

    def read(self):
        descriptors = [os.open(name, os.O_RDONLY) for name in self._names[:FILES_OPEN_MOST]]
        for descriptor in descriptors:  # once before it counts: warm means that
            os.pread(descriptor, PIECE_BYTES, 0)
        self.begin()
        choose = random.Random(2).choice

        def once():
            self.bytes += len(os.pread(choose(descriptors), PIECE_BYTES, 0))
            return 1

        self._repeat(once)

    def open_read(self):
        choose = random.Random(2).choice

        def once():
            self._read(choose(self._names))
            return 1

        self._repeat(once)

    def open_read_each(self):
        for name in shuffled(self._names):
            self._read(name)
            self.operations += 1

    def _read(self, name):
        descriptor = os.open(name, os.O_RDONLY)
        self.bytes += len(os.pread(descriptor, PIECE_BYTES, 0))
        os.close(descriptor)

    def begin(self):
        self._used = usage()
        self._start = time.monotonic()

    def told(self):
        seconds = time.monotonic() - self._start
        cpu, blocks = (after - before for after, before in zip(usage(), self._used))
        return {"seconds": seconds, "operations": self.operations, "bytes": self.bytes, "cpu_seconds": cpu,
                "disk_bytes": blocks * SECTOR_BYTES}

    def _repeat(self, once, at_once=AT_ONCE):
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            for _ in range(at_once):
                self.operations += once()


def shuffled(names):
    random.Random(1).shuffle(names)
    return names


def usage():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_inblock


def main():
    operation, folder, count, seconds, *per_folder = sys.argv[1:]
    client = Client(folder, int(count), float(seconds), *map(int, per_folder))
    try:
        client.begin()
        getattr(client, operation.replace("-", "_"))()
    except OSError as error:
        sys.exit(f"{error.filename or folder}: {error.strerror}")
    print(json.dumps(client.told()))


if __name__ == "__main__":
    main()
