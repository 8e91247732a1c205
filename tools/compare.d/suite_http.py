"""GETs beside those from nginx and `rclone serve http`. Small and middling files by wrk with 16 connections, large ones by one curl.

Warm, all have all the memory that they want. Beyond memory they have the same little: Sluice a cache of that size, the others a
memory cgroup that holds as much beside their own processes; nginx once by sendfile from the page cache, once with large files
by O_DIRECT in threads. Then hot small files are fetched at random, first alone, then while two clients take files of many times
the cache: from the disk as it is, and from one that gives 100 MB/s (a throttled cgroup).

What a connection costs is the growth of the server's memory cgroup, kernel memory included; the client's end is not in it.
"""

import contextlib
from dataclasses import dataclass, replace

import clients
from clients import Result
from files import KIB, MIB, drop_pages, size_text, touch_memory
from groups import Group, measure_group
from http_peers import Nginx, NginxDirect, RcloneServe, SluiceServe
from peers import Confinement
from processes import PATIENCE_SECONDS, Usage
from rows import SLUICE, Row, Sample, sample_of

CONNECTIONS = 16
SIZES = (4 * KIB, 64 * KIB, MIB)
STREAMS = 2
SLOW_DISK = 100_000_000  # bytes per second


@dataclass(frozen=True)
class Scale:
    cache: int
    hot_files: int  # a page each, so that they fill half of it
    stream: int
    idle: int  # connections
    slow: int


def scale_of(plan):
    if plan.quick:
        return Scale(cache=32 * MIB, hot_files=500, stream=64 * MIB, idle=200, slow=50)
    return Scale(cache=80 * MIB, hot_files=10000, stream=plan.large_size, idle=10000, slow=1000)


def disk_bytes(plan):
    scale = scale_of(plan)
    return sum(SIZES) + plan.large_size + STREAMS * scale.stream + scale.hot_files * 4 * KIB


def run(plan, workspace, paper):
    scale = scale_of(plan)
    files = [workspace.file(size) for size in (*SIZES, plan.large_size)]
    hot = workspace.small_files("hot", scale.hot_files)
    streams = [workspace.file(scale.stream, f"download-{number}") for number in range(STREAMS)]
    paper.open_section("http", f"GETs; wrk with {CONNECTIONS} connections, {size_text(plan.large_size)} by curl; beyond memory: "
                               f"{size_text(scale.cache)} of cache, {scale.hot_files} hot files, streams of {size_text(scale.stream)}")
    for group in groups(plan, workspace, scale, files, hot, streams):
        measure_group("http", group, plan, paper)


def groups(plan, workspace, scale, files, hot, streams):
    def peers(kinds, cache_size, confinement_of=lambda _: None):
        made = [SluiceServe(workspace, plan.sluice, cache_size, confinement=confinement_of(SLUICE))]
        made += [kind(workspace, confinement=confinement_of(kind.name)) for kind in kinds]
        return need_clients(made)

    def in_little_memory(disk_rate=None):
        return peers([Nginx, NginxDirect, RcloneServe], scale.cache,
                     lambda name: Confinement(None if name == SLUICE else scale.cache, disk_rate))

    def in_cgroups():
        return peers([Nginx, RcloneServe], plan.warm_cache_size, lambda _: Confinement())

    small, large = files[0], files[-1]
    return [
        Group(peers([Nginx, RcloneServe], plan.warm_cache_size), warm_rows(plan, files), files),
        Group(in_little_memory(), cold_rows(streams[0]), streams),
        Group(in_little_memory(), crowd_rows("mixed", ""), trial=lambda peer: Crowd("mixed", peer, plan, hot, streams)),
        Group(in_little_memory(SLOW_DISK), crowd_rows("throttled", ", slow disk"),
              trial=lambda peer: Crowd("throttled", peer, plan, hot, streams)),
        Group(in_cgroups(), idle_rows(scale), (small,), lambda peer: IdleConnections(peer, plan, small)),
        Group(in_cgroups(), slow_rows(scale), (small, large), lambda peer: SlowReaders(peer, plan, small, large)),
    ]


def need_clients(peers):
    missing = clients.missing_client(["wrk", "curl"])
    for peer in peers:
        peer.out = peer.out or missing
    return peers


# ---- warm and cold ----


def warm_rows(plan, files):
    *small, large = files
    seconds = wrk_seconds(plan)
    times = 1 if plan.quick else 3
    made = [get(file, lambda peer, file=file: clients.wrk(peer.url(file), file.size, CONNECTIONS, seconds)) for file in small]
    return [*made, get(large, lambda peer: clients.curl(peer.url(large), large.size, times), key="get-large")]


def get(file, ask, key=None):
    key = key or f"get-{file.name.lower()}"
    unit = "1000/s" if file.size < MIB else "MB/s"
    # Warm since it was verified; once more, because a server may have been started again.
    return Row(key, f"GET {size_text(file.size)}", unit, True, ask, lambda peer: clients.curl(peer.url(file), file.size, 1), (file,))


def cold_rows(file):
    return [Row("get-cold", f"GET {size_text(file.size)}, cold", "MB/s", False,
                lambda peer: clients.curl(peer.url(file), file.size, 1), lambda peer: peer.forget(file), (file,))]


