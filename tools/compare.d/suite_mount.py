"""Reads through the mount beside the bare backing, bindfs, mergerfs, rclone and, where nothing but the road matters, the
least that a FUSE daemon can do: one that answers from memory.

Cold is a fresh daemon, Sluice's with its default cache, and no page of the file in memory; the backing itself is read with
O_DIRECT, as fio --direct=1. Warm has been read once by the same way, and Sluice's cache holds it. Clients read as programs
do: synchronously and without O_DIRECT. Only a depth above one needs O_DIRECT on every side, because Linux answers deep
buffered reads one after the other; and so do the reads that no kernel is to answer.

Small files are read with --kernel-cache auto. Names are asked for when the kernel's own knowledge of them has expired.
"""

import time
from dataclasses import replace

import clients
from clients import FioRun
from files import KIB, MIB, direct_io_works, size_text
from groups import Group, measure_group, need_mounts
from mount_peers import Backing, Bindfs, Ceiling, Mergerfs, Rclone, SluiceMount
from processes import Failed
from rows import COLD_CACHE_SIZE, Row

KERNEL_FORGETS_SECONDS = 1.1  # what it knows of names and attributes, by everybody's default
DEPTH = 32


def names_of(plan):
    return 200 if plan.quick else 10000


def disk_bytes(plan):
    return plan.large_size + names_of(plan) * 4 * KIB


def run(plan, workspace, paper):
    file = workspace.file(plan.large_size)
    names = names_of(plan)
    paper.open_section("mount", f"Reads of a file of {size_text(file.size)}; {names} files of 1 to 4 KiB")
    engine = None if clients.missing_client(["fio"]) else clients.choose_deep_engine(file.path)
    small = workspace.small_files("small", names, names)
    for group in groups(plan, workspace, file, small, engine):
        measure_group("mount", group, plan, paper)


def groups(plan, workspace, file, small, engine):
    def sluice(*options, cache_size=plan.warm_cache_size):
        return SluiceMount(workspace, plan.sluice, cache_size, *options)

    def beside(*ours):
        peers = [*ours, Backing(workspace), Bindfs(workspace), Mergerfs(workspace), Rclone(workspace)]
        return need_mounts(peers, clients.missing_client(["fio"]))

    past_the_kernel = beside(sluice(), Ceiling(workspace, plan.sluice, file))
    return [
        Group(beside(sluice(cache_size=COLD_CACHE_SIZE)), cold_rows(file, engine), (file,)),
        Group(beside(sluice()), warm_rows(plan, file), (file,)),
        Group([peer for peer in past_the_kernel if not isinstance(peer, Backing)], past_the_kernel_rows(plan, file, engine),
              (file,)),
        Group(beside(sluice("--kernel-cache", "auto")), small_rows(plan, small), (small,)),
        Group(beside(sluice()), name_rows(plan, small), (small,)),
    ]


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
        return Row(f"small-{operation}", title, "1000/s", True, by_name(operation, small, plan), lambda peer: None,
                   (small,))

    return [row("read", "small files, open: reads"), row("open-read", "small files: open + read + close")]


def name_rows(plan, small):
    def row(operation, title):
        return Row(f"name-{operation}", f"{title}, {small.count} names", "1000/s", None, by_name(operation, small, plan),
                   lambda peer: time.sleep(0 if plan.quick else KERNEL_FORGETS_SECONDS))

    return [row("stat", "stat"), row("open", "open + close"), row("list", "readdir"), row("list-stat", "readdir + stat"),
            row("create", "create + unlink")]


def by_name(operation, small, plan):
    return lambda peer: clients.by_name(operation, peer.path(small) / "0", small.count, plan.seconds)


def cold(key, title, unit, file, run, engine):
    def ask(peer):
        if run.depth > 1 and engine is None:
            raise Failed("neither io_uring nor libaio works here")
        bare = isinstance(peer, Backing)
        if bare and not direct_io_works(file.path):
            raise Failed("the file system refuses O_DIRECT; choose another --dir")
        return clients.fio(replace(run, path=peer.path(file), direct=bare or run.depth > 1), engine)

    return Row(key, title, unit, False, ask, lambda peer: peer.forget(file), (file,))


def warm(key, title, unit, file, run, engine=None):
    def ask(peer):
        if run.depth > 1 and engine is None:
            raise Failed("neither io_uring nor libaio works here")
        return clients.fio(replace(run, path=peer.path(file)), engine)

    return Row(key, title, unit, True, ask, lambda peer: peer.make_warm(file), (file,))
