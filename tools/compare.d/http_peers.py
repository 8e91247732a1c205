"""Servers to GET from: Sluice's export and its peers."""

import grp
import hashlib
import http.client
import os
import resource
import socket
from pathlib import Path

from files import MIB, drop_pages
from install import find_program
from peers import TRUSTING, Evicting, Peer, check_sha256, free_port
from processes import Failed, read_text
from rows import SLUICE

PIECE_BYTES = MIB
NGINX_TEMPLATE = Path(__file__).with_name("nginx.conf")
CONNECTIONS = 15000  # that a server has room for, unless it is told otherwise


class HttpPeer(Peer):
    def __init__(self, workspace, confinement=None, connections=CONNECTIONS):
        super().__init__(workspace, confinement)
        self.port = 0
        self._connections = min(connections, descriptors_max() * 3 // 4)  # the others are for files

    def url(self, file):
        return f"http://127.0.0.1:{self.port}/{file.name}"

    def command(self):
        raise NotImplementedError

    def start(self):
        self.port = free_port()
        self.launch(self.command(), self._answers)

    def make_cold(self, file):
        """A server starts with nothing; the kernel's pages below it go as well."""
        self.stop()
        for path in file.files():
            drop_pages(path)
        self.start()

    def _answers(self):
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        return True

    def verify(self, file):
        """Also reads all of it."""
        digest = hashlib.sha256()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        path = file.path
        try:
            for path in file.files():
                self._digest(connection, f"/{path.relative_to(file.path.parent)}", digest)
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"GET {path.name}: {error or type(error).__name__}") from None
        finally:
            connection.close()
        check_sha256(digest.hexdigest(), file)

    def _digest(self, connection, path, digest):
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status == 403:
            raise Failed(f"GET {path}: 403; --dir must name a directory that everybody may enter")
        if answer.status != 200:
            raise Failed(f"GET {path}: {answer.status}")
        while piece := answer.read(PIECE_BYTES):
            digest.update(piece)


class SluiceServe(Evicting, HttpPeer):
    """nginx relies on what it knows of a file for 10 minutes (open_file_cache_valid); so does Sluice where it may watch."""

    name = SLUICE
    on_page_cache = False

    def __init__(self, workspace, binary, cache_size, *options, **others):
        super().__init__(workspace, **others)
        self._binary = binary
        self._cache_size = cache_size
        self._options = options or (TRUSTING if os.geteuid() == 0 else [])

    def command(self):
        return [self._binary, "serve", "--log-level", "warning", "--cache-size", str(self._cache_size),
                "--http-connections-max", str(self._connections), "--http-connections-per-address-max", "0",
                "--http", f"127.0.0.1:{self.port}", *self._options, str(self.workspace.files)]


class Nginx(HttpPeer):
    name = "nginx"
    program = "nginx"
    large_files = ""  # more words of the configuration

    def command(self):
        directory = self.workspace.folder(self.name)
        words = {"USER": nginx_user(), "DIRECTORY": directory, "PORT": self.port, "ROOT": self.workspace.files,
                 "LARGE_FILES": self.large_files, "DESCRIPTORS": descriptors_max(), "CONNECTIONS": self._connections,
                 "OPEN_FILES": CONNECTIONS}
        text = read_text(NGINX_TEMPLATE)
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        configuration = directory / "nginx.conf"
        configuration.write_text(text, encoding="utf-8")
        return [find_program(self.program), "-p", str(directory), "-c", str(configuration), "-e", "stderr"]


class NginxDirect(Nginx):
    """Large files by O_DIRECT in threads of its own: what nginx's manual offers to those who share memory with streams."""

    name = "nginx-direct"
    large_files = "aio threads; directio 1m; output_buffers 2 1m;"


class RcloneServe(HttpPeer):
    """Reads through the page cache, as nginx; trusts what it knows of directories as long. In little memory it goes without
    its own readahead, which is 16 MiB for each open file."""

    name = "rclone"
    program = "rclone"

    def command(self):
        return [find_program(self.program), "serve", "http", "--config", "", "--read-only", "--dir-cache-time", "10m",
                *self._in_little_memory(), "--addr", f"127.0.0.1:{self.port}", str(self.workspace.files)]

    def _in_little_memory(self):
        return ["--buffer-size", "0"] if self._confinement and self._confinement.memory_max else []


def descriptors_max():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def nginx_user():
    """nobody, as Sluice; only root can be somebody else."""
    if os.geteuid() != 0:
        return ""
    groups = {group.gr_name for group in grp.getgrall()}
    return f"user nobody {'nogroup' if 'nogroup' in groups else 'nobody'};"
