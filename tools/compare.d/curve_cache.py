"""What a GiB of cache costs: caches from a quarter of a GiB on, as large as the memory here allows, each filled to 80 %.

Sluice's beside the page cache in a cgroup of the same limit, as in suite_cache: the same file, read once from end to end to
fill the cache and to prove the bytes, and then at random, so that the index is asked and no readahead helps. Memory is all
that is charged, for each GiB that is cached.
"""

from dataclasses import replace

import clients
import machine
from cache_peers import PageCache, SluiceCache
from clients import FioRun
from digest import digest_of_prefixes
from files import GIB, KIB, MIB, TestFile, size_text
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
    file = workspace.file(cached(max(wanted)), "filling")
    digests = digest_of_prefixes(file.path, [cached(size) for size in wanted])
    for size in wanted:
        peers = need_mounts([SluiceCache(workspace, plan.sluice, size), PageCache(workspace, size)],
                            clients.missing_client(["fio"]))
        part = TestFile(file.path, cached(size), digests[cached(size)])
        measure_group("cache", Group(peers, rows_of(size), (), lambda peer, part=part, size=size: Filled(peer, plan, part, size),
                                     plan.curve_pairs), plan, paper)


def rows_of(size):
    def row(what, title, unit, curve):
        return Row(f"cache-{size_text(size).replace(' ', '')}-{what}".lower(), f"{size_text(size)} of cache: {title}", unit, True if what == "rate" else None,
                   curve=Curve(curve, AXIS, size / GIB))

    return [row("rate", "random, 4 KiB", "1000/s", "Random reads of 4 KiB that hit"),
            row("memory", "memory for a GiB cached", "MiB/GiB", "Memory charged for each GiB that is cached")]


class Filled:
    """One peer, once, from an empty cache."""

    def __init__(self, peer, plan, part, size):
        self._peer = peer
        self._part = part
        self._size = size
        self._seconds = plan.seconds

    def run(self):
        peer, part = self._peer, self._part
        peer.stop()
        peer.make_cold(part)
        peer.ensure_started()
        with peer.clients():
            peer.clients_are_ready()
            peer.verify_part(part)
            rate = sample_of(peer, self._read_at_random)
        peer.stop()
        memory = Sample(replace(rate.result, bytes=part.size, memory_bytes=rate.memory_bytes), None, memory_bytes=rate.memory_bytes)
        key = rows_of(self._size)[0].key.removesuffix("-rate")
        return {f"{key}-rate": rate, f"{key}-memory": memory}

    def _read_at_random(self):
        how = FioRun(self._peer.path(self._part), "randread", 4 * KIB, self._part.size, direct=self._peer.how == "direct",
                     seconds=self._seconds)
        return clients.fio(how, None)