def wrk_seconds(plan):
    """It looks at its clock ten times a second."""
    return max(0.3, plan.seconds)


# ---- hot files beside streams ----


def crowd_rows(key, where):
    return [
        Row(f"{key}-hot-alone", f"hot GETs, alone{where}", "1000/s", None),
        Row(f"{key}-hot-beside", f"hot GETs, beside streams{where}", "1000/s", None),
        Row(f"{key}-p99-alone", f"p99 of a hot GET, alone{where}", "us", None),
        Row(f"{key}-p99-beside", f"p99 beside streams{where}", "us", None),
        Row(f"{key}-streams", f"both streams{where}", "MB/s", None),
    ]


class Crowd:
    """One peer, once, from an empty cache."""

    def __init__(self, key, peer, plan, hot, streams):
        self._key = key
        self._peer = peer
        self._seconds = wrk_seconds(plan) * (1 if plan.quick else 4)
        self._hot = hot
        self._streams = streams
        self._cache = scale_of(plan).cache

    def run(self):
        self._begin_empty()
        self._peer.verify(self._hot)
        alone = sample_of(self._peer, self._read_hot, self._files())
        with contextlib.ExitStack() as cleanup:
            streaming = [cleanup.enter_context(clients.http_client("stream", self._peer.port, f"/{stream.name}"))
                         for stream in self._streams]
            for client in streaming:
                client.answer(PATIENCE_SECONDS)
            beside = self._read_hot()
            for client in streaming:
                client.tell("enough")
            streamed = sum_of([client.answer(PATIENCE_SECONDS) for client in streaming])
        charged = self._peer.charged_bytes(self._files())
        self._peer.stop()
        # Whose processor time the server's is, is not known.
        beside, streamed = (Sample(result, None, memory_bytes=charged) for result in (beside, streamed))
        answers = {"hot-alone": alone, "hot-beside": beside, "p99-alone": alone, "p99-beside": beside, "streams": streamed}
        return {f"{self._key}-{name}": sample for name, sample in answers.items()}

    def _begin_empty(self):
        self._peer.stop()
        for path in [*self._hot.files(), *(stream.path for stream in self._streams)]:
            drop_pages(path)
        touch_memory(2 * self._cache)
        self._peer.start()

    def _read_hot(self):
        return clients.wrk_at_random(self._peer.url(self._hot), self._hot, CONNECTIONS, self._seconds)

    def _files(self):
        return (self._hot, *self._streams)


def sum_of(told):
    return Result(seconds=max(one["seconds"] for one in told), operations=len(told), bytes=sum(one["bytes"] for one in told),
                  client=Usage(sum(one["cpu_seconds"] for one in told), None))


# ---- many connections ----


def idle_rows(scale):
    return [
        Row("idle-memory", f"memory of each of {scale.idle} idle connections", "KiB", None),
        Row("idle-none", "GET 4 KiB, no others", "1000/s", None),
        Row("idle-beside", f"GET 4 KiB beside {scale.idle} idle", "1000/s", None),
    ]


class IdleConnections:
    def __init__(self, peer, plan, file):
        self._peer = peer
        self._file = file
        self._seconds = wrk_seconds(plan)
        self._count = scale_of(plan).idle

    def run(self):
        self._peer.ensure_started()
        alone = self._ask()
        with clients.http_client("idle", self._peer.port, f"/{self._file.name}", self._count) as client:
            before = self._peer.memory.own_bytes()
            client.answer(PATIENCE_SECONDS)
            taken = self._peer.memory.own_bytes() - before
            beside = self._ask()
            client.tell("enough")
            client.answer(PATIENCE_SECONDS)
        self._peer.stop()
        memory = replace(beside, result=replace(beside.result, operations=self._count, memory_bytes=taken), server=None)
        return {"idle-memory": memory, "idle-none": alone, "idle-beside": beside}

    def _ask(self):
        return sample_of(self._peer, lambda: clients.wrk(self._peer.url(self._file), self._file.size, CONNECTIONS, self._seconds),
                         (self._file,))


def slow_rows(scale):
    return [
        Row("slow-none", "p99 of GET 4 KiB, no others", "us", None),
        Row("slow-beside", f"p99 beside {scale.slow} slow readers", "us", None),
    ]


class SlowReaders:
    def __init__(self, peer, plan, small, large):
        self._peer = peer
        self._small = small
        self._large = large
        self._seconds = wrk_seconds(plan)
        self._count = scale_of(plan).slow

    def run(self):
        self._peer.ensure_started()
        alone = self._ask()
        with clients.http_client("slow", self._peer.port, f"/{self._large.name}", self._count) as client:
            client.answer(PATIENCE_SECONDS)
            beside = self._ask()
            client.tell("enough")
            client.answer(PATIENCE_SECONDS)
        self._peer.stop()
        return {"slow-none": alone, "slow-beside": beside}

    def _ask(self):
        return sample_of(self._peer, lambda: clients.wrk(self._peer.url(self._small), self._small.size, 1, self._seconds),
                         (self._small,))
