"""Clients that stop reading, take one byte at a time and leave in the middle, while writers change the files and readers
churn the cache; and a judge of every byte that arrives.

    lib_disconnects.py make SOURCE
    lib_disconnects.py run URL SOURCE MOUNT COUNT     until so many have left; says what was seen

Some files never change. Others are written over in place through the mount, in pieces from the front: what is there at any
moment is pieces of one generation, then pieces of the one before, and an answer must be what was there at one moment of
its request. Others yet are replaced in SOURCE by files of the next generation: an answer is of one generation, and so is
an ETag.

Each piece of 1 MiB is cut from the same random bytes at a place of its own, that says file, generation and offset. A page
of another file, offset or generation is taken for the right one once in 4096 times.
"""
import collections
import json
import multiprocessing
import os
import random
import socket
import struct
import sys
import time
import urllib.parse

PIECE = 1 << 20
PAGE = 4096
WRITTEN_AT_ONCE = 256 << 10
STILL, WRITTEN, REPLACED = range(0, 8), range(8, 11), range(11, 14)
STILL_SIZE, CHANGED_SIZE = 16 << 20, 2 << 20
BASE = random.Random(1).randbytes(2 * PIECE)
PROCESSES = 2
STALLED_MAX = 24  # clients that have stopped reading, of each process
ROUND = 10        # clients that leave between one change of the files and the next
PATIENCE_SECONDS = 60
TINY_BUFFER = 4096


def size_of(file):
    return STILL_SIZE if file in STILL else CHANGED_SIZE


def content(file, generation, offset, length):
    parts = []
    while length > 0:
        index, inside = divmod(offset, PIECE)
        number = generation % 2048 << 9 | file << 5 | index
        start = number * 40503 % PIECE + inside  # odd: each number has its own
        count = min(PIECE - inside, length)
        parts.append(BASE[start:start + count])
        offset += count
        length -= count
    return b"".join(parts)


class Wrong(Exception):
    pass


def complain(file, generation, offset, got):
    expected = content(file, generation, offset, len(got))
    foreign = [place for place in range(len(got)) if got[place] != expected[place]]
    raise Wrong(f"file{file}: {len(foreign)} of {len(got)} bytes at offset {offset} are foreign bytes, the first at "
                f"{offset + foreign[0]}")


def judge(file, offset, got, oldest, newest):
    """Returns the generation, the first if there are two."""
    if file not in WRITTEN:
        for generation in range(newest, oldest - 1, -1):
            if got.startswith(content(file, generation, offset, 64)[:len(got)]):
                if got != content(file, generation, offset, len(got)):
                    complain(file, generation, offset, got)
                return generation
        complain(file, newest, offset, got)
    first = last = None
    at, end = offset, offset + len(got)
    while at < end:
        length = min(WRITTEN_AT_ONCE - at % WRITTEN_AT_ONCE, end - at)
        piece = got[at - offset:at - offset + length]
        fits = [one for one in range(newest, oldest - 1, -1) if piece == content(file, one, at, length)]
        if not fits:
            complain(file, newest, at, piece)
        first = fits[0] if first is None else first
        if last is not None and not first - 1 <= fits[0] <= last:
            raise Wrong(f"file{file}: bytes of generation {fits[0]} at {at}, after {first} and {last}")
        last = fits[0]
        at += length
    return first


