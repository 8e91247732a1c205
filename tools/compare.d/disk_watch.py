"""Counts who is read below a gateway: each read that it makes of a backing file is one event of inotify.

The gateway's own counters do not tell whose misses they count. A gateway reads a file of one page by one O_DIRECT read,
so for such files an event is a miss, exactly and at once, whatever else is read meanwhile.
"""

import contextlib
import os
import select
import struct
import threading

from processes import LIBC, Failed

IN_ACCESS, IN_Q_OVERFLOW, IN_ISDIR = 0x1, 0x4000, 0x40000000
HEAD = struct.Struct("iIII")  # of an event: watch, mask, cookie, length of the name
BUFFER_BYTES = 1 << 18


class DiskWatch:
    """The kernel queues few events, so a thread fetches them while we wait for others."""

    def __init__(self, folders):
        self._lock = threading.Lock()
        self._reads = 0  # under the lock
        self._lost = False  # under the lock
        self._inotify = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._inotify < 0:
            raise Failed("inotify does not work here, which counts Sluice's misses")
        self._ending, self._end = os.pipe()
        for folder in folders:
            if LIBC.inotify_add_watch(self._inotify, os.fsencode(folder), IN_ACCESS) < 0:
                raise Failed(f"inotify, which counts Sluice's misses, cannot watch {folder}")
        self._thread = threading.Thread(target=self._fetch_until_the_end, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.close(self._end)
        self._thread.join()
        os.close(self._ending)
        os.close(self._inotify)

    def take(self):
        """The reads since the last take. None is missing: a read's event comes before its reader's answer."""
        self._fetch()
        with self._lock:
            if self._lost:
                raise Failed("inotify lost count of Sluice's misses")
            reads, self._reads = self._reads, 0
            return reads

    def _fetch_until_the_end(self):
        while self._ending not in select.select([self._inotify, self._ending], [], [])[0]:
            self._fetch()

    def _fetch(self):
        with self._lock, contextlib.suppress(BlockingIOError):
            while events := os.read(self._inotify, BUFFER_BYTES):
                self._count(events)

    def _count(self, events):
        at = 0
        while at < len(events):
            _, mask, _, name_bytes = HEAD.unpack_from(events, at)
            at += HEAD.size + name_bytes
            self._lost |= bool(mask & IN_Q_OVERFLOW)
            self._reads += bool(mask & IN_ACCESS) and not mask & IN_ISDIR
