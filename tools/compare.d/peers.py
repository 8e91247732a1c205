"""Sluice and its peers, each as its users would set it up for speed."""

import grp
import hashlib
import http.client
import os
import resource
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import machine
from cgroup import DiskCgroup, MemoryCgroup
from files import MIB, detach, drop_pages, mounted_paths, touch_memory
from install import find_program
from processes import PATIENCE_SECONDS, Failed, Server, read_text, run_client
from rows import SLUICE

PIECE_BYTES = MIB
DIGEST = Path(__file__).with_name("digest.py")
NGINX_TEMPLATE = Path(__file__).with_name("nginx.conf")
TRUSTING = ["--watch", "--attr-timeout", "10m", "--entry-timeout", "10m"]  # as nginx's open_file_cache_valid, but safely


class Peer:
    """Started when first asked, or again after it failed. `out` says why it takes no part, `broken` why it must not."""

    name = ""
    program = None  # None: always there

    def __init__(self, workspace):
        self.workspace = workspace
        self.server = None
        self.out = None
        self.broken = None
        if self.program and find_program(self.program) is None:
            self.out = f"{self.program} is not installed (--install)"

    def ensure_started(self):
        if self.server:
            self.server.check()
        else:
            self.start()

    def start(self):
        raise NotImplementedError

    def stop(self):
        if self.server:
            self.server.stop()
            self.server = None

    def usage(self):
        return self.server.usage() if self.server else None

    def log_path(self):
        return self.workspace.root / f"{self.name}.log"


class MountPeer(Peer):
    def path(self, file):
        return self.mountpoint() / file.name

    def mountpoint(self):
        return self.workspace.folder(f"{self.name}.mount")

    def command(self):
        raise NotImplementedError

    def start(self):
        mountpoint = str(self.mountpoint())
        self.server = Server(self.command(), self.log_path())
        self.server.wait_until(lambda: mountpoint in mounted_paths())

    def stop(self):
        super().stop()
        if str(self.mountpoint()) in mounted_paths():  # it was killed
            detach(str(self.mountpoint()))

    def make_warm(self, file):
        run_client(["dd", f"if={self.path(file)}", "of=/dev/null", "bs=1M"], PATIENCE_SECONDS)

    def make_cold(self, file):
        """A server starts with nothing; the kernel's pages below it go as well."""
        self.stop()
        drop_pages(file.path)
        touch_memory(file.size)
        self.start()

    def verify(self, file):
        paths = [str(self.path(file) / path.relative_to(file.path)) for path in file.files()]
        output, _ = run_client([sys.executable, "-I", "-S", "-B", str(DIGEST), *paths], PATIENCE_SECONDS)
        check_sha256(output.strip(), file)


class Backing(MountPeer):
    """No peer but the measure of all: the directory itself. Warm it is the page cache, cold it is O_DIRECT."""

    name = "backing"

    def path(self, file):
        return file.path

    def start(self):
        pass

    def make_cold(self, file):
        drop_pages(file.path)
        touch_memory(file.size)


class SluiceMount(MountPeer):
    name = SLUICE

    def __init__(self, workspace, binary, cache_size, *options):
        super().__init__(workspace)
        self._binary = binary
        self._cache_size = cache_size
        self._options = options

    def command(self):
        return [self._binary, "mount", "--foreground", "--log-level", "warning", "--cache-size", str(self._cache_size),
                *self._options, str(self.workspace.files), str(self.mountpoint())]


class SluiceBack(SluiceMount):
    """With delayed writes."""

    name = "sluice back"

    def __init__(self, workspace, binary, cache_size, *options):
        super().__init__(workspace, binary, cache_size, "--write-mode", "back", *options)


class Ceiling(MountPeer):
    """A bare FUSE daemon that answers from memory: one file, to be read only."""

    name = "ceiling"

    def __init__(self, workspace, binary, file):
        super().__init__(workspace)
        self._binary = binary
        self._file = file

    def command(self):
        return [self._binary, "bench", "ceiling", str(self._file.path), str(self.mountpoint())]


class Bindfs(MountPeer):
    """Kernel cache on, as is its default."""

    name = "bindfs"
    program = "bindfs"

    def command(self):
        return [find_program(self.program), "-f", "--multithreaded", "--no-allow-other", str(self.workspace.files),
                str(self.mountpoint())]


