"""Reads through the mount beside the bare backing and bindfs.

Cold is a fresh daemon, Sluice's with its default cache, and no page of the file in memory; the backing itself is read with
O_DIRECT, as fio --direct=1. Warm has been read once by the same way, and Sluice's cache holds it. Clients read as programs
do: synchronously and without O_DIRECT. Only a depth above one needs O_DIRECT on every side, because Linux answers deep
buffered reads one after the other.
"""

import contextlib
import os
from dataclasses import replace

import clients
from clients import FioRun
from files import KIB, MIB, direct_io_works, size_text
from peers import Backing, Bindfs, SluiceMount
from processes import Failed
from rows import COLD_CACHE_SIZE, Row, measure, prove


def disk_bytes(plan):
    return plan.large_size


def run(plan, workspace, paper):
    file = workspace.file(plan.large_size)
    paper.open_suite("mount", f"Reads of a file of {size_text(file.size)}")
    for cache_size, rows in ((COLD_CACHE_SIZE, cold_rows(file)), (plan.warm_cache_size, warm_rows(plan, file))):
        peers = [SluiceMount(workspace, plan.sluice, cache_size), Backing(workspace), Bindfs(workspace)]
        leave_out_what_cannot_run(peers)
        with contextlib.ExitStack() as cleanup:
            for peer in peers:
                cleanup.callback(peer.stop)
                prove(peer, [file])
            for row in rows:
                paper.add("mount", measure(row, peers, plan.pairs))


def leave_out_what_cannot_run(peers):
    missing = clients.missing_client(["fio"])
    for peer in peers:
        peer.out = peer.out or missing
        if not peer.out and not isinstance(peer, Backing) and not os.access("/dev/fuse", os.R_OK | os.W_OK):
            peer.out = "/dev/fuse is missing, or not for this user"


def cold_rows(file):
    run = FioRun(file.path, "read", MIB, file.size)
    engine = None if clients.missing_client(["fio"]) else clients.choose_deep_engine(file.path)
    return [
        cold("cold-sequential", "cold sequential, 1 MiB", file, run, engine),
        cold("cold-sequential-deep", "cold sequential, 1 MiB, depth 4", file, replace(run, depth=4), engine),
    ]


def warm_rows(plan, file):
    run = FioRun(file.path, "read", MIB, file.size, seconds=plan.seconds)
    return [
        warm("warm-sequential", "warm sequential, 1 MiB", file, run, "MB/s"),
        warm("warm-two-jobs", "warm sequential, 128 KiB x 2 jobs", file, replace(run, block_size=128 * KIB, jobs=2), "MB/s"),
        warm("warm-random", "warm random, 4 KiB", file, replace(run, pattern="randread", block_size=4 * KIB), "1000/s"),
    ]


def cold(key, title, file, run, engine):
    def ask(peer):
        if run.depth > 1 and engine is None:
            raise Failed("neither io_uring nor libaio works here")
        bare = isinstance(peer, Backing)
        if bare and not direct_io_works(file.path):
            raise Failed("the file system refuses O_DIRECT; choose another --dir")
        return clients.fio(replace(run, path=peer.path(file), direct=bare or run.depth > 1), engine)

    return Row(key, title, "MB/s", False, ask, lambda peer: peer.make_cold(file))


def warm(key, title, file, run, unit):
    def ask(peer):
        return clients.fio(replace(run, path=peer.path(file)), None)

    return Row(key, title, unit, True, ask, lambda peer: peer.make_warm(file))
