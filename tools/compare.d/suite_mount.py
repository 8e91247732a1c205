"""The mount beside the bare backing, bindfs, rclone and, where nothing but the road matters, the least that a FUSE daemon
can do: one that answers from memory.

Cold is a fresh daemon, Sluice's with its default cache, and no page of the file in memory; the backing itself is read with
O_DIRECT, as fio --direct=1. Warm has been read once by the same way, and Sluice's cache holds it. Clients read as programs
do: synchronously and without O_DIRECT. Only a depth above one needs O_DIRECT on every side, because Linux answers deep
buffered reads one after the other; and so do the reads that no kernel is to answer.

Small files are read with --kernel-cache auto. Names are asked for when the kernel's own knowledge of them has expired.
Writes are over when the daemon says so: Sluice's when the backing has the bytes, the backing's own (by O_DIRECT) when the
disk has them, those of bindfs when they are in the page cache, rclone's in its own cache, those of "sluice back" in
Sluice's, until half of --dirty-max is full. Before each the disk is idle.
"""

import contextlib
import os
import time
from dataclasses import dataclass, replace

import clients
from clients import FioRun
from files import KIB, MIB, direct_io_works, size_text, sync
from peers import Backing, Bindfs, Ceiling, Rclone, SluiceBack, SluiceMount
from processes import Failed
from rows import COLD_CACHE_SIZE, Row, measure, prove, wanted

KERNEL_FORGETS_SECONDS = 1.1  # what it knows of names and attributes, by everybody's default
DEPTH = 32
WRITERS = 4  # each has a file of its own


@dataclass(frozen=True)
class Group:
    """Rows that are asked of the same daemons."""

    peers: list
    proven: list
    rows: list


def sizes_of(plan):
    return (16 * MIB, 1000) if plan.quick else (256 * MIB, 10000)


def disk_bytes(plan):
    written, names = sizes_of(plan)
    return plan.large_size + WRITERS * written + names * 4 * KIB


def run(plan, workspace, paper):
    file = workspace.file(plan.large_size)
    written_size, names = sizes_of(plan)
    paper.open_suite("mount", f"Reads of a file of {size_text(file.size)}; {names} files of 1 to 4 KiB; "
                              f"writes into a file of {size_text(written_size)}")
    engine = None if clients.missing_client(["fio"]) else clients.choose_deep_engine(file.path)
    small = workspace.small_files("small", names, names)
    for group in groups(plan, workspace, file, small, engine):
        rows = wanted(group.rows, plan)
        if rows:
            measure_group(replace(group, rows=rows), plan, paper)


def measure_group(group, plan, paper):
    leave_out_what_cannot_run(group.peers)
    with contextlib.ExitStack() as cleanup:
        for peer in group.peers:
            cleanup.callback(peer.stop)
            prove(peer, group.proven)
        for row in group.rows:
            paper.add("mount", measure(row, group.peers, plan.pairs))


def groups(plan, workspace, file, small, engine):
    def sluice(*options, cache_size=plan.warm_cache_size):
        return SluiceMount(workspace, plan.sluice, cache_size, *options)

    def others():
        return [Backing(workspace), Bindfs(workspace), Rclone(workspace)]

    return [
        Group([sluice(cache_size=COLD_CACHE_SIZE), *others()], [file], cold_rows(file, engine)),
        Group([sluice(), *others()], [file], warm_rows(plan, file)),
        Group([sluice(), Ceiling(workspace, plan.sluice, file), Bindfs(workspace), Rclone(workspace)], [file],
              past_the_kernel_rows(plan, file, engine)),
        Group([sluice("--kernel-cache", "auto"), *others()], [small], small_rows(plan, small)),
        Group([sluice(), *others()], [small], name_rows(plan, small)),
        Group([sluice(), SluiceBack(workspace, plan.sluice, plan.warm_cache_size), *others()], [],
              write_rows(plan, workspace)),
    ]


def leave_out_what_cannot_run(peers):
    missing = clients.missing_client(["fio"])
    for peer in peers:
        peer.out = peer.out or missing
        if not peer.out and not isinstance(peer, Backing) and not os.access("/dev/fuse", os.R_OK | os.W_OK):
            peer.out = "/dev/fuse is missing, or not for this user"


