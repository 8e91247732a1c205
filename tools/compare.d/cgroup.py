"""A memory cgroup, by version 1 or 2 of the kernel's interface, whichever has the memory controller here.

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


class MemoryCgroup:
    """A new one below our own, or below the nearest ancestor that allows it. remove() may be called at any time."""

    def __init__(self, name):
        self._name = name
        self._path = None
        self._names = None

    def make(self):
        """Raises Failed where there can be none."""
        refusal = "none hands the memory controller down"
        parents, self._names = find_parents()
        for parent in parents:
            self._path = parent / self._name  # known before it is there: a signal may come between
            try:
                self._path.mkdir()
                return self._keep_in_memory()
            except OSError as error:
                refusal = error.strerror
        raise Failed(f"no memory cgroup can be made below our own or above it: {refusal}")

    def _keep_in_memory(self):
        swap, value = self._names.swap
        if (self._path / swap).exists():
            self._write(swap, value)

    def join(self):
        """For a child that is about to become a client."""
        self._write("cgroup.procs", str(os.getpid()))

    def own_bytes(self):
        """What is charged to it and is not page cache."""
        stat = dict(line.split() for line in read_text(self._path / "memory.stat").splitlines())
        return int(read_text(self._path / self._names.usage)) - int(stat[self._names.page_cache])

    def limit(self, size):
        self._write(self._names.limit, str(size))

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

    def _write(self, name, value):
        try:
            (self._path / name).write_text(value, encoding="ascii")
        except OSError as error:
            raise Failed(f"{self._path / name} cannot be written: {error.strerror}") from None


def find_parents():
    own = own_cgroups()
    for mountpoint, root, kind, options in cgroup_mounts():
        if kind == "cgroup" and "memory" in options:
            return ancestors(mountpoint, root, own.get("memory", "/"))[:1], V1
    for mountpoint, root, kind, _ in cgroup_mounts():
        if kind == "cgroup2" and "memory" in read_text(mountpoint / "cgroup.controllers").split():
            return [path for path in ancestors(mountpoint, root, own.get("", "/")) if hands_down_memory(path)], V2
    raise Failed("there is no memory cgroup: no cgroup file system with the memory controller is mounted")


def hands_down_memory(path):
    return "memory" in read_text(path / "cgroup.subtree_control").split()


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