class Client:
    def __init__(self, url, chosen, generations):
        self.file = chosen.choice([chosen.choice(STILL), chosen.choice(STILL), chosen.choice(WRITTEN), chosen.choice(REPLACED)])
        self.first = chosen.randrange(size_of(self.file) - PAGE)
        self.body = bytearray()
        self.is_over = False
        self.is_patient = True
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_SECONDS)
        buffer = chosen.choice([None, 65536, TINY_BUFFER])
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        parts = urllib.parse.urlsplit(url)
        self.socket.connect((parts.hostname, parts.port))
        # A name may lead to what was there a second ago; what is written in place is seen at once.
        self.oldest = 0 if self.file in REPLACED else max(generations[self.file] - 1, 0)
        self.socket.sendall(f"GET /file{self.file} HTTP/1.1\r\nHost: h\r\nRange: bytes={self.first}-\r\n\r\n".encode())
        self._take_head()
        self.newest = generations[self.file]
        # With a buffer smaller than a segment TCP itself rests for seconds, so this one waits for little.
        self.is_patient = buffer != TINY_BUFFER
        if not self.is_patient:
            self.socket.settimeout(0.02)

    def _take_head(self):
        head = b""
        while b"\r\n\r\n" not in head:
            got = self._take(PAGE)
            if not got:
                raise Wrong(f"file{self.file}: the connection ended in the head")
            head += got
        head, _, body = head.partition(b"\r\n\r\n")
        self.body += body
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        fields = dict(line.split(": ", 1) for line in lines[1:])
        self.etag = fields.get("ETag")
        self.length = int(fields["Content-Length"])
        if self.status not in (206, 503):  # 503: it changes faster than it can be answered
            raise Wrong(f"file{self.file}: {lines[0]}")

    def _take(self, most):
        try:
            got = self.socket.recv(most)
        except BlockingIOError:
            return b""
        except TimeoutError:
            if self.is_patient:
                raise
            return b""
        except ConnectionResetError:  # broken off: the file has changed
            got = b""
        self.is_over |= not got
        return got

    def read(self, count):
        end = min(len(self.body) + count, self.length)
        while len(self.body) < end and (got := self._take(end - len(self.body))):
            self.body += got

    def sip(self, count):
        for _ in range(count):
            if len(self.body) < self.length:
                self.body += self._take(1)

    def read_what_is_there(self, most):
        """What was on its way while nobody read it."""
        self.socket.setblocking(False)
        self.read(most)

    def leave(self, chosen):
        if chosen.random() < 0.5:  # by a reset
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def judge(self):
        if self.status == 206 and self.body:
            return judge(self.file, self.first, self.body, self.oldest, self.newest)
        return None


class Leavers:
    """A process's share of the clients."""

    def __init__(self, url, count, seed, generations, left):
        self.url, self.count, self.generations, self.left = url, count, generations, left
        self.chosen = random.Random(seed)
        self.stalled = []
        self.seen = collections.Counter()
        self.etags = {}

    def run(self):
        for _ in range(self.count):
            self.meet_one()
        for client in self.stalled:
            self.end(client)
        return self.seen

    def meet_one(self):
        chosen = self.chosen
        client = Client(self.url, chosen, self.generations)
        kind = chosen.choice(["leaves", "stops", "stops", "sips"])
        if kind == "sips":
            client.sip(chosen.randrange(300))
        else:
            client.read(int(2 ** chosen.uniform(0, 20)))
        self.seen[kind] += 1
        if kind == "leaves":
            return self.end(client)
        self.stalled.append(client)
        if len(self.stalled) > STALLED_MAX:
            client = self.stalled.pop(chosen.randrange(len(self.stalled)))
            client.read_what_is_there(int(2 ** chosen.uniform(12, 24)))
            self.end(client)

    def end(self, client):
        client.leave(self.chosen)
        generation = client.judge()
        self.seen["bytes"] += len(client.body)
        self.seen["broken off" if client.is_over else "left"] += 1
        self.seen["refused"] += client.status == 503
        if client.file in REPLACED and generation is not None and not client.etag.startswith("W/"):
            if self.etags.setdefault((client.file, client.etag), generation) != generation:
                raise Wrong(f"file{client.file}: two generations with the ETag {client.etag}")
        with self.left.get_lock():
            self.left.value += 1


