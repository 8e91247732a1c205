"""Trees of small files made through the mount: a source tree unpacked, a repository cloned, a program built.

What is read comes from beside the backing, warm; what is written goes through the mount, into a folder that is new each
time. An operation is over when its program has ended: see suite_writes for what is on the disk by then. Each copy must be
the same as its original and the program that was built must run, which is looked at through the mount, unmeasured.
"""

import itertools
import time

import clients
import source_tree
from files import KIB
from groups import Group, measure_group, need_mounts
from mount_peers import Bindfs, Buffered, Mergerfs, Rclone, SluiceBack, SluiceMount
from processes import PATIENCE_SECONDS, Failed, run_client
from rows import Row

TOOLS = ["tar", "git", "make", "cc", "diff"]
COPY_BYTES = 16 * KIB  # of disk for each source: the file, its object, and both in git


def sources_of(plan):
    return 6 if plan.quick else 400


def disk_bytes(plan):
    copies = 3 + 3 * 6 * plan.pairs
    return copies * (sources_of(plan) + 40) * COPY_BYTES


def run(plan, workspace, paper):
    paper.open_section("mount", f"Trees of {sources_of(plan)} C sources of up to 8 KiB, made and built through the mount")
    peers = [SluiceMount(workspace, plan.sluice, plan.warm_cache_size),
             SluiceBack(workspace, plan.sluice, plan.warm_cache_size),
             *(kind(workspace) for kind in (Buffered, Bindfs, Mergerfs, Rclone))]
    missing = clients.missing_client(TOOLS)
    tree = None if missing else source_tree.make(workspace.folder("trees"), sources_of(plan))
    group = Group(need_mounts(peers, None), rows_of(Trees(tree)), impossible=missing)
    measure_group("mount", group, plan, paper)


def rows_of(trees):
    def row(key, title, ask, prepare, check):
        return Row(f"tree-{key}", title, "s", None, ask, prepare, check=check)

    return [row("untar", "untar", trees.untar, trees.begin, trees.is_same),
            row("clone", "git clone --no-hardlinks", trees.clone, trees.begin, trees.is_same),
            row("build", "make -j2", trees.build, trees.begin_with_sources, trees.program_runs)]


class Trees:
    """A copy for each time, kept to the end: for some seconds ext4 searches for numbers that were not deleted just now."""

    def __init__(self, tree):
        self._tree = tree
        self._numbers = itertools.count()
        self._copies = {}  # the last one, by peer

    def begin(self, peer):
        copy = peer.mounted() / f"tree-{next(self._numbers)}"
        run_client(["mkdir", str(copy)], PATIENCE_SECONDS)
        self._copies[peer.name] = copy

    def begin_with_sources(self, peer):
        self.begin(peer)
        self._unpack(self._copies[peer.name])

    def untar(self, peer):
        return self._timed(lambda: self._unpack(self._copies[peer.name]))

    def clone(self, peer):
        words = ["clone", "-q", "--no-hardlinks", str(self._tree.repository), "."]
        return self._timed(lambda: source_tree.git(self._copies[peer.name], *words))

    def build(self, peer):
        return self._timed(lambda: run_client(["make", "-s", "-j2"], PATIENCE_SECONDS, folder=self._copies[peer.name]))

    def is_same(self, peer):
        source_tree.same(self._tree, self._copies[peer.name])

    def program_runs(self, peer):
        """Elsewhere: on rclone's mount nothing can be run."""
        program = self._tree.archive.with_name("program")
        run_client(["install", "-m", "755", str(self._copies[peer.name] / "program"), str(program)], PATIENCE_SECONDS)
        told, _ = run_client([str(program)], PATIENCE_SECONDS)
        if told.strip() != self._tree.answer:
            raise Failed(f"the program that was built says '{told.strip()}', not {self._tree.answer}")

    def _unpack(self, copy):
        return run_client(["tar", "-C", str(copy), "-xf", str(self._tree.archive)], PATIENCE_SECONDS)

    def _timed(self, work):
        start = time.monotonic()
        _, used = work()
        return clients.Result(seconds=time.monotonic() - start, operations=self._tree.files, bytes=0, client=used)