class Rclone(MountPeer):
    """Keeps what was read in files of its own, and what was written there first: for so long that it is not uploaded while
    others are measured."""

    name = "rclone"
    program = "rclone"

    def start(self):
        shutil.rmtree(self._cache(), ignore_errors=True)
        super().start()

    def command(self):
        return [find_program(self.program), "mount", "--config", "", "--vfs-cache-mode", "full", "--vfs-write-back", "1h",
                "--cache-dir", str(self._cache()), str(self.workspace.files), str(self.mountpoint())]

    def _cache(self):
        return self.workspace.folder("rclone.cache")


@dataclass(frozen=True)
class Confinement:
    """Cgroups of a server's own."""

    memory_max: int | None = None  # bytes beyond what its processes hold when they are ready; None: only counted
    disk_rate: int | None = None  # bytes per second that it may read from the workspace's disk

    def refusal(self, directory):
        """Why it cannot be had here; None: it can."""
        tried = [MemoryCgroup(f"sluice-compare.{os.getpid()}.try")]
        try:
            tried[0].make()
            if self.disk_rate:
                tried.append(DiskCgroup(f"sluice-compare.{os.getpid()}.try"))
                tried[1].make()
                tried[1].limit_reads(machine.disk_of(directory), self.disk_rate)
        except Failed as error:
            return str(error)
        finally:
            for cgroup in tried:
                cgroup.remove()
        return None

class HttpPeer(Peer):
    def __init__(self, workspace, confinement=None):
        super().__init__(workspace)
        self.port = 0
        self.memory = None  # the cgroup, once it runs confined
        self._disk = None
        self._confinement = confinement
        if confinement and not self.out:
            self.out = confinement.refusal(workspace.root)

    def url(self, file):
        return f"http://127.0.0.1:{self.port}/{file.name}"

    def command(self):
        raise NotImplementedError

    def start(self):
        self.port = free_port()
        self._make_cgroups()
        self.server = Server(self.command(), self.log_path(), self._join_cgroups)
        self.server.wait_until(self._answers)
        if self.memory and self._confinement.memory_max:
            self.memory.limit(self._confinement.memory_max + self.memory.own_bytes())

    def stop(self):
        super().stop()
        for cgroup in self._cgroups():
            cgroup.remove()
        self.memory = self._disk = None

    def make_cold(self, file):
        """A server starts with nothing; the kernel's pages below it go as well."""
        self.stop()
        drop_pages(file.path)
        self.start()

    def _make_cgroups(self):
        if self._confinement is None:
            return
        name = f"sluice-compare.{os.getpid()}.{self.name}"
        self.memory = MemoryCgroup(name)
        self.memory.make()
        if self._confinement.disk_rate:
            self._disk = DiskCgroup(name)
            self._disk.make()
            self._disk.limit_reads(machine.disk_of(self.workspace.root), self._confinement.disk_rate)

    def _join_cgroups(self):
        for cgroup in self._cgroups():
            cgroup.join()

    def _cgroups(self):
        return [cgroup for cgroup in (self.memory, self._disk) if cgroup]

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
                self._digest(connection, f"/{path.relative_to(self.workspace.files)}", digest)
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


class SluiceServe(HttpPeer):
    """nginx relies on what it knows of a file for 10 minutes (open_file_cache_valid); so does Sluice where it may watch."""

    name = SLUICE

    def __init__(self, workspace, binary, cache_size, confinement=None):
        super().__init__(workspace, confinement)
        self._binary = binary
        self._cache_size = cache_size

    def command(self):
        return [self._binary, "serve", "--log-level", "warning", "--cache-size", str(self._cache_size),
                "--http-connections-max", str(connections_max()), "--http-connections-per-address-max", "0",
                "--http", f"127.0.0.1:{self.port}", *(TRUSTING if os.geteuid() == 0 else []), str(self.workspace.files)]


class Nginx(HttpPeer):
    name = "nginx"
    program = "nginx"
    large_files = ""  # more words of the configuration

    def command(self):
        directory = self.workspace.folder(self.name)
        words = {"USER": nginx_user(), "DIRECTORY": directory, "PORT": self.port, "ROOT": self.workspace.files,
                 "LARGE_FILES": self.large_files, "DESCRIPTORS": descriptors_max(), "CONNECTIONS": connections_max(),
                 "OPEN_FILES": connections_max()}
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


def descriptors_max():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def connections_max():
    """Of a server: room for those that the suite makes, and for files."""
    return descriptors_max() * 3 // 4


def nginx_user():
    """nobody, as Sluice; only root can be somebody else."""
    if os.geteuid() != 0:
        return ""
    groups = {group.gr_name for group in grp.getgrall()}
    return f"user nobody {'nogroup' if 'nogroup' in groups else 'nobody'};"


def check_sha256(sha256, file):
    if sha256 != file.sha256:
        raise Failed(f"{file.name}: the bytes are wrong")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
