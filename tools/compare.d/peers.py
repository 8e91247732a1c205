"""What all peers have in common: they are started when first asked, in cgroups of their own, and charged for memory."""

import os
import socket
from dataclasses import dataclass

import machine
import memory
from cgroup import DiskCgroup, MemoryCgroup
from files import drop_pages
from install import find_program
from processes import PATIENCE_SECONDS, Failed, Server, clients_join, run_client

TRUSTING = ["--watch", "--attr-timeout", "10m", "--entry-timeout", "10m"]  # as nginx's open_file_cache_valid, but safely


@dataclass(frozen=True)
class Confinement:
    """Of a server, or where there is none of its clients."""

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


class Peer:
    """Started when first asked, or again after it failed. `out` says why it takes no part, `broken` why it must not."""

    name = ""
    program = None  # None: always there
    on_page_cache = True  # it reads the backing through the kernel's cache, and relies on that

    def __init__(self, workspace, confinement=None):
        self.workspace = workspace
        self.server = None
        self.memory = None  # the cgroup, while it runs
        self.out = None
        self.broken = None
        self._disk = None
        self._confinement = confinement
        if self.program and find_program(self.program) is None:
            self.out = f"{self.program} is not installed (--install)"
        elif confinement:
            self.out = confinement.refusal(workspace.root)

    def ensure_started(self):
        if self.server:
            self.server.check()
        else:
            self.start()

    def start(self):
        raise NotImplementedError

    def launch(self, command, ready):
        self.make_cgroups()
        self.server = Server(command, self.log_path(), self._join_cgroups)
        self.server.wait_until(ready)
        if self._confinement and self._confinement.memory_max:
            self.memory.limit(self._confinement.memory_max + self.memory.own_bytes())

    def stop(self):
        if self.server:
            self.server.stop()
            self.server = None
        for cgroup in self._cgroups():
            cgroup.remove()
        self.memory = self._disk = None

    def make_cold(self, file):
        """As if it had never been asked for: its bytes, its name, all else."""
        raise NotImplementedError

    def forget(self, file):
        """The bytes of the file go from its memory and the kernel's. It need not be started again for that."""
        self.make_cold(file)

    def make_cgroups(self):
        if self._confinement is None:
            self.memory = memory.make_or_none(self.name)
            return
        self.memory = MemoryCgroup(memory.cgroup_name(self.name))
        self.memory.make()
        if self._confinement.disk_rate:
            self._disk = DiskCgroup(memory.cgroup_name(self.name))
            self._disk.make()
            self._disk.limit_reads(machine.disk_of(self.workspace.root), self._confinement.disk_rate)

    def _join_cgroups(self):
        for cgroup in self._cgroups():
            cgroup.join()

    def _cgroups(self):
        return [cgroup for cgroup in (self.memory, self._disk) if cgroup]

    def ended(self):
        """How its server did, when it did by itself: that explains what its clients met. None: it did not."""
        try:
            return self.server and self.server.check()
        except Failed as error:
            return error

    def clients(self):
        """The context that its clients run in."""
        return clients_join(self.join_as_client)

    def join_as_client(self):
        """In a child."""

    def usage(self):
        return self.server.usage() if self.server else None

    def charged_bytes(self, files):
        """The memory that it has cost so far, having served these."""
        if self.memory:
            return self.memory.own_bytes() + self.page_cache_bytes(files)
        own = memory.private_bytes(self.server.pids()) if self.server else 0
        return own + self.page_cache_bytes(files)

    def page_cache_bytes(self, files):
        if self.on_page_cache:
            return memory.resident_bytes(path for file in files for path in file.files())
        return self.memory.page_cache_bytes() if self.memory else 0

    def log_path(self):
        return self.workspace.root / f"{self.name}.log"


class Evicting:
    """What Sluice forgets it is told to, and goes on with memory that it has used before, as a server does."""

    def forget(self, file):
        self.ensure_started()
        paths = [str(path) for path in file.files()]
        run_client([self._binary, "cache", "evict", *paths], PATIENCE_SECONDS)
        for path in paths:
            drop_pages(path)


def check_sha256(sha256, file):
    if sha256 != file.sha256:
        raise Failed(f"{file.name}: the bytes are wrong")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
