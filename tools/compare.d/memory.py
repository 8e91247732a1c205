"""What a server makes the machine hold: its processes' own memory, the kernel's for it, and the page cache that it lives on.

The memory cgroup of the server counts the first two. Page cache is charged to whoever touched a page first, which among
peers that read the same files is chance. So who relies on the kernel's copy of the backing is charged what is resident of
the files it was asked for, as the kernel tells; others what their cgroup was charged. What the kernel keeps a second time
above a mount is charged to the readers, and these run in a cgroup of their own.
"""

import contextlib
import ctypes
import mmap
import os

from cgroup import MemoryCgroup
from processes import LIBC, Failed, read_text

LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
MAP_FAILED = ctypes.c_void_p(-1).value


def cgroup_name(name):
    return f"sluice-compare.{os.getpid()}.{name.replace(' ', '-')}"


def make_or_none(name):
    """A cgroup that only counts: without it we know less, and measure all the same."""
    made = MemoryCgroup(cgroup_name(name))
    try:
        made.make()
        return made
    except Failed:
        made.remove()
        return None


def private_bytes(pids):
    """Of processes, where there is no cgroup: without what they share, and without the kernel's part."""
    return sum(private_bytes_of(pid) for pid in pids)


def private_bytes_of(pid):
    total = 0
    with contextlib.suppress(OSError):  # it ended, or is somebody else's
        for line in read_text(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                total += int(line.split()[1]) * 1024
    return total


def resident_bytes(paths):
    """How much of the files is in the page cache."""
    return sum(resident_bytes_of(path) for path in paths)


def resident_bytes_of(path):
    with contextlib.suppress(OSError), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return size and resident_pages(file.fileno(), size) * mmap.PAGESIZE
    return 0


def resident_pages(descriptor, size):
    address = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address in (None, MAP_FAILED):
        return 0
    told = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    try:
        if LIBC.mincore(address, size, told) != 0:
            return 0
    finally:
        LIBC.munmap(address, size)
    return len(told.raw) - told.raw.count(0)