def cold_rows(file, engine):
    run = FioRun(file.path, "read", MIB, file.size)
    scattered = FioRun(file.path, "randread", 4 * KIB, file.size // 4, depth=DEPTH)
    return [
        cold("cold-sequential", "cold sequential, 1 MiB", "MB/s", file, run, engine),
        cold("cold-sequential-deep", "cold sequential, 1 MiB, depth 4", "MB/s", file, replace(run, depth=4), engine),
        cold("cold-random-deep", f"cold random, 4 KiB, depth {DEPTH}", "1000/s", file, scattered, engine),
    ]


def warm_rows(plan, file):
    run = FioRun(file.path, "read", MIB, file.size, seconds=plan.seconds)
    return [
        warm("warm-sequential", "warm sequential, 1 MiB", "MB/s", file, run),
        warm("warm-two-jobs", "warm sequential, 128 KiB x 2 jobs", "MB/s", file, replace(run, block_size=128 * KIB, jobs=2)),
        warm("warm-random", "warm random, 4 KiB", "1000/s", file, replace(run, pattern="randread", block_size=4 * KIB)),
    ]


def past_the_kernel_rows(plan, file, engine):
    run = FioRun(file.path, "read", MIB, file.size, direct=True, seconds=plan.seconds)
    scattered = replace(run, pattern="randread", block_size=4 * KIB)
    return [
        warm("direct-random", "warm random, 4 KiB, O_DIRECT", "1000/s", file, scattered),
        warm("direct-random-deep", f"the same, depth {DEPTH}", "1000/s", file, replace(scattered, depth=DEPTH), engine),
        warm("direct-sequential", "warm sequential, 1 MiB, O_DIRECT", "MB/s", file, run),
    ]


def small_rows(plan, small):
    def row(operation, title):
        return Row(f"small-{operation}", title, "1000/s", True, by_name(operation, small, plan), lambda peer: None)

    return [row("read", "small files, open: reads"), row("open-read", "small files: open + read + close")]


def name_rows(plan, small):
    def row(operation, title):
        return Row(f"name-{operation}", f"{title}, {small.count} names", "1000/s", None, by_name(operation, small, plan),
                   lambda peer: time.sleep(KERNEL_FORGETS_SECONDS))

    return [row("stat", "stat"), row("open", "open + close"), row("list", "readdir"), row("list-stat", "readdir + stat"),
            row("create", "create + unlink")]


def by_name(operation, small, plan):
    return lambda peer: clients.by_name(operation, peer.path(small) / "0", small.count, plan.seconds)


def write_rows(plan, workspace):
    size, _ = sizes_of(plan)
    run = FioRun(None, "write", MIB, size, seconds=plan.seconds)

    def row(key, title, unit, run):
        def ask(peer):
            path = peer.path(written(peer))
            return clients.fio(replace(run, path=path, direct=isinstance(peer, Backing)), None)

        return Row(key, title, unit, None, ask, lambda peer: sync(written(peer).path))

    def written(peer):  # made by the first who asks
        return workspace.file(size, f"written-{peer.name}")

    return [row("write-sequential", "write sequential, 1 MiB", "MB/s", run),
            row("write-small", "write sequential, 4 KiB", "MB/s", replace(run, block_size=4 * KIB)),
            row("write-random", "write random, 4 KiB", "MB/s", replace(run, pattern="randwrite", block_size=4 * KIB))]


def cold(key, title, unit, file, run, engine):
    def ask(peer):
        if run.depth > 1 and engine is None:
            raise Failed("neither io_uring nor libaio works here")
        bare = isinstance(peer, Backing)
        if bare and not direct_io_works(file.path):
            raise Failed("the file system refuses O_DIRECT; choose another --dir")
        return clients.fio(replace(run, path=peer.path(file), direct=bare or run.depth > 1), engine)

    return Row(key, title, unit, False, ask, lambda peer: peer.make_cold(file))


def warm(key, title, unit, file, run, engine=None):
    def ask(peer):
        if run.depth > 1 and engine is None:
            raise Failed("neither io_uring nor libaio works here")
        return clients.fio(replace(run, path=peer.path(file)), engine)

    return Row(key, title, unit, True, ask, lambda peer: peer.make_warm(file))