def write(generations, left, stop, source, mount):
    seen = 0
    while not stop.is_set():
        if left.value < seen + ROUND:
            time.sleep(0.001)
            continue
        seen = left.value
        file = random.choice([*WRITTEN, *REPLACED])
        generations[file] += 1
        if file in WRITTEN:
            fd = os.open(f"{mount}/file{file}", os.O_WRONLY)
            for offset in range(0, CHANGED_SIZE, WRITTEN_AT_ONCE):
                os.pwrite(fd, content(file, generations[file], offset, WRITTEN_AT_ONCE), offset)
            os.close(fd)
        else:
            make(f"{source}/new", file, generations[file])
            os.rename(f"{source}/new", f"{source}/file{file}")


def churn(generations, left, stop, url, mount):
    """Pushes the cache out, by HTTP and by the mount in turn, and judges that as well."""
    address = urllib.parse.urlsplit(url)
    turn = 0
    while not stop.is_set():
        file = STILL[turn % len(STILL)]
        turn += 1
        if turn % 4 == 0:
            with open(f"{mount}/file{file}", "rb", buffering=0) as opened:
                for offset in range(0, STILL_SIZE, PIECE):
                    judge(file, offset, os.pread(opened.fileno(), PIECE, offset), 0, 0)
            continue
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(f"GET /file{file} HTTP/1.0\r\n\r\n".encode())
            got = bytearray()
            while more := connection.recv(PIECE):
                got += more
        body = got[got.index(b"\r\n\r\n") + 4:]
        if len(body) != STILL_SIZE:
            raise Wrong(f"file{file}: {len(body)} bytes for a reader that reads all")
        judge(file, 0, body, 0, 0)


def leave(generations, left, stop, url, count, seed, told):
    told.put(Leavers(url, count, seed, generations, left).run())


def guarded(work, failed, *words):
    try:
        work(*words)
    except Wrong as wrong:
        print(f"{work.__name__}: {wrong}", flush=True)
        failed.set()
        sys.exit(1)
    except BaseException:
        failed.set()
        raise


def run(url, source, mount, count):
    seed = random.randrange(1 << 32)
    generations = multiprocessing.Array("q", generations_of(source), lock=False)
    left, told = multiprocessing.Value("q", 0), multiprocessing.Queue()
    stop, failed = multiprocessing.Event(), multiprocessing.Event()

    def start(work, *words):
        process = multiprocessing.Process(target=guarded, args=(work, failed, generations, left, stop, *words), daemon=True)
        process.start()
        return process

    others = [start(write, source, mount), start(churn, url, mount)]
    leaving = [start(leave, url, count // PROCESSES, seed + number, told) for number in range(PROCESSES)]
    seen = collections.Counter()
    while any(one.is_alive() for one in leaving) and not failed.is_set():
        time.sleep(0.01)
    stop.set()
    if not failed.is_set():
        for _ in leaving:
            seen += told.get(timeout=PATIENCE_SECONDS)
    for one in [*others, *leaving]:
        if failed.is_set():
            one.terminate()
        one.join()
    seen["changes"] = sum(generations) - sum(generations_of(source))
    with open(f"{source}/generations", "w") as file:
        json.dump(list(generations), file)
    if failed.is_set() or any(one.exitcode != 0 for one in others):
        sys.exit(f"the seed was {seed}")
    print(", ".join(f"{number} {what}" for what, number in sorted(seen.items())))


def generations_of(source):
    """Which the run before has left."""
    if not os.path.exists(f"{source}/generations"):
        return [0] * (REPLACED[-1] + 1)
    with open(f"{source}/generations") as file:
        return json.load(file)


def make(path, file, generation):
    with open(path, "wb", buffering=0) as made:
        for offset in range(0, size_of(file), PIECE):
            made.write(content(file, generation, offset, PIECE))


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command == "make":
        for file in [*STILL, *WRITTEN, *REPLACED]:
            make(f"{words[0]}/file{file}", file, 0)
    else:
        run(*words[:3], int(words[3]))
