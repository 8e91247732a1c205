"""NFSv3 beside nfs-ganesha, another server in user space: `sluice bench nfs` asks both, on one connection.

All is warm: read once, and both have the memory for it. Writes go into a file of their own, and are over when the server says
so: UNSTABLE ones with the COMMIT at their end, FILE_SYNC ones each.
"""

import clients
from files import KIB, MIB, size_text, sync
from groups import Group, measure_group
from nfs_peers import Ganesha, SluiceNfs
from rows import Row, wanted

LISTED = "listed"
WRITTEN = "written"
WRITTEN_BYTES = 272 * MIB  # of both rows that write


def names_of(plan):
    return 1000 if plan.quick else 50000


def disk_bytes(plan):
    return plan.large_size + WRITTEN_BYTES + names_of(plan) * 4 * KIB


def run(plan, workspace, paper):
    rows = wanted(rows_of(plan, workspace), plan)
    file = workspace.file(plan.large_size)
    paper.open_section("nfs", f"NFSv3 on one connection; a file of {size_text(file.size)}, {names_of(plan)} names")
    if not rows:
        return
    make_names(workspace, names_of(plan))
    peers = [SluiceNfs(workspace, plan.sluice, plan.warm_cache_size), Ganesha(workspace, plan.sluice)]
    measure_group("nfs", Group(peers, rows, (file,)), plan, paper)


def make_names(workspace, count):
    """Empty files: only their names and attributes are asked for."""
    folder = workspace.files / LISTED
    if folder.exists():
        return
    folder.mkdir()
    (workspace.files / WRITTEN).mkdir()
    for number in range(count):
        (folder / f"file-{number:06}").touch()
    sync(folder)


def rows_of(plan, workspace):
    file = workspace.file(plan.large_size)

    def row(key, title, unit, warm, workload, path):
        def ask(peer):
            return clients.nfs(plan.sluice, peer.url(path), workload, plan.seconds)

        return Row(f"nfs-{key}", title, unit, warm, ask, lambda _: sync(workspace.files), (file,))  # the disk is idle then

    return [
        row("read", "READ 1 MiB, depth 8", "MB/s", True, "read-sequential", file.name),
        row("read-random", "READ 4 KiB at random, depth 32", "1000/s", True, "read-random", file.name),
        row("getattr", "GETATTR, depth 32", "1000/s", None, "getattr", file.name),
        row("listing", f"READDIRPLUS, entries of {names_of(plan)}", "1000/s", None, "listing", LISTED),
        row("write", "WRITE 1 MiB, depth 4, and COMMIT", "MB/s", None, "write-sequential", WRITTEN),
        row("write-sync", "WRITE 4 KiB FILE_SYNC", "1000/s", None, "write-sync", WRITTEN),
    ]
