"""Clients of the HTTP suite that hold many connections, or take for as long as they are told to.

    http_client.py idle PORT PATH COUNT          that many keep-alive connections; each has fetched PATH once
    http_client.py slow PORT PATH COUNT          that many that take PATH by SLOW_BYTES each SLOW_SECONDS
    http_client.py stream PORT PATH PATH...      takes the files one after the other, all over again
    http_client.py many PORT PATH COUNT SECONDS  that many keep-alive connections; each has fetched PATH once. Told so, all
                                                 ask again in turn, for SECONDS

Each says when it is ready (slow: all have got their first bytes; stream: at once), goes on until a line comes on its
standard input (many: for its SECONDS after one), and then tells what it took since the line before.
"""

import json
import os
import resource
import select
import socket
import sys
import time

PIECE_BYTES = 1 << 20
SLOW_BYTES = 4 << 10
SLOW_SECONDS = 0.1
ANSWER_SECONDS = 60
AT_ONCE = 100  # connections being made, or asking
PER_SOURCE = 20_000  # connections from one address: it has some 28,000 ports
IP_BIND_ADDRESS_NO_PORT = 24


class Refused(Exception):
    pass


def connect(port, number=0):
    """The number-th from this process: more than one address has ports for come from several."""
    made = socket.socket()
    made.settimeout(ANSWER_SECONDS)
    if number >= PER_SOURCE:
        made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        made.bind((f"127.0.0.{1 + number // PER_SOURCE}", 0))
    made.connect(("127.0.0.1", port))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def ask(connection, path):
    connection.sendall(request(path))


def request(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def take_head(connection):
    """Returns the body's length and what of it came along."""
    head = b""
    while b"\r\n\r\n" not in head:
        got = connection.recv(4096)
        if not got:
            raise Refused("a connection was closed before its answer")
        head += got
    head, _, body = head.partition(b"\r\n\r\n")
    return body_length(head), len(body)


def body_length(head):
    first, *fields = head.decode("latin-1").split("\r\n")
    if first.split()[1] != "200":
        raise Refused(f"an answer was '{first}'")
    lengths = [line.split(":", 1)[1] for line in fields if line.lower().startswith("content-length:")]
    return int(lengths[0])


class Idle:
    def __init__(self, port, paths, count):
        self._connections = []
        for number in range(count):
            connection = connect(port, number)
            ask(connection, paths[0])
            length, got = take_head(connection)
            while got < length:
                more = len(connection.recv(length - got))
                if more == 0:
                    raise Refused("a connection was closed before its answer")
                got += more
            self._connections.append(connection)

    def go_on_until(self, told):
        while not told():
            select.select([0], [], [])
        if not all(still_open(connection) for connection in self._connections):
            raise Refused("an idle connection was closed")
        return 0


class Many(Idle):
    """AT_ONCE of them ask, then their answers are taken: who answers soon waits for the next ones."""

    def __init__(self, port, paths, count, seconds):
        super().__init__(port, paths, count)
        self._request = request(paths[0])
        self._answer = bytearray(PIECE_BYTES)
        self._view = memoryview(self._answer)
        self._length = self._answer_length()
        self._seconds = seconds
        self.operations = 0

    def _answer_length(self):
        """Head and body, of this file at each answer; the date in it has always the same length."""
        connection = self._connections[0]
        connection.sendall(self._request)
        got = 0
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        got, head = len(head), head.partition(b"\r\n\r\n")[0]
        length = len(head) + 4 + body_length(head)
        while got < length:
            got += len(connection.recv(length - got))
        return length

    def go_on_until(self, told):
        while not told():
            select.select([0], [], [])
        self.begin = time.monotonic()
        turn, end, some = 0, self.begin + self._seconds, min(AT_ONCE, len(self._connections))
        while time.monotonic() < end:
            asking = [self._connections[(turn + i) % len(self._connections)] for i in range(some)]
            turn += some
            for connection in asking:
                connection.sendall(self._request)
            for connection in asking:
                self._take(connection)
            self.operations += some
        return self.operations * self._length

    def _take(self, connection):
        got = 0
        while got < self._length:
            more = connection.recv_into(self._view[got : self._length])
            if more == 0:
                raise Refused("a connection was closed")
            got += more
        if self._answer[9:12] != b"200":
            raise Refused(f"an answer was '{self._answer[:20].decode('latin-1')}'")


def still_open(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True


class Slow:
    """Small receive buffers, or the kernel would take the file for them."""

    def __init__(self, port, paths, count):
        self._connections = []
        for first in range(0, count, AT_ONCE):
            some = [self._connect(port) for _ in range(first, min(first + AT_ONCE, count))]
            for connection in some:
                ask(connection, paths[0])
            for connection in some:
                take_head(connection)
                connection.setblocking(False)
            self._connections += some

    def _connect(self, port):
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BYTES)
        made.settimeout(ANSWER_SECONDS)
        made.connect(("127.0.0.1", port))
        return made

    def go_on_until(self, told):
        taken = 0
        while not told():
            for connection in self._connections:
                try:
                    got = len(connection.recv(SLOW_BYTES))
                except BlockingIOError:
                    continue
                if got == 0:
                    raise Refused("a slow connection was closed")
                taken += got
            time.sleep(SLOW_SECONDS)
        return taken


class Stream:
    def __init__(self, port, paths, _count):
        self._port = port
        self._paths = paths
        self._piece = bytearray(PIECE_BYTES)

    def go_on_until(self, told):
        taken = turn = 0
        connection = connect(self._port)
        while True:
            ask(connection, self._paths[turn % len(self._paths)])
            turn += 1
            length, got = take_head(connection)
            taken += got
            while got < length:
                if told():
                    return taken
                more = connection.recv_into(self._piece, min(PIECE_BYTES, length - got))
                if more == 0:
                    raise Refused("a stream was cut short")
                got += more
                taken += more


def told():
    return select.select([0], [], [], 0)[0] and os.read(0, 4096)


def main():
    kind, port, *rest = sys.argv[1:]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kinds = {"idle": Idle, "slow": Slow, "stream": Stream, "many": Many}
    paths, count = (rest, 1) if kind == "stream" else (rest[:1], int(rest[1]))
    try:
        client = kinds[kind](int(port), paths, count, *map(float, rest[2:] if kind == "many" else []))
        print(json.dumps({"ready": True}), flush=True)
        start, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        taken = client.go_on_until(told)
        now = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({"seconds": time.monotonic() - getattr(client, "begin", start), "bytes": taken,
                          "operations": getattr(client, "operations", None),
                          "cpu_seconds": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime}), flush=True)
    except Refused as error:
        print(json.dumps({"error": f"{kind}: {error}"}), flush=True)
    except OSError as error:
        print(json.dumps({"error": f"{kind}: {error.strerror or error}"}), flush=True)


if __name__ == "__main__":
    main()
