"""Rows: one question asked of every peer in turn, round after round."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import machine
from clients import Result
from files import GIB, MIB
from processes import Failed, Usage

SLUICE = "sluice"
COLD_CACHE_SIZE = 256 * MIB  # Sluice's default


@dataclass(frozen=True)
class Plan:
    quick: bool
    pairs: int
    sluice: str

    @property
    def large_size(self):
        """Both the page cache and Sluice's must hold it, and be far from full."""
        if self.quick:
            return 64 * MIB
        size = GIB
        while size > 64 * MIB and size * 4 > machine.memory_bytes("MemAvailable"):
            size //= 2
        return size

    @property
    def warm_cache_size(self):
        return max(COLD_CACHE_SIZE, self.large_size * 3 // 2)

    @property
    def seconds(self):
        return 0.5 if self.quick else 2.0


@dataclass(frozen=True)
class Sample:
    result: Result
    server: Usage | None  # None: there is no server

    def rate(self, unit):
        amount = self.result.operations if unit == "1000/s" else self.result.bytes
        return amount / self.result.seconds / (1e3 if unit == "1000/s" else 1e6)

    def server_seconds_per_gb(self):
        return None if self.server is None else self.server.cpu_seconds / self.result.bytes * 1e9

    def client_seconds_per_gb(self):
        return self.result.client.cpu_seconds / self.result.bytes * 1e9

    def disk_share(self):
        """The part of the bytes that came from the disk; None: unknown."""
        used = [self.result.client, *([self.server] if self.server else [])]
        if any(one.disk_bytes is None for one in used):
            return None
        return sum(one.disk_bytes for one in used) / self.result.bytes


@dataclass
class Cell:
    """What one peer did in one row."""

    samples: list[Sample] = field(default_factory=list)
    skipped: str | None = None
    failed: str | None = None

    def median(self, value):
        values = [value(sample) for sample in self.samples]
        return None if not values or None in values else statistics.median(values)


@dataclass(frozen=True)
class Row:
    key: str
    title: str
    unit: str  # "MB/s" or "1000/s"
    warm: bool
    ask: Callable  # of a peer: returns a Result
    prepare: Callable  # of a peer: makes it warm or cold, unmeasured


@dataclass
class MeasuredRow:
    row: Row
    cells: dict[str, Cell]

    def ratio(self, name):
        """Sluice's rate over the peer's, the median of the rounds' own ratios."""
        pairs = list(zip(self.cells[SLUICE].samples, self.cells[name].samples))
        unit = self.row.unit
        return statistics.median(ours.rate(unit) / theirs.rate(unit) for ours, theirs in pairs) if pairs else None


def prove(peer, files):
    """A peer that delivers other bytes is not measured. Also makes it warm."""
    if peer.out:
        return
    try:
        peer.ensure_started()
        for file in files:
            peer.verify(file)
    except Failed as error:
        peer.stop()
        if peer.name == SLUICE:
            peer.broken = str(error)
        else:
            peer.out = str(error)


def measure(row, peers, pairs):
    cells = {peer.name: Cell(skipped=peer.out, failed=peer.broken) for peer in peers}
    for _ in range(pairs):
        for peer in peers:
            cell = cells[peer.name]
            if cell.skipped or cell.failed:
                continue
            try:
                cell.samples.append(ask_once(row, peer))
            except Failed as error:
                mark(cell, peer, error)
    return MeasuredRow(row, cells)


def ask_once(row, peer):
    peer.ensure_started()
    row.prepare(peer)
    before = peer.usage()
    result = row.ask(peer)
    after = peer.usage()
    return Sample(result, after.since(before) if after else None)


def mark(cell, peer, error):
    """Sluice must not fail. That a peer does is worth a word, not an end."""
    peer.stop()
    if peer.name == SLUICE:
        cell.failed = str(error)
    else:
        cell.skipped = str(error)
