"""The table on the terminal, row by row as they are measured, and the same with all samples as JSON or as a page."""

import json
import subprocess
from dataclasses import asdict

import machine
import report_html
import versions
from rows import SLUICE, cpu_unit, number_text

COLD_SHARE_LEAST = 0.98
WARM_SHARE_MOST = 0.02
LEGEND = ("A ratio above 1 means that Sluice is better. CPU: of all processes, in seconds per 10^9 bytes; in microseconds per "
          "operation where operations are counted or timed; in seconds where the unit is s. Memory: what the server has cost "
          "the machine by then, the kernel's memory for it and its page cache included.")
LAYOUT = "{:<30}{:>10}{:>16}{:>12}{:>12}{:>12}{:>15}"


class Report:
    def __init__(self, plan, described):
        self._plan = plan
        self._machine = described
        self._version = version_of(plan.sluice)
        self._suites = {}
        self._notes = {}
        self._section = self._heading = None
        self.sluice_failed = False
        print(f"{self._version} beside its peers: medians of {plan.pairs}{', quick' if plan.quick else ''}\n"
              f"{machine.as_line(described)}", flush=True)

    def open_section(self, suite, title):
        """Of a suite: the rows that follow. Shown with the first of them, for --rows may leave none."""
        self._suites.setdefault(suite, [])
        self._notes.setdefault(suite, [])
        self._section = title
        self._heading = f"\n{title}\n" + LAYOUT.format("", "median", "lowest-highest", "server CPU", "client CPU", "memory MiB",
                                                       "sluice / peer")

    def add(self, suite, measured):
        self._suites[suite].append((self._section, measured))
        if self._heading:
            print(self._heading, flush=True)
            self._heading = None
        self.sluice_failed |= measured.cells[SLUICE].failed is not None
        print(f"{measured.row.title} [{measured.row.unit}]", flush=True)
        for name in measured.cells:
            print(cell_line(measured, name), flush=True)

    def note(self, suite, text):
        """What the reader of the rows that follow has to know."""
        self._notes[suite].append(text)
        print(text, flush=True)

    def close(self, json_path, html_path):
        print(f"\n{LEGEND}")
        told = self._as_json()
        if json_path:
            with open(json_path, "w", encoding="utf-8") as file:
                json.dump(told, file, indent=2)
                file.write("\n")
        if html_path:
            report_html.write(html_path, told, LEGEND)

    def _as_json(self):
        return {
            "version": self._version,
            "machine": self._machine,
            "versions": versions.installed(),
            "pairs": self._plan.pairs,
            "quick": self._plan.quick,
            "suites": {name: [{"section": section, **row_json(row)} for section, row in rows] for name, rows in self._suites.items()},
            "notes": self._notes,
        }


def version_of(binary):
    try:
        told = subprocess.run([binary, "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10,
                              check=True)
        return told.stdout.strip().splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "sluice"


def cell_line(measured, name):
    cell = measured.cells[name]
    if not cell.samples:
        return f"  {name:<28}{'failed: ' + cell.failed if cell.failed else 'skipped: ' + cell.skipped}"
    unit = measured.row.unit
    figures = [sample.figure(unit) for sample in cell.samples]
    line = LAYOUT.format(
        f"  {name}", number_text(cell.median(lambda sample: sample.figure(unit)), unit),
        f"{number_text(min(figures), unit)}-{number_text(max(figures), unit)}",
        cost(cell.median(lambda sample: sample.server_cost(unit))), cost(cell.median(lambda sample: sample.client_cost(unit))),
        mebibytes(cell.median(lambda sample: sample.memory_bytes)), "" if name == SLUICE else cost(measured.ratio(name)))
    return "\n".join([line, *(f"    {remark}" for remark in remarks(measured.row, cell))])


def remarks(row, cell):
    """What makes a figure something else than its title says."""
    if cell.failed or cell.skipped:
        yield f"then {'failed' if cell.failed else 'skipped'}: {cell.failed or cell.skipped}"
    share = cell.median(lambda sample: sample.disk_share())
    if share is not None and row.warm is True and share > WARM_SHARE_MOST:
        yield f"not all warm: {share:.0%} of the bytes came from the disk"
    if share is not None and row.warm is False and share < COLD_SHARE_LEAST:
        yield f"not all cold: only {share:.0%} of the bytes came from the disk"


def cost(value):
    return "-" if value is None else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def mebibytes(size):
    return "-" if size is None else f"{size / (1 << 20):.1f}"


def row_json(measured):
    row = measured.row
    return {
        "key": row.key,
        "title": row.title,
        "unit": row.unit,
        "warm": row.warm,
        "curve": asdict(row.curve) if row.curve else None,
        "peers": {name: cell_json(measured, name) for name in measured.cells},
    }


def cell_json(measured, name):
    cell = measured.cells[name]
    unit = measured.row.unit
    told = {"skipped": cell.skipped, "failed": cell.failed}
    if cell.samples:
        told |= {
            "median": cell.median(lambda sample: sample.figure(unit)),
            "cpu_unit": cpu_unit(unit),
            "memory_bytes": cell.median(lambda sample: sample.memory_bytes),
            "server_cpu": cell.median(lambda sample: sample.server_cost(unit)),
            "client_cpu": cell.median(lambda sample: sample.client_cost(unit)),
            "sluice_ratio": measured.ratio(name),
            "samples": [sample_json(sample, unit) for sample in cell.samples],
        }
    return told


def sample_json(sample, unit):
    return {
        "figure": sample.figure(unit),
        "seconds": sample.result.seconds,
        "bytes": sample.result.bytes,
        "operations": sample.result.operations,
        "server_cpu_seconds": sample.server.cpu_seconds if sample.server else None,
        "client_cpu_seconds": sample.result.client.cpu_seconds,
        "disk_share": sample.disk_share(),
        "latency_us": sample.result.latency_us,
        "hits": sample.result.hits,
        "memory_bytes": sample.memory_bytes,
    }
