"""Packs the initramfs of the guest: busybox, this machine's Python with what the script imports, and the kernel's NFS client.

    lib_nfs_guest.py KERNEL SCRIPT OUTPUT      KERNEL: what tools/install-deps unpacked; SCRIPT: what the guest runs

The archive is cpio's "newc", not compressed: an emulated processor takes longer to inflate than to copy.
"""
import io
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys

FIRST_MODULES = ["virtio_pci", "virtio_net", "nfsv3"]  # the others are what these depend on
GUEST_LIBRARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib_guest.py")
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for module in {modules}; do insmod /modules/$module.ko || echo "insmod $module failed"; done
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
python3 -I -S -B /lib_guest.py /script.py
poweroff -f
"""


class Archive:
    """newc: a header of hexadecimal fields, the name, the bytes; each padded to four."""

    def __init__(self):
        self._out = io.BytesIO()
        self._names = set()

    def _pad(self):
        self._out.write(b"\0" * (-self._out.tell() % 4))

    def _add(self, name, mode, data=b"", mtime=0, device=(0, 0)):
        name = name.lstrip("/")
        if name in self._names:
            return
        parent = os.path.dirname(name)
        if parent:
            self.folder(parent)
        self._names.add(name)
        fields = [len(self._names), mode, 0, 0, 1, mtime, len(data), 0, 0, *device, len(name) + 1, 0]
        self._out.write(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0")
        self._pad()
        self._out.write(data)
        self._pad()

    def folder(self, name):
        self._add(name, stat.S_IFDIR | 0o755)

    def character_device(self, name, major, minor):
        self._add(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def data(self, name, data, mode=0o644, mtime=0):
        self._add(name, stat.S_IFREG | mode, data, mtime)

    def file(self, path, name=None):
        """With its time, because compiled Python names that of its source."""
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            self.data(name or path, file.read(), stat.S_IMODE(found.st_mode), int(found.st_mtime))

    def finished(self):
        self._add("TRAILER!!!", 0)
        return self._out.getvalue()


def modules_in_order(kernel):
    """(name, bytes) of every module, those that others depend on first."""
    paths = {}
    for name in os.listdir(f"{kernel}/modules"):
        paths[name.split(".ko")[0].replace("-", "_")] = f"{kernel}/modules/{name}"
    loaded = {}

    def load(name):
        if name in loaded:
            return
        if name not in paths:
            sys.exit(f"{kernel}/modules has no {name}; remove {kernel} and run tools/install-deps --tests")
        with open(paths[name], "rb") as file:
            data = file.read()
        if paths[name].endswith(".xz"):
            data = lzma.decompress(data)
        for needed in re.search(rb"\0depends=([^\0]*)\0", data)[1].decode().split(","):
            if needed:
                load(needed.replace("-", "_"))
        loaded[name] = data

    for name in FIRST_MODULES:
        if name in paths:  # else it is built into the kernel
            load(name)
    return list(loaded.items())


def imported_files(sources):
    """What Python reads to run these."""
    names = sorted({name for source in sources for name in re.findall(r"^(?:import|from) ([a-z_, ]+)", source, re.MULTILINE)})
    words = {word for name in names for word in name.split(" import ")[0].replace(",", " ").split()} - {"lib_guest"}
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys, encodings.idna, encodings.latin_1\n"
         f"import {', '.join(sorted(words | {'os'}))}\n"
         "for module in list(sys.modules.values()):\n"
         "    for path in (getattr(module, '__file__', None), getattr(module, '__cached__', None)):\n"
         "        if path: print(path)"],
        check=True, capture_output=True, text=True).stdout.split("\n")
    return [path for path in told if path and os.path.exists(path)]


def libraries_of(paths):
    told = subprocess.run(["ldd", *paths], check=True, capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"(/\S+) \(0x", told)))


def main():
    kernel, script, output = sys.argv[1:]
    archive = Archive()
    for folder in ("bin", "dev", "proc", "sys", "tmp", "mnt"):
        archive.folder(folder)
    archive.character_device("dev/console", 5, 1)
    archive.file(shutil.which("busybox"), "bin/busybox")
    modules = modules_in_order(kernel)
    for name, data in modules:
        archive.data(f"modules/{name}.ko", data)
    with open(script, encoding="utf-8") as one, open(GUEST_LIBRARY, encoding="utf-8") as other:
        sources = [one.read(), other.read()]
    python = os.path.realpath(sys.executable)
    # Where Python looks for its library is made of where it lies itself.
    archive.file(python, f"{sys.prefix}/bin/python3")
    archive.data("bin/python3", f'#!/bin/sh\nexec {sys.prefix}/bin/python3 "$@"\n'.encode(), 0o755)
    files = imported_files(sources)
    for path in [*files, *libraries_of([python, *(path for path in files if path.endswith(".so"))])]:
        archive.file(path)
    archive.file(GUEST_LIBRARY, "lib_guest.py")
    archive.file(script, "script.py")
    archive.data("init", INIT.format(modules=" ".join(name for name, _ in modules)).encode(), 0o755)
    with open(output, "wb") as file:
        file.write(archive.finished())


if __name__ == "__main__":
    main()
