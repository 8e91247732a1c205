"""A bare HTTP client, with the socket in the caller's hands: how much is read, and when, is what the tests are about."""
import socket
import sys
import urllib.parse

import lib_pattern


class Response:
    def __init__(self, url, headers=None, receive_buffer=None, method="GET"):
        parts = urllib.parse.urlsplit(url)
        self.url = url
        self.socket = socket.socket()
        self.socket.settimeout(60)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((parts.hostname, parts.port))
        lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._read_head()

    def _read_head(self):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.socket.recv(65536)
            if not piece:
                sys.exit(f"{self.url}: the connection ended in the head")
            head += piece
        head, self.rest = head.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        self.left = int(self.headers.get("content-length", 0)) if self.status != 304 else 0

    def read(self, most):
        """At most so many bytes of the body, b"" at its end."""
        if self.left == 0:
            return b""
        if self.rest:
            got, self.rest = self.rest[:most], self.rest[most:]
        else:
            got = self.socket.recv(min(most, self.left))
            if not got:
                sys.exit(f"{self.url}: the connection ended {self.left} bytes early")
        self.left -= len(got)
        return got

    def read_exactly(self, count):
        parts = []
        while count > 0:
            got = self.read(count)
            if not got:
                sys.exit(f"{self.url}: the body ended {count} bytes early")
            parts.append(got)
            count -= len(got)
        return b"".join(parts)

    def judge(self, seed, offset, count=None):
        """Reads (the rest of) the body and compares it with what the file holds from `offset` on."""
        end = offset + (self.left if count is None else count)
        while offset < end:
            got = self.read_exactly(min(lib_pattern.PIECE, end - offset))
            lib_pattern.judge(self.url, seed, offset, got)
            offset += len(got)
        return offset

    def close(self):
        self.socket.close()


def check_range(url, seed, offset, length):
    response = Response(url, {"Range": f"bytes={offset}-{offset + length - 1}"})
    if response.status != 206 or response.left != length:
        sys.exit(f"{url}: status {response.status} with {response.left} bytes for a range of {length}")
    response.judge(seed, offset)
    response.close()
