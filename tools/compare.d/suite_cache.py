"""What a cache keeps while streams pass: a hot set that fills half of it, beside two streams of 20 times its size each.

Beside Sluice's mount stands the kernel's page cache in as much memory: the same clients read the bare backing, buffered, in
a memory cgroup. A cgroup is charged for all that its processes use. So its limit is the cache's size and, on top, what the
clients had taken for themselves when they were ready, measured before they read anything. Inodes and names are no part of
either budget: making the files brought them into memory, outside of the cgroup. What the kernel and Sluice remember of pages
that are gone is part of both. Sluice's clients open with O_DIRECT, so all that is cached above the disk is in its budget;
the kernel would else (before Linux 6.6) keep the files a second time, without limit.

A trial begins with an empty cache. All hot files are read once, in order, to prove their bytes; then at random and alone, for a
while; then at random beside the streams, until both have ended. One client reads hot files as fast as it can (open, read,
close), which is not equally fast on both sides: who answers sooner is asked more often. The streams are read once, by 1 MiB.

Only the hot files' misses are counted, while the streams run: above the page cache those reads for which the reader itself
had to read from the disk, as the kernel accounts it; under Sluice, by inotify, its own reads of hot files, all of them from the
disk. Either count is believed when it has found the first read of every file to be a miss.
"""

import contextlib
from dataclasses import dataclass, replace

from cache_peers import PageCache, SluiceCache
from clients import Result
from files import FILES_PER_FOLDER, KIB, MIB, drop_pages, size_text, touch_memory
from groups import need_mounts
from processes import PATIENCE_SECONDS, Failed, Usage
from rows import Row, Sample, measure_together, prove

STREAMS = 2
SLOWEST_DISK = 10 * MIB  # bytes per second
MISCOUNT_MOST = 0.02


@dataclass(frozen=True)
class Sizes:
    cache: int
    hot_files: int  # a page each
    stream: int

    @property
    def patience_seconds(self):
        return PATIENCE_SECONDS + STREAMS * self.stream / SLOWEST_DISK


def sizes_of(plan):
    if plan.quick:
        return Sizes(cache=8 * MIB, hot_files=1000, stream=24 * MIB)
    return Sizes(cache=80 * MIB, hot_files=10000, stream=20 * 80 * MIB)


def disk_bytes(plan):
    sizes = sizes_of(plan)
    return STREAMS * sizes.stream + sizes.hot_files * 4 * KIB


def run(plan, workspace, paper):
    sizes = sizes_of(plan)
    peers = [SluiceCache(workspace, plan.sluice, sizes.cache), PageCache(workspace, sizes.cache)]
    need_mounts(peers, None)
    hot = workspace.small_files("hot", sizes.hot_files)
    streams = [workspace.file(sizes.stream, f"stream-{number}") for number in range(STREAMS)]
    paper.open_section("cache", f"{sizes.hot_files} hot files of 1 to 4 KiB in a cache of {size_text(sizes.cache)}, "
                              f"read at random alone and beside {STREAMS} streams of {size_text(sizes.stream)} each")
    with contextlib.ExitStack() as cleanup:
        for peer in peers:
            cleanup.callback(peer.stop)
            prove(peer, streams)
        measured = measure_together(rows(), peers, plan.pairs, lambda peer: Trial(peer, plan, hot, streams).run())
        for peer in peers:
            if any(row.cells[peer.name].samples for row in measured):
                paper.note("cache", f"memory of {peer.name}: {peer.memory_text()}")
        for row in measured:
            if plan.wants(row.row):
                paper.add("cache", row)


def rows():
    return [
        Row("hit-ratio-alone", "hot hit ratio, alone", "%", None),
        Row("hit-ratio-beside", "hot hit ratio, beside the streams", "%", None),
        Row("hit-ratio-lost", "hot hit ratio, lost to the streams", "points", None),
        Row("hot-reads-alone", "hot reads, alone", "1000/s", None),
        Row("hot-reads-beside", "hot reads, beside the streams", "1000/s", None),
        Row("hot-p99-alone", "p99 of a hot read, alone", "us", None),
        Row("hot-p99-beside", "p99 of a hot read, beside streams", "us", None),
        Row("streams", "both streams", "MB/s", None),
    ]


