"""The mount on a slow backing: one whose names take 20 ms each, and a disk that gives 100 MB/s.

Where names are slow everybody is told to rely for ten minutes on what it knows, and the rows ask once with nothing known
and once more. The backing itself has no such memory. The disk is throttled by a cgroup of the server's, of the backing by
one of its readers'; the second read of the same file is from whatever memory each has.
"""

import clients
import slow_backing
from clients import FioRun
from files import MIB, size_text
from groups import Group, measure_group, need_mounts
from mount_peers import Backing, Bindfs, Buffered, Mergerfs, Rclone, SluiceMount
from peers import Confinement
from rows import Row

SLOW_DISK = 100_000_000  # bytes per second
RELYING = {"sluice": ["--attr-timeout", "10m", "--entry-timeout", "10m", "--open-cache", "10m"],
           "bindfs": ["-o", "attr_timeout=600,entry_timeout=600"],
           "mergerfs": ["cache.attr=600", "cache.entry=600"],
           "rclone": ["--dir-cache-time", "10m", "--attr-timeout", "10m"]}


def delay_ms_of(plan):
    return 1 if plan.quick else 20


def names_of(plan):
    return 4 if plan.quick else 20


def size_of(plan):
    return 4 * MIB if plan.quick else 256 * MIB


def disk_bytes(plan):
    return 2 * size_of(plan)  # rclone has a copy


def run(plan, workspace, paper):
    measure_slow_names(plan, workspace, paper)
    measure_slow_disk(plan, workspace, paper)


def measure_slow_names(plan, workspace, paper):
    count = names_of(plan)
    paper.open_section("mount", f"A backing that takes {delay_ms_of(plan)} ms for each look at a name: {count} files")
    small = workspace.small_files("slow-names", count, count)
    rows = slow_name_rows(plan, small)
    impossible = slow_backing.impossible(plan)
    if impossible or not any(plan.wants(row) for row in rows):
        measure_group("mount", Group(relying_peers(plan, workspace), rows, impossible=impossible), plan, paper)
        return
    with slow_backing.slow_names(plan, workspace, delay_ms_of(plan)) as slow:
        measure_group("mount", Group(relying_peers(plan, slow), rows), plan, paper)


def relying_peers(plan, workspace):
    return need_mounts([SluiceMount(workspace, plan.sluice, plan.warm_cache_size, *RELYING["sluice"]), Backing(workspace),
                        Bindfs(workspace, *RELYING["bindfs"]), Mergerfs(workspace, *RELYING["mergerfs"]),
                        Rclone(workspace, *RELYING["rclone"])], None)


def slow_name_rows(plan, small):
    def pair(key, title, operation):
        def ask(peer):
            return clients.by_name(operation, peer.path(small) / "0", small.count, plan.seconds)

        return [Row(f"slow-names-{key}-first", f"{title}, first", "ms", None, ask, lambda peer: peer.make_cold(small), (small,)),
                Row(f"slow-names-{key}-again", f"{title}, again", "ms", None, ask, lambda peer: None, (small,))]

    return [*pair("list", "readdir + stat, each", "list-stat"), *pair("read", "open + read + close", "open-read-each")]


def measure_slow_disk(plan, workspace, paper):
    size = size_of(plan)
    paper.open_section("mount", f"A disk that gives {SLOW_DISK // 1_000_000} MB/s: a file of {size_text(size)}")
    file = workspace.file(size, "slow-disk")
    slow = Confinement(disk_rate=SLOW_DISK)
    peers = [SluiceMount(workspace, plan.sluice, plan.warm_cache_size, confinement=slow),
             *(kind(workspace, confinement=slow) for kind in (Buffered, Bindfs, Mergerfs, Rclone))]
    group = Group(need_mounts(peers, clients.missing_client(["fio"])), slow_disk_rows(file))
    measure_group("mount", group, plan, paper)


def slow_disk_rows(file):
    def ask(peer):
        return clients.fio(FioRun(peer.path(file), "read", MIB, file.size), None)

    return [Row("slow-disk-first", "sequential, 1 MiB, first", "MB/s", False, ask, lambda peer: peer.forget(file), (file,)),
            Row("slow-disk-again", "the same, again", "MB/s", None, ask, lambda peer: None, (file,))]
