"""Writes through the mount beside the bare backing, bindfs, mergerfs and rclone.

A write is over when the daemon says so: Sluice's when the backing has the bytes, the backing's own (by O_DIRECT) when the
disk has them, those of bindfs, mergerfs and the page cache when they are in memory, rclone's in its own cache, those of
"sluice back" in Sluice's, until half of --dirty-max is full. Before each the disk is idle, and the same was done once just
before: a virtual machine may have to ask its host for memory that was not used lately, which takes seconds per GiB, and a
server that is at work has that behind it.

Beyond the dirty limit all write many times as much as --dirty-max allows to be delayed, and the time is that until an fsync
after the last write has returned: what is delayed is not won, and the measure is the rate of the disk. rclone's fsync is
that of its own cache.
"""

from dataclasses import replace

import clients
from clients import FioRun
from files import KIB, MIB, size_text, sync
from groups import Group, measure_group, need_mounts
from mount_peers import Backing, Bindfs, Buffered, Mergerfs, Rclone, SluiceBack, SluiceMount
from rows import Row

WRITERS = 7  # each has a file of its own
TIMES_THE_LIMIT = 16


def size_of(plan):
    return 4 * MIB if plan.quick else 256 * MIB


def limit_of(plan):
    """What may be delayed."""
    return MIB if plan.quick else 64 * MIB


def beyond_of(plan):
    return limit_of(plan) * TIMES_THE_LIMIT


def disk_bytes(plan):
    return 2 * WRITERS * (size_of(plan) + beyond_of(plan))  # rclone has copies


def run(plan, workspace, paper):
    beyond = beyond_of(plan)
    paper.open_section("mount", f"Writes into a file of {size_text(size_of(plan))}; {size_text(beyond)} with an fsync, "
                                f"where {size_text(limit_of(plan))} may be delayed")
    missing = clients.missing_client(["fio"])

    def peers(*back_options):
        made = [SluiceMount(workspace, plan.sluice, plan.warm_cache_size),
                SluiceBack(workspace, plan.sluice, plan.warm_cache_size, *back_options),
                *(kind(workspace) for kind in (Backing, Buffered, Bindfs, Mergerfs, Rclone))]
        return need_mounts(made, missing)

    for group in [Group(peers(), write_rows(plan, workspace)),
                  Group(peers("--dirty-max", str(limit_of(plan))), [beyond_row(workspace, beyond)])]:
        measure_group("mount", group, plan, paper)


def write_rows(plan, workspace):
    size = size_of(plan)
    run_of = FioRun(None, "write", MIB, size, seconds=plan.seconds)

    def row(key, title, unit, run_of):
        def ask(peer):
            path = peer.path(written(workspace, peer, size))
            return clients.fio(replace(run_of, path=path, direct=writes_direct(peer)), None)

        return write_row(key, title, unit, workspace, size, ask)

    return [row("write-sequential", "write sequential, 1 MiB", "MB/s", run_of),
            row("write-small", "write sequential, 4 KiB", "MB/s", replace(run_of, block_size=4 * KIB)),
            row("write-random", "write random, 4 KiB", "MB/s", replace(run_of, pattern="randwrite", block_size=4 * KIB))]


def beyond_row(workspace, size):
    def ask(peer):
        return clients.write_and_sync(peer.path(written(workspace, peer, size)), size, MIB, writes_direct(peer))

    return write_row("write-beyond", f"write {size_text(size)}, and fsync", "MB/s", workspace, size, ask)


def write_row(key, title, unit, workspace, size, ask):
    def prepare(peer):
        ask(peer)
        sync(written(workspace, peer, size).path)

    return Row(key, title, unit, None, ask, prepare, lambda peer: (written(workspace, peer, size),))


def written(workspace, peer, size):
    """Made by the first who asks."""
    return workspace.file(size, f"written-{peer.name.replace(' ', '-')}-{size}")


def writes_direct(peer):
    return type(peer) is Backing
