"""What a GiB of cache costs: caches from a quarter of a GiB on, as large as the memory here allows, each filled to 80 %.

Sluice's beside the page cache in a cgroup of the same limit, as in suite_cache: the same file, read once from end to end to
fill the cache and to prove the bytes, and then at random, so that the index is asked and no readahead helps. Memory is all
that is charged, for each GiB that is cached.
"""

import hashlib
import os
from dataclasses import replace

import clients
import machine
from cache_peers import PageCache, SluiceCache
from clients import FioRun
from files import GIB, KIB, MIB, TestFile, drop_pages, size_text
from groups import Group, measure_group, need_mounts
from rows import Curve, Row, Sample, sample_of

SIZES = tuple(GIB * times // 4 for times in (1, 2, 4, 8, 16, 32))
QUICK_SIZES = (64 * MIB, 96 * MIB)
AXIS = "GiB of cache"


def sizes(plan):
    """A machine whose memory is more than half taken measures something else."""
    if plan.quick:
        return QUICK_SIZES
    return [size for size in SIZES if size * 5 // 2 < machine.memory_bytes("MemAvailable")] or QUICK_SIZES


def cached(size):
    return size * 4 // 5 // MIB * MIB


def disk_bytes(plan):
    return cached(max(sizes(plan)))


def run(plan, workspace, paper):
    wanted = [size for size in sizes(plan) if any(plan.wants(row) for row in rows_of(size))]
    paper.open_section("cache", "What a GiB of cache costs: a file of 80 % of the cache, read at random by 4 KiB")
    if not wanted:
        return
    filling = Filling(workspace.files / "filling")
    for size in wanted:
        peers = need_mounts([SluiceCache(workspace, plan.sluice, size), PageCache(workspace, size)],
                            clients.missing_client(["fio"]))
        file = filling.grown_to(cached(size))
        measure_group("cache", Group(peers, rows_of(size), (), lambda peer, file=file, size=size: Filled(peer, plan, file, size),
                                     plan.curve_pairs), plan, paper)


class Filling:
    """One file that grows: larger than the cache it must not be, for who reads through such a file gets little of it."""

    def __init__(self, path):
        self._path = path
        self._digest = hashlib.sha256()
        self._size = 0

    def grown_to(self, size):
        noise = os.urandom(2 * MIB)
        with open(self._path, "ab") as file:
            for number in range((size - self._size) // MIB):
                start = number % MIB  # no two pieces are alike
                self._digest.update(noise[start : start + MIB])
                file.write(noise[start : start + MIB])
            file.flush()
            os.fsync(file.fileno())
        self._size = size
        drop_pages(self._path)
        return TestFile(self._path, size, self._digest.hexdigest())


def rows_of(size):
    def row(what, title, unit, curve):
        return Row(f"cache-{size_text(size).replace(' ', '')}-{what}".lower(), f"{size_text(size)} of cache: {title}", unit, True if what == "rate" else None,
                   curve=Curve(curve, AXIS, size / GIB))

    return [row("rate", "random, 4 KiB", "1000/s", "Random reads of 4 KiB that hit"),
            row("memory", "memory for a GiB cached", "MiB/GiB", "Memory charged for each GiB that is cached")]


class Filled:
    """One peer, once, from an empty cache."""

    def __init__(self, peer, plan, file, size):
        self._peer = peer
        self._file = file
        self._size = size
        self._seconds = plan.seconds

    def run(self):
        peer, file = self._peer, self._file
        peer.stop()
        peer.make_cold(file)
        peer.ensure_started()
        with peer.clients():
            peer.clients_are_ready()
            peer.verify_as_its_clients(file)
            rate = sample_of(peer, self._read_at_random)
        peer.stop()
        memory = Sample(replace(rate.result, bytes=file.size, memory_bytes=rate.memory_bytes), None, memory_bytes=rate.memory_bytes)
        key = rows_of(self._size)[0].key.removesuffix("-rate")
        return {f"{key}-rate": rate, f"{key}-memory": memory}

    def _read_at_random(self):
        how = FioRun(self._peer.path(self._file), "randread", 4 * KIB, self._file.size, direct=self._peer.how == "direct",
                     seconds=self._seconds)
        return clients.fio(how, None)