class Trial:
    """One peer, once, from an empty cache to the end of the streams."""

    def __init__(self, peer, plan, hot, streams):
        self._peer = peer
        self._seconds = plan.seconds
        self._patience_seconds = sizes_of(plan).patience_seconds
        self._cache_size = sizes_of(plan).cache
        self._hot = hot
        self._streams = streams

    def run(self):
        self._begin_empty()
        with contextlib.ExitStack() as cleanup:
            self._misses = cleanup.enter_context(self._peer.miss_counter(self._hot))
            self._start_clients(cleanup)
            self._prove_hot_files()
            alone = self._read_alone()
            beside, streamed = self._read_beside_streams()
        self._peer.stop()
        return {
            "hit-ratio-alone": alone,
            "hit-ratio-beside": beside,
            "hit-ratio-lost": replace(beside, before=alone.result),
            "hot-reads-alone": alone,
            "hot-reads-beside": beside,
            "hot-p99-alone": alone,
            "hot-p99-beside": beside,
            "streams": streamed,
        }

    def _begin_empty(self):
        self._peer.stop()
        for path in [*self._hot.files(), *(stream.path for stream in self._streams)]:
            drop_pages(path)
        touch_memory(2 * self._cache_size)
        self._peer.start()

    def _start_clients(self, cleanup):
        peer = self._peer
        commands = [("hot", peer.path(self._hot), self._hot.count, FILES_PER_FOLDER, peer.how)]
        commands += [("stream", peer.path(stream), peer.how) for stream in self._streams]
        clients = [cleanup.enter_context(peer.client(*command)) for command in commands]
        for client in clients:
            client.answer(PATIENCE_SECONDS)
        peer.clients_are_ready()
        self._reader, *self._streamers = clients

    def _prove_hot_files(self):
        self._reader.tell("prove")
        told, misses = self._answer_of_reader()
        if told["sha256"] != self._hot.sha256:
            raise Failed(f"{self._hot.name}: the bytes are wrong")
        if abs(misses - self._hot.count) > MISCOUNT_MOST * self._hot.count:
            raise Failed(f"misses cannot be counted here: {misses} in the first read of {self._hot.count} files")

    def _read_alone(self):
        before = self._peer.usage()
        self._reader.tell(f"random {self._seconds}")
        told, misses = self._answer_of_reader()
        after = self._peer.usage()
        return Sample(result_of(told, misses), after.since(before) if after else None, memory_bytes=self._peer.charged_bytes(()))

    def _read_beside_streams(self):
        """Whose processor time the server's is, is not known."""
        self._reader.tell(f"random {self._patience_seconds}")
        for client in self._streamers:
            client.tell("go")
        streamed = [client.answer(self._patience_seconds) for client in self._streamers]
        self._reader.tell("enough")
        told, misses = self._answer_of_reader()
        for stream, read in zip(self._streams, streamed):
            if read["bytes"] != stream.size:
                raise Failed(f"{stream.name}: {read['bytes']} bytes were read, not {stream.size}")
        charged = self._peer.charged_bytes(())
        return [Sample(self._unshared(result), None, memory_bytes=charged)
                for result in (result_of(told, misses), sum_of(streamed))]

    def _unshared(self, result):
        """Nor is whose disk reads are the server's."""
        return replace(result, client=replace(result.client, disk_bytes=None)) if self._peer.server else result

    def _answer_of_reader(self):
        told = self._reader.answer(self._patience_seconds)
        return told, self._misses(told)


def result_of(told, misses):
    return Result(seconds=told["seconds"], operations=told["operations"], bytes=told["bytes"],
                  client=Usage(told["cpu_seconds"], told["disk_bytes"]), latency_us=told["latency_us"],
                  hits=told["operations"] - misses)


def sum_of(streamed):
    def total(key):
        return sum(told[key] for told in streamed)

    return Result(seconds=max(told["seconds"] for told in streamed), operations=total("operations"), bytes=total("bytes"),
                  client=Usage(total("cpu_seconds"), total("disk_bytes")))
