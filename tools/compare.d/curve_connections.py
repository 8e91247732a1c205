"""What connections cost: N clients of one server, all of them active in turn, from ten to a hundred thousand.

Each connection has fetched a file of 4 KiB once when it counts, and then all of them ask for it again, one after the other,
as many at once as AT_ONCE in http_client.py. Memory is the growth of the server's cgroup by then, for each connection; the
client's end is not in it. One address has less than 28,000 ports to one server, so clients come from several of the
loopback's.
"""

from dataclasses import replace

import clients
from files import KIB
from groups import Group, measure_group
from http_peers import Nginx, RcloneServe, SluiceServe, descriptors_max
from peers import Confinement
from processes import PATIENCE_SECONDS, Usage
from rows import Curve, Row, Sample
from suite_http import need_clients

COUNTS = (10, 100, 1000, 10_000, 100_000)
QUICK_COUNTS = (10, 100)
FILE = 4 * KIB
OTHERS = 200  # descriptors of a process that are no connections
DESCRIPTORS = 200_000  # of a process, for the most connections: servers keep a quarter for files
ANSWERED_AT_LEAST = 500  # first GETs per second, with all others waiting
AXIS = "connections"


def disk_bytes(_plan):
    return FILE


def run(plan, workspace, paper):
    paper.open_section("http", "What connections cost: GETs of 4 KiB by all of them in turn, and the server's memory for each")
    file = workspace.file(FILE)
    for count in QUICK_COUNTS if plan.quick else COUNTS:
        measure_group("http", group(plan, workspace, file, count), plan, paper)


def group(plan, workspace, file, count):
    def more(kind, *words):
        return kind(workspace, *words, confinement=Confinement(), connections=count * 6 // 5 + 1000)

    peers = need_clients([more(SluiceServe, plan.sluice, plan.warm_cache_size), more(Nginx), more(RcloneServe)])
    return Group(peers, rows_of(count), (file,), lambda peer: ManyConnections(peer, plan, file, count), plan.curve_pairs,
                 impossible(count))


def impossible(count):
    most = descriptors_max()
    if count * 6 // 5 + OTHERS > most:
        return f"a process may open {most} files here (ulimit -Hn)"
    return None


def rows_of(count):
    def row(what, title, unit, curve):
        return Row(f"connections-{count}-{what}", f"{count} connections: {title}", unit, None, curve=Curve(curve, AXIS, count))

    return [row("rate", "GETs of 4 KiB", "1000/s", "GETs of 4 KiB, all connections in turn"),
            row("memory", "memory of each", "KiB", "Memory of the server for each connection")]


class ManyConnections:
    """One peer, once."""

    def __init__(self, peer, plan, file, count):
        self._peer = peer
        self._file = file
        self._count = count
        self._seconds = plan.seconds

    def run(self):
        peer = self._peer
        peer.ensure_started()
        before = peer.memory.own_bytes()
        with clients.http_client("many", peer.port, f"/{self._file.name}", self._count, self._seconds) as client:
            client.answer(PATIENCE_SECONDS + self._count / ANSWERED_AT_LEAST)
            used = peer.usage()
            client.tell("go")
            told = client.answer(PATIENCE_SECONDS)
            used = peer.usage().since(used)
            taken = max(0, peer.memory.own_bytes() - before)
            charged = peer.charged_bytes((self._file,))
        peer.stop()
        result = clients.Result(seconds=told["seconds"], operations=told["operations"], bytes=told["bytes"],
                                client=Usage(told["cpu_seconds"], None))
        rate = Sample(result, used, memory_bytes=charged)
        memory = replace(rate, result=replace(result, operations=self._count, memory_bytes=taken), server=None)
        return {f"connections-{self._count}-rate": rate, f"connections-{self._count}-memory": memory}
