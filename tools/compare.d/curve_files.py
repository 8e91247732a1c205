"""What files cost: N files of 1 to 4 KiB, from ten to a hundred thousand, read once through an empty mount and then at random.

Memory is what the server has cost after the first reading and had not before, for each file: names, attributes, pages and
the kernel's part. The first reading proves the bytes.
"""

from dataclasses import replace

import clients
from files import KIB
from groups import Group, measure_group, need_mounts
from mount_peers import Backing, Bindfs, Mergerfs, Rclone, SluiceMount
from rows import Curve, Row, Sample, sample_of

COUNTS = (10, 100, 1000, 10_000, 100_000)
QUICK_COUNTS = (10, 100)
AXIS = "files"


def counts(plan):
    return QUICK_COUNTS if plan.quick else COUNTS


def disk_bytes(plan):
    return 3 * sum(counts(plan)) * 4 * KIB  # rclone has copies


def run(plan, workspace, paper):
    paper.open_section("mount", "What files cost: open + read + close of each of N files at random, and the memory for each")
    for count in counts(plan):
        if not any(plan.wants(row) for row in rows_of(count)):
            continue
        small = workspace.small_files(f"many-{count}", count)
        kinds = (Backing, Bindfs, Mergerfs, Rclone)
        peers = [SluiceMount(workspace, plan.sluice, max(plan.warm_cache_size, 2 * small.size)),
                 *(kind(workspace) for kind in kinds)]
        measure_group("mount", Group(need_mounts(peers, None), rows_of(count), (),
                                     lambda peer, small=small: ManyFiles(peer, plan, small), plan.curve_pairs), plan, paper)


def rows_of(count):
    def row(what, title, unit, curve):
        return Row(f"files-{count}-{what}", f"{count} files: {title}", unit, None, curve=Curve(curve, AXIS, count))

    return [row("rate", "open + read + close", "1000/s", "Small files at random: open + read + close"),
            row("memory", "memory for each", "KiB", "Memory for each file that was read")]


class ManyFiles:
    """One peer, once, from an empty cache."""

    def __init__(self, peer, plan, small):
        self._peer = peer
        self._small = small
        self._seconds = plan.seconds

    def run(self):
        peer, small = self._peer, self._small
        peer.ensure_started()
        with peer.clients():
            peer.make_cold(small)
            before = peer.charged_bytes((small,))
            peer.verify(small)
            taken = max(0, peer.charged_bytes((small,)) - before)
            rate = sample_of(peer, self._read_at_random, (small,))
        peer.stop()
        memory = Sample(replace(rate.result, operations=small.count, memory_bytes=taken), None, memory_bytes=rate.memory_bytes)
        return {f"files-{small.count}-rate": rate, f"files-{small.count}-memory": memory}

    def _read_at_random(self):
        small = self._small
        return clients.by_name("open-read", self._peer.path(small), small.count, self._seconds, small.per_folder)
