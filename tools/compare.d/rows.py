"""Rows: one question asked of every peer in turn, round after round. Or several that one trial of a peer answers."""

import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import machine
from clients import Result
from files import GIB, KIB, MIB
from processes import Failed, Usage

SLUICE = "sluice"
COLD_CACHE_SIZE = 256 * MIB  # Sluice's default
MORE_IS_BETTER = ("MB/s", "1000/s", "%")
LESS_IS_BETTER = ("us", "ms", "s", "KiB", "MiB/GiB")


@dataclass(frozen=True)
class Plan:
    quick: bool
    pairs: int
    sluice: str
    rows: re.Pattern  # which, by their keys
    peers: re.Pattern  # who is beside Sluice, by their names

    def wants(self, row):
        return self.rows.search(row.key) is not None

    def wants_peer(self, peer):
        return peer.name == SLUICE or self.peers.search(peer.name) is not None

    @property
    def large_size(self):
        """Both the page cache and Sluice's must hold it, and be far from full."""
        if self.quick:
            return 16 * MIB
        size = GIB
        while size > 64 * MIB and size * 4 > machine.memory_bytes("MemAvailable"):
            size //= 2
        return size

    @property
    def warm_cache_size(self):
        return max(COLD_CACHE_SIZE, self.large_size * 3 // 2)

    @property
    def seconds(self):
        return 0.15 if self.quick else 2.0

    @property
    def curve_pairs(self):
        """A curve has many points, and the largest take minutes."""
        return min(self.pairs, 3)


@dataclass(frozen=True)
class Sample:
    result: Result
    server: Usage | None  # None: there is no server, or others used it meanwhile
    before: Result | None = None  # what a difference is to
    memory_bytes: int | None = None  # that the server had cost by then

    def figure(self, unit):
        return FIGURES[unit](self)

    def server_cost(self, unit):
        return None if self.server is None else self._cost(self.server, unit)

    def client_cost(self, unit):
        return self._cost(self.result.client, unit)

    def _cost(self, used, unit):
        """Processor time: see cpu_unit."""
        if unit == "s":
            return used.cpu_seconds
        if cpu_unit(unit) == "us/operation":
            return used.cpu_seconds / self.result.operations * 1e6
        return used.cpu_seconds / self.result.bytes * 1e9

    def disk_share(self):
        """The part of the bytes that came from the disk; None: unknown."""
        used = [self.result.client, *([self.server] if self.server else [])]
        if self.result.bytes == 0 or any(one.disk_bytes is None for one in used):
            return None
        return sum(one.disk_bytes for one in used) / self.result.bytes


def cpu_unit(unit):
    if unit == "s":
        return "s"
    return "us/operation" if unit in ("1000/s", "ms", "us", "%", "points") else "s/GB"


FIGURES = {
    "MB/s": lambda sample: sample.result.bytes / sample.result.seconds / 1e6,
    "1000/s": lambda sample: sample.result.operations / sample.result.seconds / 1e3,
    "%": lambda sample: sample.result.hit_percent(),
    "points": lambda sample: sample.before.hit_percent() - sample.result.hit_percent(),
    "us": lambda sample: sample.result.latency_us["p99"],
    "ms": lambda sample: sample.result.seconds / sample.result.operations * 1e3,
    "s": lambda sample: sample.result.seconds,
    "MiB/GiB": lambda sample: sample.result.memory_bytes / sample.result.bytes * KIB,
    "KiB": lambda sample: sample.result.memory_bytes / sample.result.operations / KIB,
}


def number_text(value, unit):
    if unit in ("%", "points") or abs(value) < 1:
        return f"{value:.2f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


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
class Curve:
    """A row that is one point of a curve says of which, and where."""

    title: str
    axis: str
    at: float


@dataclass(frozen=True)
class Row:
    key: str
    title: str
    unit: str  # of FIGURES
    warm: bool | None  # None: what comes from the disk is the question
    ask: Callable | None = None  # of a peer: returns a Result. None: see measure_together
    prepare: Callable | None = None  # of a peer: makes it warm or cold, unmeasured
    files: tuple | Callable = ()  # whose pages, where the kernel holds them, are part of what the peer costs; or of a peer
    curve: Curve | None = None
    check: Callable | None = None  # of a peer: raises Failed where what it was asked left wrong bytes, unmeasured

    def files_of(self, peer):
        return self.files(peer) if callable(self.files) else self.files


@dataclass
class MeasuredRow:
    row: Row
    cells: dict[str, Cell]

    def ratio(self, name):
        """How many times better Sluice's figure is than the peer's, the median of the rounds' own ratios."""
        pairs = list(zip(self.cells[SLUICE].samples, self.cells[name].samples))
        unit = self.row.unit
        figures = [(ours.figure(unit), theirs.figure(unit)) for ours, theirs in pairs]
        if unit in LESS_IS_BETTER:
            figures = [(theirs, ours) for ours, theirs in figures]
        if not figures or unit not in MORE_IS_BETTER + LESS_IS_BETTER or any(min(pair) <= 0 for pair in figures):
            return None
        return statistics.median(better / worse for better, worse in figures)


def wanted(rows, plan):
    return [row for row in rows if plan.wants(row)]


def prove(peer, files):
    """A peer that delivers other bytes is not measured. Also makes it warm."""
    if peer.out:
        return
    try:
        peer.ensure_started()
        with peer.clients():
            for file in files:
                peer.verify(file)
    except Failed as error:
        peer.stop()
        if peer.name == SLUICE:
            peer.broken = str(error)
        else:
            peer.out = str(error)


def not_measured(row, peers, reason):
    return MeasuredRow(row, {peer.name: Cell(skipped=reason) for peer in peers})


def measure(row, peers, pairs):
    return measure_together([row], peers, pairs, lambda peer: {row.key: ask_once(row, peer)})[0]


def measure_together(rows, peers, pairs, trial):
    """`trial` asks a peer once and returns a Sample for the key of each row."""
    measured = [MeasuredRow(row, {peer.name: Cell(skipped=peer.out, failed=peer.broken) for peer in peers}) for row in rows]
    for _ in range(pairs):
        for peer in peers:
            cells = {one.row.key: one.cells[peer.name] for one in measured}
            if any(cell.skipped or cell.failed for cell in cells.values()):
                continue
            try:
                samples = trial(peer)
            except Failed as error:
                mark(cells.values(), peer, error)
                continue
            for key, cell in cells.items():
                cell.samples.append(samples[key])
    return measured


def ask_once(row, peer):
    peer.ensure_started()
    with peer.clients():
        row.prepare(peer)
        sample = sample_of(peer, lambda: row.ask(peer), row.files_of(peer))
        if row.check:
            row.check(peer)
        return sample


def sample_of(peer, ask, files=()):
    before = peer.usage()
    result = ask()
    after = peer.usage()
    return Sample(result, after.since(before) if after else None, memory_bytes=peer.charged_bytes(files))


def mark(cells, peer, error):
    """Sluice must not fail. That a peer does is worth a word, not an end."""
    error = peer.ended() or error
    peer.stop()
    for cell in cells:
        if peer.name == SLUICE:
            cell.failed = str(error)
        else:
            cell.skipped = str(error)
