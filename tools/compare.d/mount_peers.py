"""Directories to read and write through: Sluice's mount and its peers, each as its users would set it up for speed."""

import shutil
import sys
from pathlib import Path

import memory
from files import SmallFiles, detach, drop_pages, mounted_paths, touch_memory
from install import find_program
from peers import Evicting, Peer, check_sha256
from processes import PATIENCE_SECONDS, run_client
from rows import SLUICE

DIGEST = Path(__file__).with_name("digest.py")
SMALL_FILES_AT_LEAST = 500  # per second that a client is waited for; rclone opens some thousand that it has cached
DIGEST_COMMAND = [sys.executable, "-I", "-S", "-B", str(DIGEST)]


class MountPeer(Peer):
    """Its readers have a cgroup of their own: what the kernel keeps above the mount is charged to them."""

    def __init__(self, workspace, *options, confinement=None):
        """`options`: of its own command."""
        super().__init__(workspace, confinement)
        self._options = options
        self.readers = None

    def path(self, file):
        return self.mounted() / file.name

    def mounted(self):
        """Where its clients see the directory that is served."""
        return self.mountpoint()

    def mountpoint(self):
        return self.workspace.folder(f"{self.name}.mount")

    def command(self):
        raise NotImplementedError

    def start(self):
        mountpoint = str(self.mountpoint())
        self.readers = memory.make_or_none(f"{self.name}.readers")
        self.launch(self.command(), lambda: mountpoint in mounted_paths())

    def stop(self):
        super().stop()
        if self.readers:
            self.readers.remove()
            self.readers = None
        if str(self.mountpoint()) in mounted_paths():  # it was killed
            detach(str(self.mountpoint()))

    def join_as_client(self):
        if self.readers:
            self.readers.join()

    def page_cache_bytes(self, files):
        above = self.readers.page_cache_bytes() if self.readers else 0
        return above + super().page_cache_bytes(files)

    def make_warm(self, file):
        run_client(["dd", f"if={self.path(file)}", "of=/dev/null", "bs=1M"], PATIENCE_SECONDS)

    def make_cold(self, file):
        """A server starts with nothing; the kernel's pages below it go as well."""
        self.stop()
        for path in file.files():
            drop_pages(path)
        touch_memory(file.size)
        self.start()

    def verify(self, file):
        patience = PATIENCE_SECONDS + len(file.files()) / SMALL_FILES_AT_LEAST
        output, _ = run_client([*DIGEST_COMMAND, *self._digest_words(file)], patience)
        check_sha256(output.strip(), file)

    def _digest_words(self, file):
        if isinstance(file, SmallFiles):
            return ["--small", str(self.path(file)), str(file.count), str(file.per_folder)]
        return [str(self.path(file))]


class Backing(MountPeer):
    """No peer but the measure of all: the directory itself. Warm it is the page cache, cold it is O_DIRECT."""

    name = "backing"

    def mounted(self):
        return self.workspace.files

    def start(self):
        if self._confinement and self._disk is None:
            self.make_cgroups()

    def make_cold(self, file):
        for path in file.files():
            drop_pages(path)
        touch_memory(file.size)

    def join_as_client(self):
        if self._disk:
            self._disk.join()

    def charged_bytes(self, files):
        return self.page_cache_bytes(files)


class Buffered(Backing):
    """The directory itself again, written through the page cache where Backing does without."""

    name = "page cache"


class SluiceMount(Evicting, MountPeer):
    name = SLUICE
    on_page_cache = False

    def __init__(self, workspace, binary, cache_size, *options, confinement=None):
        super().__init__(workspace, *options, confinement=confinement)
        self._binary = binary
        self._cache_size = cache_size

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
    on_page_cache = False

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
        return [find_program(self.program), "-f", "--multithreaded", "--no-allow-other", *self._options,
                str(self.workspace.files), str(self.mountpoint())]


class Mergerfs(MountPeer):
    """With the kernel's cache of what was read and of names, one branch, and no look at free space before each new file."""

    name = "mergerfs"
    program = "mergerfs"

    def command(self):
        options = ["fsname=mergerfs", "cache.files=auto-full", "cache.readdir=true", "cache.statfs=10", "minfreespace=0",
                   "category.create=ff", *self._options]
        return [find_program(self.program), "-f", "-o", ",".join(options), str(self.workspace.files), str(self.mountpoint())]


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
                "--cache-dir", str(self._cache()), *self._options, str(self.workspace.files), str(self.mountpoint())]

    def page_cache_bytes(self, files):
        """Its own files as well."""
        own = (path for path in self._cache().rglob("*") if path.is_file())
        return super().page_cache_bytes(files) + memory.resident_bytes(own)

    def _cache(self):
        return self.workspace.folder("rclone.cache")
