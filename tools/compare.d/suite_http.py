"""Warm GETs beside nginx's sendfile. Small and middling files by wrk with 16 connections, the large one by one curl."""

import contextlib

import clients
from files import KIB, MIB, size_text
from peers import Nginx, SluiceServe
from rows import Row, measure, prove, wanted

CONNECTIONS = 16
SIZES = (4 * KIB, 64 * KIB, MIB)


def disk_bytes(plan):
    return sum(SIZES) + plan.large_size


def run(plan, workspace, paper):
    peers = [SluiceServe(workspace, plan.sluice, plan.warm_cache_size), Nginx(workspace)]
    files = [workspace.file(size) for size in (*SIZES, plan.large_size)]
    missing = clients.missing_client(["wrk", "curl"])
    with contextlib.ExitStack() as cleanup:
        for peer in peers:
            peer.out = peer.out or missing
            cleanup.callback(peer.stop)
            prove(peer, files)
        paper.open_suite("http", f"Warm GETs; wrk with {CONNECTIONS} connections, {size_text(plan.large_size)} by curl")
        for row in wanted(rows(plan, files), plan):
            paper.add("http", measure(row, peers, plan.pairs))


def rows(plan, files):
    *small, large = files
    seconds = max(1, round(plan.seconds))
    times = 1 if plan.quick else 3
    made = [get(file, lambda peer, file=file: clients.wrk(peer.url(file), file.size, CONNECTIONS, seconds)) for file in small]
    return [*made, get(large, lambda peer: clients.curl(peer.url(large), large.size, times), key="get-large")]


def get(file, ask, key=None):
    key = key or f"get-{file.name.lower()}"
    unit = "1000/s" if file.size < MIB else "MB/s"
    # Warm since it was verified; once more, because a server may have been started again.
    return Row(key, f"GET {size_text(file.size)}", unit, True, ask, lambda peer: clients.curl(peer.url(file), file.size, 1))
