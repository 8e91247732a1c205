"""Groups of rows that are asked of the same daemons: how every suite measures them."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from mount_peers import Backing
from rows import measure, measure_together, not_measured, prove, wanted


@dataclass(frozen=True)
class Group:
    peers: list
    rows: list
    proven: tuple = ()  # files that each peer must deliver unchanged first
    trial: Callable | None = None  # of a peer: what answers all rows at once; None: each row asks for itself
    pairs: int | None = None  # rounds; None: the plan's
    impossible: str | None = None  # why nobody can be asked here


def measure_group(suite, group, plan, paper):
    rows = wanted(group.rows, plan)
    group = replace(group, peers=[peer for peer in group.peers if plan.wants_peer(peer)])
    if not rows:
        return
    if group.impossible:
        for row in rows:
            paper.add(suite, not_measured(row, group.peers, group.impossible))
        return
    with contextlib.ExitStack() as cleanup:
        for peer in group.peers:
            cleanup.callback(peer.stop)
            prove(peer, group.proven)
        for measured in measure_rows(group, rows, group.pairs or plan.pairs):
            paper.add(suite, measured)


def measure_rows(group, rows, pairs):
    """One after the other, as they are ready."""
    if group.trial is None:
        for row in rows:
            yield measure(row, group.peers, pairs)
        return
    measured = measure_together(group.rows, group.peers, pairs, lambda peer: group.trial(peer).run())
    yield from (one for one in measured if one.row in rows)


def need_mounts(peers, missing_client):
    """Leaves out who cannot be mounted or asked here; returns the peers."""
    for peer in peers:
        peer.out = peer.out or missing_client
        if not peer.out and not isinstance(peer, Backing) and not os.access("/dev/fuse", os.R_OK | os.W_OK):
            peer.out = "/dev/fuse is missing, or not for this user"
    return peers
