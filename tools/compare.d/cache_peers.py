"""The caches of the cache suite: each starts empty, has clients of its own and counts the hot files' misses."""

import contextlib
import os
import sys
from pathlib import Path

from cgroup import MemoryCgroup
from disk_watch import DiskWatch
from files import MIB, size_text
from mount_peers import DIGEST_COMMAND, Backing, SluiceMount
from peers import check_sha256
from processes import PATIENCE_SECONDS, LongClient, run_client

CLIENT = Path(__file__).with_name("cache_client.py")


def client_command(*words):
    return [sys.executable, "-I", "-S", "-B", str(CLIENT), *map(str, words)]


class Verifier:
    """Its clients are told how to open a file, so that the kernel's cache is used only where it is the one measured."""

    def verify_as_its_clients(self, file):
        output, _ = run_client([*DIGEST_COMMAND, "--open", self.how, str(self.path(file))], PATIENCE_SECONDS)
        check_sha256(output.strip(), file)


class SluiceCache(Verifier, SluiceMount):
    """Clients open with O_DIRECT, so that no kernel keeps the files a second time, outside of the budget."""

    how = "direct"

    def client(self, kind, *words):
        return LongClient(kind, client_command(kind, *words))

    def clients_are_ready(self):
        pass

    @contextlib.contextmanager
    def miss_counter(self, hot):
        """What it yields tells the misses behind an answer of the hot reader."""
        with DiskWatch(hot.folders()) as watch:
            yield lambda _answer: watch.take()

    def memory_text(self):
        return f"--cache-size {size_text(self._cache_size)}, its index and ghosts included"


class PageCache(Verifier, Backing):
    """The bare backing, read buffered in a memory cgroup."""

    name = "page-cache"
    how = "buffered"

    def __init__(self, workspace, cache_size):
        super().__init__(workspace)
        self._cache_size = cache_size
        self._cgroup = None
        self._allowance = 0

    def ensure_started(self):
        if self._cgroup is None:
            self.start()

    def start(self):
        self._cgroup = MemoryCgroup(f"sluice-compare.{os.getpid()}")
        self._cgroup.make()

    def stop(self):
        if self._cgroup:
            self._cgroup.remove()
            self._cgroup = None

    def client(self, kind, *words):
        return LongClient(kind, client_command(kind, *words), self._cgroup.join)

    def join_as_client(self):
        self._cgroup.join()

    def charged_bytes(self, _files):
        """What the clients hold themselves is on top."""
        return self._cgroup.charged_bytes() - self._allowance

    def clients_are_ready(self):
        self._allowance = self._cgroup.own_bytes()
        self._cgroup.limit(self._cache_size + self._allowance)

    def miss_counter(self, _hot):
        return contextlib.nullcontext(lambda answer: answer["misses"])

    def memory_text(self):
        return f"a limit of {size_text(self._cache_size)}, and {self._allowance / MIB:.1f} MiB that its clients hold themselves"
