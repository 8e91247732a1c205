"""The sweep of faults_http.sh: GETs of every kind under each fault of the backing in turn.

A reply is right, in status and in every byte, or has an error status of the server's, or is a connection that ends
early, with bytes that are right as far as they go. When the fault is over everything is right again.
"""

import errno
import http.client
import os
import random
import sys

from lib_faults import Control, Wrong, sweep


class Reply:
    """What came of a request: the status, None for no reply; whether the body came to its end; the body so far."""

    def __init__(self, address, method, path, headers):
        self.status, self.whole, self.body, self.headers = None, False, b"", {}
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            self.status, self.headers = response.status, response.headers
            self.body = response.read()
            self.whole = True
        except http.client.IncompleteRead as early:
            self.body = early.partial
        except (http.client.BadStatusLine, http.client.RemoteDisconnected, ConnectionResetError):
            pass
        finally:
            connection.close()


class Work:
    """Requests of files that nothing is known of yet, in a directory of their own, and what the replies should be."""

    def __init__(self, address, directory, name):
        self.address, self.name = address, name
        self.large = random.Random(name).randbytes(300001)
        os.makedirs(f"{directory}/below")
        for path, content in (("large", self.large), ("below/small", b"small"), ("empty", b""), ("ranges", self.large)):
            with open(f"{directory}/{path}", "wb") as file:
                file.write(content)
        os.symlink("below/small", f"{directory}/link")
        os.chmod(directory, 0o755)

    def requests(self):
        """Method, path, headers; status, and body or length, that are right."""
        piece = self.large[100_000:200_000]
        yield "GET", "below/small", {}, 200, b"small"
        yield "HEAD", "large", {}, 200, len(self.large)
        yield "GET", "ranges", {"Range": "bytes=100000-199999"}, 206, piece
        yield "GET", "ranges", {"Range": "bytes=-77"}, 206, self.large[-77:]
        yield "GET", "ranges", {"Range": "bytes=300001-"}, 416, None
        yield "GET", "large", {}, 200, self.large
        yield "GET", "empty", {}, 200, b""
        yield "GET", "link", {}, 200, b"small"
        yield "GET", "absent", {}, 404, None
        yield "GET", "below/absent/file", {}, 404, None
        yield "GET", "below", {}, None, None  # whatever it is without a fault
        yield "GET", "below/", {}, None, None

    def run(self, of_directories):
        """What failed. `of_directories` are the statuses of those, filled in the first time."""
        failures = []
        for method, path, headers, status, body in self.requests():
            reply = Reply(self.address, method, f"/{self.name}/{path}", headers)
            what = f"{method} {path} {headers or ''}: {reply.status}, {len(reply.body)} bytes"
            status = status or of_directories.setdefault(path, reply.status)
            if not self.judge(what, reply, status, body):
                failures.append(what)
        return failures

    def judge(self, what, reply, status, body):
        """Whether it was done."""
        if reply.status is None or reply.status >= 500:
            return False
        if reply.status != status:
            raise Wrong(f"{what}, instead of {status}")
        if isinstance(body, int):
            if int(reply.headers["Content-Length"]) != body:
                raise Wrong(f"{what}: a length of {reply.headers['Content-Length']}")
        elif body is not None and (reply.body != body if reply.whole else not body.startswith(reply.body)):
            raise Wrong(f"{what}{'' if reply.whole else ' and an early end'}: wrong bytes")
        return reply.whole


def main(address, behind, path, extent):
    control, of_directories = Control(path), {}

    def run(number, fault):
        work = Work(address, f"{behind}/{number}", str(number))
        control.set(**fault)
        try:
            failures = work.run(of_directories)
        finally:
            calls = control.calls()
            control.set()
        if afterwards := work.run(of_directories):
            raise Wrong(f"when the fault is over: {afterwards}")
        return calls, failures

    calls = sweep(run, control, (errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EINTR, 0), extent, 15)
    if calls < 20:
        raise Wrong(f"the requests make {calls} calls only")


try:
    main(*sys.argv[1:])
except Wrong as wrong:
    sys.exit(f"{wrong}")
