"""The machine that the figures belong to, in one line."""

import os
import platform
import time
from pathlib import Path

from processes import Failed, read_text


def describe(directory):
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory_bytes("MemTotal"),
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "file_system": file_system_of(directory),
        "readahead_kib": readahead_kib_of(directory),
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def as_line(machine):
    gib = machine["memory_bytes"] / (1 << 30)
    return (f"{machine['cpu']}, {machine['cores']} cores, {gib:.0f} GiB, {machine['kernel']}, "
            f"{machine['file_system']}, disk readahead {machine['readahead_kib'] or '?'} KiB, "
            f"load {machine['load']:.1f}, {machine['date']}")


def memory_bytes(key):
    for line in read_text("/proc/meminfo").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_name():
    for line in read_text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def file_system_of(directory):
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in read_text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return "unknown file system"


def readahead_kib_of(directory):
    """What the kernel reads ahead from this disk at most; None: it is on no one disk."""
    folder = disk_folder_of(directory)
    return int(read_text(folder / "queue/read_ahead_kb")) if folder else None


def disk_of(directory):
    """(major, minor) of the whole disk."""
    folder = disk_folder_of(directory)
    if folder is None:
        raise Failed(f"{directory} is on no one disk, so its rate cannot be limited")
    major, minor = read_text(folder / "dev").split(":")
    return int(major), int(minor)


def disk_folder_of(directory):
    device = os.stat(directory).st_dev
    disk = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    for folder in (disk, disk.parent):  # a partition's is its disk's
        if (folder / "queue/read_ahead_kb").exists():
            return folder
    return None
