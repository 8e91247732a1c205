"""Cgroups, by version 1 or 2 of the kernel's interface, whichever has the controller here.

A page of the page cache is charged to the cgroup of the process that first touched it, until it is dropped.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from processes import Failed, read_text

REMOVE_SECONDS = 10


@dataclass(frozen=True)
class Names:
    limit: str
    usage: str
    page_cache: str  # in memory.stat
    swap: tuple[str, str]  # the file, and what in it forbids to make room for pages by swapping clients out


V1 = Names("memory.limit_in_bytes", "memory.usage_in_bytes", "cache", ("memory.swappiness", "0"))
V2 = Names("memory.max", "memory.current", "file", ("memory.swap.max", "0"))


class Cgroup:
    """A new one below our own, or below the nearest ancestor that allows it. remove() may be called at any time."""

    controller = None  # by version of the interface

    def __init__(self, name):
        self._name = name
        self._path = None
        self.version = None

    def make(self):
        """Raises Failed where there can be none."""
        refusal = "none hands the controller down"
        parents, self.version = find_parents(self.controller)
        for parent in parents:
            self._path = parent / self._name  # known before it is there: a signal may come between
            try:
                self._path.mkdir()
                return self.set_up()
            except OSError as error:
                refusal = error.strerror
        raise Failed(f"no {self.controller[1]} cgroup can be made below our own or above it: {refusal}")

    def set_up(self):
        pass

    def join(self):
        """For a child that is about to become a client or a server."""
        self.write("cgroup.procs", str(os.getpid()))

    def remove(self):
        deadline = time.monotonic() + REMOVE_SECONDS
        while self._path and self._path.is_dir():
            self._end_members()
            try:
                self._path.rmdir()
            except OSError as error:  # a process that is still ending
                if time.monotonic() > deadline:
                    raise Failed(f"{self._path} cannot be removed: {error.strerror}") from None
                time.sleep(0.01)

    def _end_members(self):
        for pid in read_text(self._path / "cgroup.procs").split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def has(self, name):
        return (self._path / name).exists()

    def read(self, name):
        return read_text(self._path / name)

    def write(self, name, value):
        try:
            (self._path / name).write_text(value, encoding="ascii")
        except OSError as error:
            raise Failed(f"{self._path / name} cannot be written: {error.strerror}") from None


class MemoryCgroup(Cgroup):
    controller = {1: "memory", 2: "memory"}

    def set_up(self):
        swap, value = self._names().swap
        if self.has(swap):
            self.write(swap, value)

    def own_bytes(self):
        """What is charged to it and is not page cache."""
        return self.charged_bytes() - self.page_cache_bytes()

    def charged_bytes(self):
        return int(self.read(self._names().usage))

    def page_cache_bytes(self):
        """The kernel counts memory that processes share (memfd) as page cache; we do not."""
        stat = dict(line.split() for line in self.read("memory.stat").splitlines())
        return int(stat[self._names().page_cache]) - int(stat.get("shmem", 0))

    def limit(self, size):
        self.write(self._names().limit, str(size))

    def _names(self):
        return V1 if self.version == 1 else V2


class DiskCgroup(Cgroup):
    controller = {1: "blkio", 2: "io"}

    def limit_reads(self, device, bytes_per_second):
        """`device`: (major, minor) of a whole disk."""
        major, minor = device
        if self.version == 1:
            self.write("blkio.throttle.read_bps_device", f"{major}:{minor} {bytes_per_second}")
        else:
            self.write("io.max", f"{major}:{minor} rbps={bytes_per_second}")


def find_parents(controller):
    """Where a cgroup may be made, the nearest first, and the version of the interface."""
    own = own_cgroups()
    for mountpoint, root, kind, options in cgroup_mounts():
        if kind == "cgroup" and controller[1] in options:
            return ancestors(mountpoint, root, own.get(controller[1], "/"))[:1], 1
    for mountpoint, root, kind, _ in cgroup_mounts():
        if kind == "cgroup2" and controller[2] in read_text(mountpoint / "cgroup.controllers").split():
            return [path for path in ancestors(mountpoint, root, own.get("", "/")) if hands_down(path, controller[2])], 2
    raise Failed(f"there is no {controller[1]} cgroup: no cgroup file system with that controller is mounted")


def hands_down(path, controller):
    return controller in read_text(path / "cgroup.subtree_control").split()


def own_cgroups():
    """By controller; "" is version 2."""
    lines = [line.split(":", 2) for line in read_text("/proc/self/cgroup").splitlines()]
    return {controller: path for _, controllers, path in lines for controller in controllers.split(",")}


def cgroup_mounts():
    for line in read_text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            _, _, _, root, mountpoint, *_ = before.split()
            yield Path(mountpoint), root, kind, options.split(",")


def ancestors(mountpoint, root, own):
    """Our own cgroup and those above it, as far as the mount shows them."""
    below = own.removeprefix(root.rstrip("/")).strip("/")
    path = mountpoint / below
    if ".." in below or not path.is_dir():
        return [mountpoint]
    return [path, *(parent for parent in path.parents if parent.is_relative_to(mountpoint))]
