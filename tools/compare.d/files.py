"""The files that all peers serve, in a folder that goes away with the run."""

import copy
import hashlib
import mmap
import os
import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from processes import LIBC, Failed

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
FILES_PER_FOLDER = 1000  # unless one folder is to hold more


def size_text(size):
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


@dataclass(frozen=True)
class TestFile:
    path: Path
    size: int
    sha256: str

    @property
    def name(self):
        return self.path.name

    def files(self):
        return [self.path]


@dataclass(frozen=True)
class SmallFiles:
    """`count` files of 1 to 4 KiB; number i is path/(i // per_folder)/i. The digest is of all, one after the other."""

    path: Path
    count: int
    sha256: str
    per_folder: int

    @property
    def name(self):
        return self.path.name

    @property
    def size(self):
        """Of the pages that they fill."""
        return self.count * 4 * KIB

    def folders(self):
        return [self.path / str(number) for number in range(-(-self.count // self.per_folder))]

    def files(self):
        return [self.path / str(i // self.per_folder) / str(i) for i in range(self.count)]


class Workspace:
    """root/files is what is served; mounts, logs and configurations are made beside it."""

    def __init__(self, directory, disk_bytes):
        self._directory = Path(directory).resolve()
        self._disk_bytes = disk_bytes  # of all files that will be made
        self._files = {}

    def __enter__(self):
        os.umask(0o022)  # the web servers read as another user
        needed = self._disk_bytes + 64 * MIB
        try:
            if shutil.disk_usage(self._directory).free < needed:
                raise Failed(f"--dir: {self._directory} has less than {needed // MIB} MiB free; choose another, or --quick")
            self.root = Path(tempfile.mkdtemp(prefix="sluice-compare.", dir=self._directory))
        except OSError as error:
            raise Failed(f"--dir: {self._directory}: {error.strerror}") from None
        self.root.chmod(0o755)
        self.files = self.root / "files"
        self.files.mkdir()
        return self

    def __exit__(self, *_):
        left = mounts_below(self.root)
        for path in reversed(left):
            detach(path)
        if mounts_below(self.root):
            raise Failed(f"{left[0]} is still mounted; unmount it and remove {self.root}")
        shutil.rmtree(self.root)

    def seen_at(self, path):
        """The same files, for peers that find them elsewhere."""
        other = copy.copy(self)
        other.files = path
        return other

    def folder(self, name):
        path = self.root / name
        path.mkdir(exist_ok=True)
        return path

    def file(self, size, name=None):
        name = name or size_text(size).replace(" ", "")
        if name not in self._files:
            self._files[name] = self._make(self.files / name, size)
        return self._files[name]

    def small_files(self, name, count, per_folder=FILES_PER_FOLDER):
        if name not in self._files:
            self._files[name] = self._make_small(name, count, per_folder)
        return self._files[name]

    def _make_small(self, name, count, per_folder):
        made = SmallFiles(self.files / name, count, "", per_folder)
        for folder in made.folders():
            folder.mkdir(parents=True)
        noise, sizes, digest = os.urandom(MIB), random.Random(1), hashlib.sha256()
        for path in made.files():
            size = sizes.randrange(KIB, 4 * KIB + 1)
            start = sizes.randrange(MIB - size)
            piece = noise[start : start + size]
            digest.update(piece)
            path.write_bytes(piece)
        sync(made.path)
        return replace(made, sha256=digest.hexdigest())

    def _make(self, path, size):
        noise = os.urandom(2 * MIB)
        digest = hashlib.sha256()
        with open(path, "wb") as file:
            for number in range(0, size, MIB):
                start = number // MIB % MIB  # no two pieces are alike
                piece = noise[start : start + min(MIB, size - number)]
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        drop_pages(path)
        return TestFile(path, size, digest.hexdigest())


def sync(path):
    """Everything that was written to the file system. A page that is not on the disk cannot be dropped."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        LIBC.syncfs(descriptor)
    finally:
        os.close(descriptor)


def drop_pages(path):
    """The kernel's copy of a file that is not being written. Unlike drop_caches, nobody else's, and anybody may."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def touch_memory(size):
    """Whoever fills a cache next gets memory that the machine really has. A virtual one may take memory that was free for
    long from its host first, which costs seconds per GiB, whoever asks."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1


def direct_io_works(path):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


def mounted_paths():
    with open("/proc/self/mountinfo", "rb") as lines:
        # Spaces and the like are written as \040.
        return [line.split()[4].decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape") for line in lines]


def mounts_below(root):
    return [path for path in mounted_paths() if Path(path).is_relative_to(root)]


def detach(path):
    command = ["umount", "-l", path] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", "--", path]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
